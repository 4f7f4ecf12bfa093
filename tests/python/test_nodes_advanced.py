"""Qwen-VL Advanced, and the Model node: what is sent, and what the outputs hold."""

import json

import pytest

import server as scripted
from hearth import messages
from nodes_for_test import TESTS, FakeComfy, asked, give, make, outputs, says, seen

torch = pytest.importorskip("torch")

import hearthd_for_test as services  # noqa: E402

NODE = "HearthQwenVLAdvanced"
TEXT, THINKING, LIST, BOXES, CORE, MASK, PLACES, STATS, JSON, HISTORY = range(10)


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request, service, tmp_path):
    base = tmp_path / "comfy"
    services.make_fake_model(base / "models/LLM/fake")
    with FakeComfy(request.param, TESTS.parent, base, {"HEARTH_SOCKET": service.path}) as running:
        yield running


def test_a_workflow_with_nothing_but_the_required_inputs_runs(comfy, service):
    assert comfy.run({"1": make(NODE)}).text("1") == "a red circle"
    (request,) = asked(service)
    for name, declared in messages.WIDGETS["generate"].items():
        given = {"max_tokens": 64, "temperature": 0.5, "seed": 7}
        wanted = given.get(name, declared["default"])
        if name not in ("key", "result_key", "model"):
            assert getattr(request, name) == wanted, name


VALUES = {
    "top_p": 0.5,
    "top_k": 7,
    "min_p": 0.25,
    "typical_p": 0.75,
    "repetition_penalty": 1.5,
    "presence_penalty": -0.5,
    "frequency_penalty": 0.25,
    "no_repeat_ngram": 3,
    "model_defaults": True,
    "answers": 2,
    "beams": 4,
    "length_penalty": 0.5,
    "thinking": "on",
    "thinking_tokens": 100,
    "json_schema": '{"type": "object"}',
    "regex": " a|b",
    "min_pixels": 1000,
    "max_pixels": 50000,
}


@pytest.mark.parametrize("name", VALUES)
def test_each_parameter_reaches_the_service(comfy, service, name):
    inputs = {name: VALUES[name], **({"beams": 4} if name == "answers" else {})}
    assert comfy.run({"1": make(NODE, **inputs)}).status == "success"
    assert getattr(asked(service)[0], name) == VALUES[name]


def test_stop_strings_are_lines(comfy, service):
    comfy.run({"1": make(NODE, stop="END\n\n###\n\\n\\n")})
    assert asked(service)[0].stop == ["END", "###", "\n\n"]


def test_without_sampling_the_likeliest_token_wins_over_all_that_says_otherwise(comfy, service):
    comfy.run({"1": make(NODE, do_sample=False, model_defaults=True, temperature=1.5)})
    assert (asked(service)[0].temperature, asked(service)[0].model_defaults) == (0.0, False)


def test_fewer_beams_than_answers_are_refused_with_the_numbers(comfy, service):
    outcome = comfy.run({"1": make(NODE, beams=2, answers=3)})
    assert (outcome.status, outcome.error_type) == ("error", "BadRequest")
    assert "beams is 2, answers 3" in outcome.error
    assert asked(service) == []


def test_all_sockets_are_seen_in_order_before_the_question(comfy, service):
    names = ["image", *(f"image{number}" for number in range(2, 9))]
    workflow = {
        name: give(comfy, f"Source {name}", torch.zeros(1, 8, 8 * (1 + index), 3))
        for index, name in enumerate(names)
    }
    links = {name: [name, 0] for name in names}
    assert comfy.run({**workflow, "1": make(NODE, **links)}).status == "success"
    (turn,) = asked(service)[0].messages
    assert [part.kind for part in turn.content] == ["image"] * 8 + ["text"]
    assert [p.tensor.shape[1] for p in turn.content[:8]] == [8 * n for n in range(1, 9)]


