"""Find Objects: what is asked, and what becomes of what the model wrote."""

import json

import pytest

from hearth import messages
from nodes_for_test import TESTS, FakeComfy, asked, give, make, outputs, says, seen

torch = pytest.importorskip("torch")

NODE = "HearthFindObjects"
BOXES, CORE, MASK, PLACES, PICTURE, TEXT = range(6)
CAT = {"bbox_2d": [0, 0, 500, 500], "label": "cat"}
OTHER = {"bbox_2d": [500, 500, 1000, 1000], "label": "猫"}
CATS = json.dumps([CAT, OTHER])


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request, service, tmp_path):
    base = tmp_path / "comfy"
    with FakeComfy(request.param, TESTS.parent, base, {"HEARTH_SOCKET": service.path}) as running:
        yield running


def test_each_picture_is_searched_and_what_is_found_is_drawn_on_it(comfy, service):
    service.on[messages.Generate] = says(CATS, pictures=[seen()], coordinates="thousandths")
    workflow = {
        "0": give(comfy, "Source", torch.ones(2, 32, 64, 3)),
        "1": make(NODE, image=["0", 0]),
    }
    outcome, values = outputs(comfy, workflow, "1", 6)
    assert outcome.status == "success", outcome.error
    assert values[BOXES] == [[[[0, 0, 32, 16], [32, 16, 64, 32]]] * 2]
    assert values[MASK][0].shape == (2, 32, 64) and values[MASK][0].sum() == 2 * 2 * 32 * 16
    drawn = values[PICTURE][0]
    assert drawn.shape == (2, 32, 64, 3) and drawn.dtype == torch.float32
    assert drawn[0, 8, 0].tolist() != [1.0] * 3 and drawn[0, 8, 50].tolist() == [1.0] * 3
    assert [place["picture"] for place in json.loads(values[PLACES][0])] == [0, 0, 1, 1]
    assert outcome.text("1") == "picture 1: 1 x cat, 1 x 猫\npicture 2: 1 x cat, 1 x 猫"
    assert "Find every cat in this picture" in asked(service)[0].messages[0].content[1].text


def test_what_cannot_be_read_as_a_place_is_named(comfy, service):
    service.on[messages.Generate] = says(
        '[{"bbox_2d": [1, 2], "label": "cat"}]', pictures=[seen()], coordinates="pixels"
    )
    workflow = {
        "0": give(comfy, "Source", torch.ones(1, 32, 64, 3)),
        "1": make(NODE, image=["0", 0]),
    }
    outcome, values = outputs(comfy, workflow, "1", 6)
    assert values[BOXES] == [[[]]]
    assert outcome.text("1").startswith("picture 1: nothing found\n\nNote: item 1 (cat)")


def test_strict_holds_the_model_to_a_list_of_boxes(comfy, service):
    workflow = {"0": give(comfy, "Source", torch.ones(1, 32, 64, 3))}
    comfy.run({**workflow, "1": make(NODE, image=["0", 0])})
    comfy.run({**workflow, "1": make(NODE, image=["0", 0], strict=True)})
    free, strict = (request.json_schema for request in asked(service))
    assert free == ""
    assert json.loads(strict)["items"]["required"] == ["bbox_2d", "label"]


def test_nothing_to_look_for_is_an_error_that_says_so(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.ones(1, 32, 64, 3)),
        "1": make(NODE, image=["0", 0], what=" "),
    }
    assert "what is empty" in comfy.run(workflow).error


def test_a_picture_of_one_channel_is_drawn_in_colours(comfy, service):
    service.on[messages.Generate] = says(CATS, pictures=[seen()], coordinates="thousandths")
    workflow = {
        "0": give(comfy, "Source", torch.full((1, 32, 64, 1), 0.5)),
        "1": make(NODE, image=["0", 0]),
    }
    outcome, values = outputs(comfy, workflow, "1", 6)
    assert outcome.status == "success", outcome.error
    drawn = values[PICTURE][0]
    assert drawn.shape == (1, 32, 64, 3)
    assert drawn[0, 8, 50].tolist() == pytest.approx([128 / 255] * 3)


def test_a_batch_of_no_pictures_is_refused(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(0, 32, 64, 3)),
        "1": make(NODE, image=["0", 0]),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadPicture" and "the batch is empty" in outcome.error
    assert asked(service) == []
