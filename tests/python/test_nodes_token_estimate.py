"""Token Estimate: what is counted, and what is said of it."""

import pytest

import server as scripted
from hearth import messages
from nodes_for_test import TESTS, FakeComfy, asked, give, make, outputs, seen

torch = pytest.importorskip("torch")

NODE = "HearthTokenEstimate"


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request, service, tmp_path):
    base = tmp_path / "comfy"
    with FakeComfy(request.param, TESTS.parent, base, {"HEARTH_SOCKET": service.path}) as running:
        yield running


def counts(*prompt_tokens):
    """A handler that says these numbers, one after the other."""
    left = list(prompt_tokens)

    def handler(peer, frame, request):
        pictures = [p for turn in request.messages for p in turn.content if p.kind != "text"]
        counted = messages.TokensCounted(
            prompt_tokens=left.pop(0),
            image_tokens=4 * len(pictures),
            context_tokens=1000,
            pictures=[seen() for _ in pictures],
        )
        peer.send(counted, frame.request_id)

    return handler


def test_the_numbers_come_out_and_nothing_is_generated(comfy, service):
    service.on[messages.CountTokens] = counts(900)
    workflow = {
        "0": give(comfy, "Source", torch.zeros(2, 32, 64, 3)),
        "1": make(NODE, image=["0", 0], max_tokens=100, max_pixels=5000, thinking="off"),
    }
    outcome, values = outputs(comfy, workflow, "1", 5)
    assert outcome.status == "success", outcome.error
    assert values[:4] == [[900], [8], [1000], [True]]
    assert "context   1000 tokens: 0 are left" in values[4][0]
    assert "picture 2  64 x 32, seen as 64 x 32: 4 tokens" in values[4][0]
    (request,) = service.peer.messages_of(messages.CountTokens)
    assert (request.max_pixels, request.thinking) == (5000, "off")
    assert [part.kind for part in request.messages[0].content] == ["image", "image", "text"]
    assert asked(service) == [] and service.peer.messages_of(messages.ArenaAsk) == []


def test_what_does_not_fit_is_said_with_the_number(comfy, service):
    service.on[messages.CountTokens] = counts(950)
    outcome, values = outputs(comfy, {"1": make(NODE, max_tokens=100)}, "1", 5)
    assert values[3] == [False] and "50 too many" in outcome.text("1")


def test_of_several_questions_the_longest_counts(comfy, service):
    service.on[messages.CountTokens] = counts(100, 300, 200)
    workflow = {
        "0": give(comfy, "Source", torch.zeros(3, 32, 64, 3)),
        "1": make(NODE, image=["0", 0], batch_mode="one answer each"),
    }
    outcome, values = outputs(comfy, workflow, "1", 5)
    assert values[0] == [300] and outcome.text("1").startswith("the longest of 3 questions")


def test_errors_name_the_inputs(comfy, service):
    outcome = comfy.run({"1": make(NODE, custom_prompt="x" * 300_000)})
    assert outcome.error.startswith("custom_prompt has 300000 bytes")
    service.on[messages.CountTokens] = scripted.fails("unknown_model", "No such model.")
    outcome = comfy.run({"1": make(NODE)})
    assert "publishes no model 'ember'" in outcome.error


def test_a_model_that_is_not_kept_is_not_given_up_for_a_count(comfy, service):
    service.on[messages.CountTokens] = counts(900)
    workflow = {"0": make("HearthModel", keep_loaded=False), "1": make(NODE, llm=["0", 0])}
    assert comfy.run(workflow).status == "success"
    assert service.peer.messages_of(messages.UnloadModel) == []