def test_a_batch_is_answered_one_by_one_side_by_side(comfy, service):
    service.on[messages.Generate] = says("one", "two", "three")
    batch = torch.arange(3).view(3, 1, 1, 1).expand(3, 8, 8, 3) / 255
    workflow = {
        "0": give(comfy, "Source", batch),
        "00": give(comfy, "Other", torch.ones(1, 4, 4, 3)),
        "1": make(NODE, image=["0", 0], image2=["00", 0], batch_mode="one answer each"),
    }
    outcome, values = outputs(comfy, workflow, "1", 10)
    assert outcome.status == "success", outcome.error
    assert sorted(values[LIST]) == ["one", "three", "two"]
    assert sorted(values[TEXT][0].split("\n\n")) == ["one", "three", "two"]
    kinds = [[part.kind for part in request.messages[0].content] for request in asked(service)]
    assert kinds == [["image", "image", "text"]] * 3
    assert len(json.loads(values[JSON][0])) == 3
    assert values[MASK][0].shape == (3, 8, 8)


def test_batches_of_different_sizes_are_refused_with_the_numbers(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(3, 8, 8, 3)),
        "00": give(comfy, "Other", torch.zeros(2, 8, 8, 3)),
        "1": make(NODE, image=["0", 0], image2=["00", 0], batch_mode="one answer each"),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadRequest"
    assert "image2 has 2, another 3" in outcome.error
    assert asked(service) == []


