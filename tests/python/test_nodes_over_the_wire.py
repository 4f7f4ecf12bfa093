"""What the nodes say to the service, and what they make of its answers: a scripted service."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import server as scripted
from hearth import messages

torch = pytest.importorskip("torch")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]

import hearthd_for_test as services  # noqa: E402
from cases import caption, preview  # noqa: E402
from fake_comfy import FakeComfy  # noqa: E402


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request: Any, service: scripted.Server, tmp_path: Path) -> Iterator[FakeComfy]:
    base = tmp_path / "comfy"
    with FakeComfy(request.param, TESTS.parent, base, {"HEARTH_SOCKET": service.path}) as running:
        yield running


def ask(question: str = "What is this?", **inputs: Any) -> dict[str, Any]:
    return caption(question, **{"model": "ember", **inputs})


def source(comfy: FakeComfy, picture: Any) -> dict[str, Any]:
    """A node that gives this IMAGE."""

    class Source:
        RETURN_TYPES, FUNCTION = ("IMAGE",), "give"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {}}

        def give(self) -> tuple[Any]:
            return (picture,)

    comfy.nodes["Source"] = Source
    return {"class_type": "Source", "inputs": {}}


def asked(service: scripted.Server) -> list[messages.Generate]:
    return [one for peer in service.peers for one in peer.messages_of(messages.Generate)]


def test_widget_values_arrive_unchanged(comfy: FakeComfy, service: scripted.Server) -> None:
    values = {
        "max_tokens": 77,
        "temperature": 1.25,
        "top_p": 0.5,
        "top_k": 7,
        "min_p": 0.25,
        "repetition_penalty": 1.5,
        "seed": 2**64 - 1,
    }
    assert comfy.run({"1": ask(**values)}).status == "success"
    sent = asked(service)[0]
    assert {name: getattr(sent, name) for name in values} == values
    assert sent.model == "ember"


def test_pictures_come_before_the_question(comfy: FakeComfy, service: scripted.Server) -> None:
    batch = source(comfy, torch.zeros(3, 8, 16, 3))
    comfy.run({"1": batch, "2": ask("Which?", image=["1", 0])})
    (turn,) = asked(service)[0].messages
    assert turn.role == "user"
    assert [part.kind for part in turn.content] == ["image"] * 3 + ["text"]
    assert turn.content[-1].text == "Which?"
    assert [part.tensor.shape for part in turn.content[:3]] == [[8, 16, 3]] * 3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_pictures_are_rounded_to_bytes(
    comfy: FakeComfy, service: scripted.Server, dtype: str
) -> None:
    seen = []

    def look(peer: Any, frame: Any, request: Any) -> None:
        seen.append(peer.arena_bytes(request.messages[0].content[0].tensor))
        scripted.answer(peer, frame, request)

    service.on[messages.Generate] = look
    wanted = torch.arange(256, dtype=torch.float32).repeat(3).view(1, 16, 16, 3)
    picture = (wanted / 255).to(getattr(torch, dtype))
    rounded = (picture.float() * 255).round().to(torch.uint8)
    # A crop of a wider picture: its rows are not dense.
    wide = torch.zeros(1, 16, 40, 3, dtype=picture.dtype)
    wide[:, :, 8:24] = picture
    comfy.run({"1": source(comfy, wide[:, :, 8:24]), "2": ask(image=["1", 0])})
    assert seen == [rounded.numpy().tobytes()]


def test_an_empty_batch_is_an_error_that_says_so(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    outcome = comfy.run({"1": source(comfy, torch.zeros(0, 8, 8, 3)), "2": ask(image=["1", 0])})
    assert (outcome.status, outcome.error_type) == ("error", "BadPicture")
    assert "empty" in outcome.error
    assert asked(service) == []


def test_a_picture_of_nan_is_an_error_that_says_so(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    broken = torch.full((1, 8, 8, 3), float("nan"))
    outcome = comfy.run({"1": source(comfy, broken), "2": ask(image=["1", 0])})
    assert (outcome.status, outcome.error_type) == ("error", "BadPicture")
    assert "NaN" in outcome.error


def test_warnings_are_shown_and_logged_but_never_in_the_text(
    comfy: FakeComfy, service: scripted.Server, caplog: Any
) -> None:
    service.on[messages.Generate] = scripted.replies(
        scripted.generated("a circle", warnings=["the template was guessed"])
    )
    with caplog.at_level(logging.WARNING):
        outcome = comfy.run({"1": ask(), "2": preview("1")})
    assert outcome.text("2") == "a circle"
    assert outcome.text("1") == "a circle\n\nNote: the template was guessed"
    assert "the template was guessed" in caplog.text


def test_a_service_that_is_too_new_is_named_with_both_versions(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    service.on[messages.Hello] = scripted.fails("version", "This service speaks protocol 9.")
    outcome = comfy.run({"1": ask()})
    assert (outcome.status, outcome.error_type) == ("error", "Version")
    assert "protocol 9" in outcome.error
    assert "Update the older" in outcome.error


def test_a_service_that_takes_connections_and_says_nothing_is_given_up_in_time(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    service.on[messages.Hello] = scripted.silent
    outcome = comfy.run({"1": ask()})
    assert (outcome.status, outcome.error_type) == ("error", "NotReachable")
    assert outcome.seconds < 50  # ten times the target


class ServerLoop:
    """ComfyUI's server loop: keeps what it is asked to do later."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Any]] = []

    def call_soon_threadsafe(self, act: Any, *args: Any) -> None:
        act(*args)

    def call_later(self, delay_s: float, act: Any) -> None:
        self.later.append((delay_s, act))


