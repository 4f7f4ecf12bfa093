"""Errors as the user of a node reads them: in the names of its inputs and of the picked model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import server as scripted
from hearth import messages

torch = pytest.importorskip("torch")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]

import hearthd_for_test as services  # noqa: E402
from cases import caption, picture  # noqa: E402
from fake_comfy import FakeComfy  # noqa: E402


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request: Any, service: scripted.Server, tmp_path: Path) -> Iterator[FakeComfy]:
    base = tmp_path / "comfy"
    services.make_fake_model(base / "models/LLM/fake")
    with FakeComfy(request.param, TESTS.parent, base, {"HEARTH_SOCKET": service.path}) as running:
        yield running


def ask(question: str = "What is this?", **inputs: Any) -> dict[str, Any]:
    return caption(question, **{"model": "ember", **inputs})


def nodes_of(comfy: FakeComfy) -> Any:
    """The pack's module of the Qwen-VL node, as this ComfyUI has loaded it."""
    return sys.modules[f"{comfy.module.__name__}.client_py.hearth.nodes.qwen_vl"]


def test_a_bad_picture_is_called_by_the_name_of_its_input(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    class Broken:
        RETURN_TYPES, FUNCTION = ("IMAGE",), "give"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {}}

        def give(self) -> tuple[Any]:
            return (torch.full((1, 8, 8, 3), float("nan")),)

    comfy.nodes["Broken"] = Broken
    outcome = comfy.run({"1": {"class_type": "Broken", "inputs": {}}, "2": ask(image=["1", 0])})
    assert outcome.error_type == "BadPicture"
    assert outcome.error.startswith("image contains NaN"), outcome.error


@pytest.mark.parametrize("with_picture", [True, False])
def test_a_question_that_is_too_long_is_called_custom_prompt(
    comfy: FakeComfy, service: scripted.Server, with_picture: bool
) -> None:
    image = {"image": ["1", 0]} if with_picture else {}
    outcome = comfy.run({"1": picture(8, 8), "2": ask("x" * 300_000, **image)})
    assert outcome.error_type == "BadRequest"
    assert outcome.error.startswith("custom_prompt has 300000 bytes"), outcome.error


def test_a_model_that_is_refused_is_named_as_it_was_picked(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    service.on[messages.OfferModel] = scripted.fails(
        "bad_model",
        "model.safetensors has only 0 bytes.",
        hint=messages.ERRORS["bad_model"][1],
    )
    outcome = comfy.run({"1": ask(model="LLM/fake")})
    assert outcome.error_type == "BadModel"
    assert outcome.error.startswith("LLM/fake: model.safetensors has only 0 bytes. ")
    assert "pick another model" in outcome.error


def test_the_error_of_a_model_tells_whose_tokenizer_it_was_tried_with(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    (comfy.base / "models/LLM/fake/tokenizer.json").unlink()
    service.on[messages.OfferModel] = scripted.fails("bad_model", "The tokenizer has 9 ids.")
    outcome = comfy.run({"1": ask(model="LLM/fake")})
    assert outcome.error.startswith("LLM/fake: The tokenizer has 9 ids. ")
    assert "ComfyUI's Qwen2.5 tokenizer" in outcome.error


def test_a_name_that_the_service_does_not_publish_says_how_to_get_it(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    service.on[messages.Generate] = scripted.fails(
        "unknown_model", 'No model "ember" was offered on this connection or is published.'
    )
    outcome = comfy.run({"1": ask()})
    assert outcome.error_type == "UnknownModel"
    assert "publishes no model 'ember'" in outcome.error
    assert "offer" not in outcome.error.lower()


@pytest.mark.parametrize(
    "inputs, choices",
    [
        ({"model": "LLM/fake", "precision": "int5"}, "int8 (8 bit)"),
        ({"preset_prompt": "?"}, "Tags"),
    ],
)
def test_a_choice_that_does_not_exist_is_an_error_that_lists_them(
    comfy: FakeComfy, service: scripted.Server, inputs: dict[str, Any], choices: str
) -> None:
    """0.3.64 does not look at the choices of V3 nodes, so the node does."""
    question = "x" if "precision" in inputs else ""
    node = ask(question, **inputs, image=["1", 0])
    outcome = comfy.run({"1": picture(8, 8), "2": node})
    if outcome.status != "rejected":
        assert outcome.error_type == "BadRequest"
    assert choices in outcome.error
    assert not [peer for peer in service.peers if peer.messages_of(messages.Generate)]


def test_an_empty_name_is_refused_when_the_workflow_is_queued(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    outcome = comfy.run({"1": ask(model="")})
    assert outcome.status == "rejected"
    assert "pick another model" in outcome.error


def test_who_waits_reads_how_many_are_served_first(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    def queue_first(peer: Any, frame: Any, request: Any) -> None:
        peer.send(messages.Progress(stage="queued", done=3, total=4), frame.request_id)
        scripted.wait_until(lambda: comfy.world.server.sent)
        scripted.answer(peer, frame, request)

    service.on[messages.Generate] = queue_first
    outcome = comfy.run({"1": ask()})
    assert outcome.texts[0] == ("1", "Waiting for the engine … 3 ahead")


def test_an_older_state_of_changed_files_is_given_up(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    """Or each update of a model would leave another copy in memory."""
    ids = iter(["a" * 16, "a" * 16, "b" * 16])

    def offered(peer: Any, frame: Any, _offer: Any) -> None:
        peer.send(messages.ModelOffered(model=next(ids), family="fake"), frame.request_id)

    service.on[messages.OfferModel] = offered
    for _ in range(3):
        assert comfy.run({"1": ask(model="LLM/fake")}).status == "success"
    given_up = [
        one.model for peer in service.peers for one in peer.messages_of(messages.UnloadModel)
    ]
    assert given_up == ["a" * 16]


def test_the_node_itself_shows_what_went_wrong(comfy: FakeComfy, service: scripted.Server) -> None:
    """Some browsers say only that a node failed, and hide the reason behind a button."""
    service.on[messages.Generate] = scripted.fails("not_finite", "NaN logits.", hint="Try bf16.")
    outcome = comfy.run({"1": ask()})
    assert outcome.error == "NaN logits. Try bf16."
    assert outcome.texts[-1] == ("1", outcome.error)