def test_one_failing_answer_cancels_the_others(comfy, service):
    def fail_last(peer, frame, _request):
        if len(peer.messages_of(messages.Generate)) == 3:
            peer.send(messages.Error(code="not_finite", what="NaN logits."), frame.request_id)

    service.on[messages.Generate] = fail_last
    workflow = {
        "0": give(comfy, "Source", torch.rand(3, 8, 8, 3)),
        "1": make(NODE, image=["0", 0], batch_mode="one answer each"),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "NotFinite"
    scripted.wait_until(lambda: len(service.peer.messages_of(messages.Cancel)) == 2)


def test_several_answers_are_a_list_and_thoughts_an_output_of_their_own(comfy, service):
    other = messages.Answer(text="a disc", token_ids=b"", token_us=b"", stop_reason="end_token")
    service.on[messages.Generate] = says("a circle", others=[other], thinking="round …")
    outcome, values = outputs(comfy, {"1": make(NODE, answers=2)}, "1", 10)
    assert outcome.status == "success", outcome.error
    assert values[LIST] == ["a circle", "a disc"]
    assert values[TEXT][0] == "a circle\n\na disc"
    assert values[THINKING][0] == "round …"
    assert "time" in values[STATS][0]


BOX = '[{"bbox_2d": [250, 500, 500, 1000], "label": "cat"}, {"point_2d": [0, 0], "label": "dot"}]'


def test_boxes_are_in_pixels_of_the_picture_that_came_in(comfy, service):
    service.on[messages.Generate] = says(BOX, pictures=[seen()], coordinates="thousandths")
    workflow = {
        "0": give(comfy, "Source", torch.zeros(1, 32, 64, 3)),
        "1": make(NODE, image=["0", 0]),
    }
    outcome, values = outputs(comfy, workflow, "1", 10)
    assert outcome.status == "success", outcome.error
    assert values[BOXES] == [[[[16, 16, 32, 32]]]]
    ((box,),) = values[CORE][0]
    assert box == {"x": 16, "y": 16, "width": 16, "height": 16, "label": "cat", "score": 1.0}
    mask = values[MASK][0]
    assert mask.shape == (1, 32, 64) and mask[0, 16:, 16:32].min() == 1.0
    assert mask[0, 0, 0] == 1.0 and mask.sum() == 16 * 16 + 3
    assert json.loads(values[PLACES][0])[1] == {"picture": 0, "label": "dot", "point": [0, 0]}


def test_boxes_in_a_crop_are_moved_into_the_whole_picture(comfy, service):
    mask = torch.zeros(1, 32, 64)
    mask[:, 10:20, 20:30] = 1
    service.on[messages.Generate] = says(
        '{"bbox_2d": [0, 0, 12, 12]}', pictures=[seen(14, 14)], coordinates="pixels"
    )
    workflow = {
        "0": give(comfy, "Source", torch.rand(1, 32, 64, 3)),
        "00": give(comfy, "Mask", mask, "MASK"),
        "1": make(NODE, image=["0", 0], mask=["00", 0], mask_margin=2),
    }
    outcome, values = outputs(comfy, workflow, "1", 10)
    assert outcome.status == "success", outcome.error
    assert asked(service)[0].messages[0].content[0].tensor.shape == [14, 14, 3]
    assert values[BOXES] == [[[[18, 8, 30, 20]]]]
    assert values[MASK][0].shape == (1, 32, 64)


def test_boxes_of_says_which_picture_is_meant(comfy, service):
    service.on[messages.Generate] = says(
        BOX, pictures=[seen(8, 8), seen(100, 100)], coordinates="thousandths"
    )
    workflow = {
        "0": give(comfy, "Source", torch.zeros(1, 8, 8, 3)),
        "00": give(comfy, "Other", torch.zeros(1, 100, 100, 3)),
        "1": make(NODE, image=["0", 0], image2=["00", 0], boxes_of=2),
    }
    _, values = outputs(comfy, workflow, "1", 10)
    assert values[BOXES] == [[[[25, 50, 50, 100]]]]
    assert values[MASK][0].shape == (1, 100, 100)


def test_boxes_of_a_picture_that_is_not_there_are_said_to_be_none(comfy, service):
    service.on[messages.Generate] = says(BOX, pictures=[seen()], coordinates="thousandths")
    workflow = {
        "0": give(comfy, "Source", torch.zeros(1, 32, 64, 3)),
        "1": make(NODE, image=["0", 0], boxes_of=2),
    }
    assert "boxes_of is 2; the prompt has 1" in comfy.run(workflow).text("1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30-24", "'30-24', which does not rise"),
        ("0-999999999999", "frame 999999999999; the video has 3"),
        ("1, 0", "does not rise"),
    ],
)
def test_frames_that_are_not_there_or_do_not_rise_are_refused(comfy, service, text, words):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(3, 8, 8, 3)),
        "1": make(NODE, video=["0", 0], frame_indices=text),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadRequest" and words in outcome.error
    assert asked(service) == []


def test_a_mask_is_not_left_out_in_silence_where_pictures_are_a_video(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(3, 8, 8, 3)),
        "00": give(comfy, "Mask", torch.ones(1, 8, 8), "MASK"),
        "1": make(NODE, image=["0", 0], mask=["00", 0], batch_mode="video"),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadRequest" and "Disconnect mask" in outcome.error