def test_comfyuis_server_loop_gives_idle_memory_back(
    comfy: FakeComfy, service: scripted.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = ServerLoop()
    monkeypatch.setattr(sys.modules["server"].PromptServer.instance, "loop", loop, raising=False)
    picture = source(comfy, torch.zeros(1, 8, 16, 3))
    for question in ("Which?", "What?"):
        comfy.run({"1": picture, "2": ask(question, image=["1", 0])})
    ((delay_s, act),) = loop.later
    assert delay_s > 60
    (fd,) = service.peer.arenas.values()
    os.posix_fallocate(fd, 0, 64 << 20)
    act()
    assert os.fstat(fd).st_blocks * 512 == 64 << 20
    assert len(loop.later) == 2 and 0 < loop.later[1][0] < 62, "used within the last minute"
    slots = sys.modules[act.__module__.replace(".nodes._service", ".slots")]
    late = time.monotonic() + 61
    monkeypatch.setattr(slots, "time", SimpleNamespace(monotonic=lambda: late))
    loop.later[1][1]()
    assert os.fstat(fd).st_blocks * 512 <= 8 << 20
    assert len(loop.later) == 2


def test_errors_of_the_service_reach_the_user_word_for_word(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    service.on[messages.Generate] = scripted.fails(
        "out_of_memory", "8.2 GB needed, 6.1 GB free.", hint="Unload qwen first."
    )
    outcome = comfy.run({"1": ask()})
    assert outcome.error_type == "OutOfMemory"
    assert outcome.error == "8.2 GB needed, 6.1 GB free. Unload qwen first."


def test_cancel_is_sent_and_comfyuis_own_exception_passes(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    service.on[messages.Generate] = scripted.silent
    outcome = comfy.run({"1": ask()}, interrupt_after=0.3)
    assert outcome.status == "interrupted"
    scripted.wait_until(lambda: service.peer.messages_of(messages.Cancel))
    cancelled = service.peer.ids_of(messages.Cancel)
    assert cancelled == service.peer.ids_of(messages.Generate)


def test_a_model_is_given_up_only_when_asked(comfy: FakeComfy, service: scripted.Server) -> None:
    comfy.run({"1": ask(keep_loaded=True)})
    assert service.peer.messages_of(messages.UnloadModel) == []
    comfy.run({"1": ask(keep_loaded=False)})
    assert [m.model for m in service.peer.messages_of(messages.UnloadModel)] == ["ember"]


def test_a_model_is_given_up_even_when_its_answer_failed(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    service.on[messages.Generate] = scripted.fails("not_finite", "NaN logits.")
    outcome = comfy.run({"1": ask(keep_loaded=False)})
    assert outcome.error_type == "NotFinite"
    assert service.peer.messages_of(messages.UnloadModel)


def test_a_model_that_cannot_be_given_up_costs_neither_answer_nor_error(
    comfy: FakeComfy, service: scripted.Server, caplog: Any
) -> None:
    service.on[messages.UnloadModel] = scripted.fails("internal", "no such hold")
    with caplog.at_level(logging.WARNING):
        assert comfy.run({"1": ask(keep_loaded=False)}).text("1") == "a red circle"
    assert "no such hold" in caplog.text
    service.on[messages.Generate] = scripted.fails("not_finite", "NaN logits.")
    assert comfy.run({"1": ask(keep_loaded=False)}).error_type == "NotFinite"


def test_runs_share_one_connection_and_its_memory(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    for _ in range(3):
        batch = source(comfy, torch.zeros(1, 8, 8, 3))
        assert comfy.run({"1": batch, "2": ask(image=["1", 0])}).status == "success"
    assert len(service.peers) == 1
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 1


def test_stages_are_shown_until_the_first_word(comfy: FakeComfy, service: scripted.Server) -> None:
    def load_first(peer: Any, frame: Any, request: Any) -> None:
        loading = messages.Progress(stage="loading", done=1, total=4)
        peer.send(loading, frame.request_id)
        scripted.wait_until(lambda: comfy.world.server.sent)
        scripted.answer(peer, frame, request)

    service.on[messages.Generate] = load_first
    outcome = comfy.run({"1": ask()})
    assert outcome.texts[0] == ("1", "Loading the model … 25 %")
    assert outcome.texts[-1] == ("1", "a red circle")


def test_a_single_file_is_offered_with_comfyuis_tokenizer(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    from hearthd_for_test import write_safetensors

    write_safetensors(comfy.base / "models/text_encoders/encoder.safetensors")
    outcome = comfy.run({"1": ask(model="text_encoders/encoder.safetensors")})
    assert outcome.status == "success", outcome.error
    (offer,) = service.peer.messages_of(messages.OfferModel)
    assert sorted(offer.labels) == [
        "encoder.safetensors",
        "merges.txt",
        "tokenizer_config.json",
        "vocab.json",
    ]
    assert "encoder.safetensors" in outcome.text("1")
    assert "tokenizer" in outcome.text("1")


def test_a_browser_that_queued_nothing_sees_nothing(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    comfy.run({"1": ask()})
    assert {sid for _, event, _, sid in comfy.world.server.sent if event == "progress_text"} == {
        "browser"
    }


def test_the_precision_is_what_the_model_is_offered_in(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    services.make_fake_model(comfy.base / "models/LLM/fake")
    labels = {"auto": "auto", "int8 (8 bit)": "int8", "int4 (4 bit)": "int4"}
    for label in labels:
        model = {"model": "LLM/fake", "precision": label}
        assert comfy.run({"1": ask(**model)}).status == "success"
    offers = [offer for peer in service.peers for offer in peer.messages_of(messages.OfferModel)]
    assert [offer.dtype for offer in offers] == list(labels.values())
    _, options = comfy.inputs_of("HearthQwenVL")["precision"]
    assert options["default"] == "auto"


def test_a_published_model_has_no_other_precision(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    outcome = comfy.run({"1": ask(precision="int8 (8 bit)")})
    assert outcome.status == "error" and "ember" in outcome.error
    assert not asked(service)


def test_equal_questions_about_equal_pictures_name_the_same_result(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    picture = torch.rand(1, 16, 24, 3)
    for name, shown in (("A", picture), ("B", picture.clone()), ("C", 1 - picture)):
        source(comfy, shown)
        comfy.nodes[name] = comfy.nodes["Source"]  # past ComfyUI's own cache
        workflow = {"1": {"class_type": name, "inputs": {}}, "2": ask(image=["1", 0])}
        assert comfy.run(workflow).status == "success"
    first, again, other = (request.result_key for request in asked(service))
    assert first == again != other