@pytest.mark.parametrize("kind", [NODE, "HearthTokenEstimate"])
@pytest.mark.parametrize("others", [{}, {"image2": ["0", 0]}, {"video": ["0", 0]}])
def test_a_mask_without_its_picture_is_not_left_out_in_silence(comfy, service, kind, others):
    workflow = {
        "0": give(comfy, "Source", torch.rand(4, 8, 8, 3)),
        "00": give(comfy, "Mask", torch.ones(1, 8, 8), "MASK"),
        "1": make(kind, mask=["00", 0], **others),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadRequest"
    assert "mask cuts `image`, which is not connected" in outcome.error
    assert asked(service) == []


def test_a_mask_without_a_batch_around_is_one_for_all_pictures(comfy, service):
    mask = torch.zeros(8, 8)
    mask[2:4, 3:8] = 1
    workflow = {
        "0": give(comfy, "Source", torch.zeros(2, 8, 8, 3)),
        "00": give(comfy, "Mask", mask, "MASK"),
        "1": make(NODE, image=["0", 0], mask=["00", 0], batch_mode="one answer each"),
    }
    assert comfy.run(workflow).status == "success"
    shapes = [request.messages[0].content[0].tensor.shape for request in asked(service)]
    assert shapes == [[2, 5, 3]] * 2


def test_without_pictures_and_places_the_outputs_are_empty(comfy, service):
    outcome, values = outputs(comfy, {"1": make(NODE)}, "1", 10)
    assert outcome.status == "success", outcome.error
    assert (values[BOXES], values[CORE], values[PLACES]) == ([[[]]], [[[]]], ["[]"])
    assert values[MASK][0].sum() == 0


def test_history_goes_in_and_comes_out_and_another_system_prompt_replaces_the_first(comfy, service):
    service.on[messages.Generate] = says("first", "second")
    workflow = {
        "0": give(comfy, "Source", torch.zeros(1, 8, 8, 3)),
        "1": make(NODE, image=["0", 0], system_prompt="Be brief."),
        "2": make(NODE, history=["1", HISTORY], custom_prompt="Why?", system_prompt="Be kind."),
    }
    assert comfy.run(workflow).status == "success"
    turns = asked(service)[1].messages
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[0].content[0].text == "Be kind."
    assert [part.kind for part in turns[1].content] == ["image", "text"]
    assert (turns[2].content[0].text, turns[3].content[0].text) == ("first", "Why?")


def test_a_model_node_takes_the_place_of_the_nodes_own_choice(comfy, service):
    model = make(
        "HearthModel",
        model="LLM/fake",
        keep_loaded=False,
        precision="int8 (8 bit)",
        head="bfloat16",
        attention="eager",
    )
    workflow = {"0": model, "1": make(NODE, llm=["0", 0]), "2": make(NODE, llm=["0", 0], seed=8)}
    assert comfy.run(workflow).status == "success"
    offer = service.peer.messages_of(messages.OfferModel)[0]
    assert (offer.dtype, offer.head, offer.attention) == ("int8", "bfloat16", "eager")
    assert all(request.model.startswith("id-") for request in asked(service))
    assert service.peer.messages_of(messages.UnloadModel)


def test_another_attention_is_not_for_a_published_model(comfy, service):
    outcome = comfy.run({"1": make(NODE, attention="eager")})
    assert outcome.error_type == "BadRequest"
    assert "attention eager" in outcome.error


@pytest.mark.parametrize(
    "inputs, complaint",
    [
        ({"frame_indices": "0, x"}, "frame_indices has 'x'"),
        ({"frame_indices": "3 2"}, "does not rise"),
        ({"frame_indices": "0-9"}, "names frame 9; the video has 5"),
        ({"batch_mode": "stack"}, "one answer each"),
    ],
)
def test_a_bad_choice_is_named_before_anything_is_sent(comfy, service, inputs, complaint):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(5, 8, 8, 3)),
        "1": make(NODE, video=["0", 0], **inputs),
    }
    outcome = comfy.run(workflow)
    assert outcome.status in ("error", "rejected")
    assert complaint in outcome.error
    assert asked(service) == []


@pytest.mark.parametrize(
    "inputs, indices",
    [({"frame_indices": "1, 3-4"}, [1, 3, 4]), ({"frames": 3}, [0, 2, 4]), ({}, [0, 1, 2, 3, 4])],
)
def test_frames_of_a_video_keep_their_numbers(comfy, service, inputs, indices):
    frames = torch.arange(5)[:, None, None, None].expand(5, 8, 8, 3) / 255
    workflow = {
        "0": give(comfy, "Source", frames),
        "1": make(NODE, video=["0", 0], fps=12.0, **inputs),
    }
    assert comfy.run(workflow).status == "success"
    part = asked(service)[0].messages[-1].content[0]
    assert (part.kind, part.fps, part.frame_indices) == ("video", 12.0, indices)
    assert list(service.peer.arena_bytes(part.tensor)[:: 8 * 8 * 3]) == indices


def test_thoughts_are_shown_until_the_first_word(comfy, service):
    def think(peer, frame, request):
        thought = messages.Token(text="round …", token_ids=b"", thinking=True)
        peer.send(thought, frame.request_id)
        scripted.wait_until(lambda: comfy.world.server.sent)
        scripted.answer(peer, frame, request)

    service.on[messages.Generate] = think
    outcome = comfy.run({"1": make(NODE)})
    assert outcome.texts[0] == ("1", "Thinking …\n\nround …")
    assert outcome.texts[-1] == ("1", "a red circle")


@pytest.mark.parametrize(
    "given, complaint",
    [
        ("1000, x", "max_pixels_each has 'x'"),
        (",".join(["1"] * 9), "max_pixels_each has 9 numbers for 8 sockets"),
    ],
)
def test_budgets_that_are_none_are_named(comfy, service, given, complaint):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(1, 8, 8, 3)),
        "1": make(NODE, image=["0", 0], max_pixels_each=given),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadRequest" and complaint in outcome.error


def test_a_wrong_socket_is_named(comfy, service):
    workflow = {"0": give(comfy, "Wrong", "ember", "HEARTH_LLM"), "1": make(NODE, llm=["0", 0])}
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadRequest" and "llm is a str" in outcome.error


def test_each_socket_may_have_a_pixel_budget_of_its_own(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(2, 8, 8, 3)),
        "1": make(NODE, image=["0", 0], image2=["0", 0], max_pixels_each="5000", max_pixels=900),
    }
    assert comfy.run(workflow).status == "success"
    (request,) = asked(service)
    parts = request.messages[0].content[:4]
    assert [part.max_pixels for part in parts] == [5000, 5000, 0, 0]
    assert request.max_pixels == 900


def test_a_budget_counts_for_a_batch_that_is_a_video(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(4, 8, 8, 3)),
        "1": make(NODE, image=["0", 0], batch_mode="video", max_pixels_each="5000"),
    }
    assert comfy.run(workflow).status == "success"
    assert asked(service)[0].messages[0].content[0].max_pixels == 5000


def test_a_batch_may_be_the_frames_of_a_video(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(48, 8, 8, 3)),
        "1": make(NODE, image=["0", 0], batch_mode="video", frames=4, fps=12.0),
        "2": make(NODE, video=["0", 0], frames=0, fps=12.0, seed=9),
    }
    assert comfy.run(workflow).status == "success"
    first, second = sorted(asked(service), key=lambda request: request.seed)
    (part, _) = first.messages[0].content
    assert (part.kind, part.fps, part.tensor.shape) == ("video", 12.0, [4, 8, 8, 3])
    assert part.frame_indices == [0, 16, 31, 47]
    assert len(second.messages[0].content[0].frame_indices) == 8  # two for each of four seconds


def test_each_picture_of_a_batch_is_cut_by_its_own_mask(comfy, service):
    masks = torch.zeros(2, 32, 64)
    masks[0, :4, :8] = 1
    masks[1, :16, :32] = 1
    service.on[messages.Generate] = says(BOX, pictures=[seen()], coordinates="thousandths")
    workflow = {
        "0": give(comfy, "Source", torch.rand(2, 32, 64, 3)),
        "00": give(comfy, "Mask", masks, "MASK"),
        "1": make(NODE, image=["0", 0], mask=["00", 0], batch_mode="one answer each"),
    }
    outcome, values = outputs(comfy, workflow, "1", 10)
    assert outcome.status == "success", outcome.error
    shapes = [request.messages[0].content[0].tensor.shape for request in asked(service)]
    assert sorted(shapes) == [[4, 8, 3], [16, 32, 3]]
    assert values[MASK][0].shape == (2, 32, 64)
