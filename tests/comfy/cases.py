"""What the nodes must do inside ComfyUI, whichever ComfyUI it is.

tests/python/test_nodes_in_fake_comfy.py runs these against the harness, test_real_comfy.py against
real ones. Both bring the fixture `comfy` (FakeComfy or RealComfy); `service` is hearthd, running,
`no_service` hearthd, stopped.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import hearthd_for_test as services
import pytest

from hearth import client, messages

FAKE = "LLM/fake"
_seeds = itertools.count(1 + os.getpid() * 1000)


@pytest.fixture(scope="module")
def any_service(comfy: Any) -> Iterator[services.Service]:
    if services.hearthd() is None:
        pytest.skip("no hearthd is built; HEARTH_BIN names the folder of one")
    owned = services.Service(comfy.base / "hearth.sock")
    yield owned
    owned.stop()


@pytest.fixture
def service(any_service: services.Service) -> services.Service:
    any_service.start()
    return any_service


@pytest.fixture
def no_service(any_service: services.Service) -> services.Service:
    any_service.stop()
    return any_service


def caption(question: str = "", image: list[Any] | None = None, **inputs: Any) -> dict[str, Any]:
    """The inputs of a Qwen-VL node. A seed of its own keeps ComfyUI's cache out of the test."""
    sampling = {
        name: messages.widget("generate", name)["default"]
        for name in ("max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    }
    given = {
        "model": FAKE,
        "preset_prompt": "Describe",
        "custom_prompt": question,
        **sampling,
        "temperature": 0.0,
        "seed": next(_seeds),
        "keep_loaded": True,
        **({"image": image} if image else {}),
        **inputs,
    }
    return {"class_type": "HearthQwenVL", "inputs": given}


def preview(source: str) -> dict[str, Any]:
    """A node of ComfyUI's own that shows the first output of another one."""
    return {"class_type": "PreviewAny", "inputs": {"source": [source, 0]}}


def picture(width: int, height: int, count: int = 1, colour: int = 0) -> dict[str, Any]:
    """`count` plain pictures as one batch."""
    size = {"width": width, "height": height}
    return {"class_type": "EmptyImage", "inputs": {**size, "batch_size": count, "color": colour}}


def status() -> dict[str, Any]:
    return {"class_type": "HearthStatus", "inputs": {}}


def wait_until(condition: Callable[[], bool]) -> None:
    """Asks until it is so, and fails when it takes too long."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def becomes_idle(service: services.Service) -> None:
    with client.connect(service.socket) as connection:
        wait_until(lambda: not connection.status().running)


def test_a_question_gets_its_answer(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": caption("Say !count 5"), "2": preview("1")})
    assert (outcome.status, outcome.error) == ("success", "")
    assert outcome.text("2") == "Say 1 2 3 4 5"
    assert outcome.text("1") == "Say 1 2 3 4 5"


def test_the_embedded_model_tells_what_is_drawn(comfy: Any, service: Any) -> None:
    example = services.ROOT / "example_workflows/api/drawn_square.json"
    workflow = json.loads(example.read_text())
    workflow["4"]["inputs"]["seed"] = next(_seeds)
    outcome = comfy.run(workflow)
    if outcome.error_type == "UnknownModel" or "Families built in: fake." in outcome.error:
        pytest.skip("this hearthd publishes no ember, or is built without torch")
    assert outcome.status == "success", outcome.error
    for words in ("large red square", "white background"):
        assert words in outcome.text("5")


def test_a_batch_is_one_prompt_with_several_pictures(comfy: Any, service: Any) -> None:
    outcome = comfy.run(
        {
            "1": picture(16, 8, count=3, colour=0xFF0000),
            "2": caption("Look", ["1", 0]),
            "3": preview("2"),
        }
    )
    assert outcome.status == "success", outcome.error
    words = outcome.text("3")
    assert [f"image {n}: u8 [8, 16, 3]" in words for n in (1, 2, 3, 4)] == [True] * 3 + [False]


def test_pixels_arrive_as_they_were(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": picture(16, 8, colour=0x804020), "2": caption("x", ["1", 0])})
    expected = zlib.crc32(bytes((0x80, 0x40, 0x20)) * 128)
    assert f"crc32 {expected:08x}" in outcome.text("2")


def test_the_preset_asks_when_there_is_no_own_question(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": picture(16, 8), "2": caption("", ["1", 0], preset_prompt="Describe")})
    assert outcome.text("2").endswith("Describe this picture.")


def test_no_picture_and_no_question_is_an_error_that_says_so(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": caption("")})
    assert outcome.status == "error"
    assert "custom_prompt" in outcome.error


def test_words_appear_while_they_are_made(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": caption("!count 30 !wait step 20"), "2": preview("1")})
    shown = [text for node, text in outcome.texts if node == "1"]
    assert len(shown) > 3
    assert outcome.text_times[0] < outcome.seconds / 2
    assert shown[-1] == outcome.text("2")
    assert all(outcome.text("2").startswith(text) for text in shown if text[:1] == "1")
    # Ten a second and the last one.
    assert len(shown) <= outcome.seconds * 10 + 3


def test_the_progress_bar_counts_tokens_and_ends_full(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": caption("!count 30 !wait step 5", max_tokens=200)})
    moved = [(value, most) for node, value, most in outcome.progress if node == "1"]
    assert moved[-1] == (200, 200)
    assert any(0 < value < most for value, most in moved)


def test_cancel_stops_the_model_at_once(comfy: Any, service: Any) -> None:
    comfy.run({"1": caption("warm up")})
    outcome = comfy.run({"1": caption("!count 500 !wait step 50")}, interrupt_after=0.6)
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 2.0  # ten times the target
    becomes_idle(service)
    assert comfy.run({"1": caption("next")}).text("1") == "next"


def test_cancel_stops_a_model_that_is_still_loading(comfy: Any, service: Any) -> None:
    services.make_fake_model(comfy.base / "models/LLM/slow", script="!wait load 60000")
    outcome = comfy.run({"1": caption("x", model="LLM/slow")}, interrupt_after=0.5)
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 5.0


def one_by_one(source: str) -> dict[str, Any]:
    """The pictures of a batch as a list: what follows runs once for each."""
    return {"class_type": "RebatchImages", "inputs": {"images": [source, 0], "batch_size": 1}}


def test_a_list_may_be_longer_than_what_a_connection_may_have_open(
    comfy: Any, service: Any
) -> None:
    pictures = {"1": picture(16, 16, 150), "2": one_by_one("1")}
    outcome = comfy.run({**pictures, "3": caption("!count 1", image=["2", 0])})
    assert (outcome.status, outcome.error) == ("success", "")


def test_cancel_stops_every_element_of_a_list(comfy: Any, service: Any) -> None:
    comfy.run({"1": caption("warm up")})
    pictures = {"1": picture(16, 16, 100), "2": one_by_one("1")}
    slow = caption("!count 500 !wait step 50", image=["2", 0])
    outcome = comfy.run({**pictures, "3": slow}, interrupt_after=1.5)
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 5.0  # ten times the target
    becomes_idle(service)
    assert comfy.run({"1": caption("next")}).text("1") == "next"


def test_two_nodes_are_answered_side_by_side(comfy: Any, service: Any) -> None:
    slow = "!count 20 !wait step 20"
    alone = comfy.run({"1": caption(slow)}).seconds
    both = comfy.run({"1": caption(slow), "2": caption(slow), "3": caption(slow)})
    assert both.status == "success"
    assert both.seconds < 2 * alone


def test_a_failing_neighbour_cancels_the_request(comfy: Any, service: Any) -> None:
    outcome = comfy.run(
        {"1": caption("!count 500 !wait step 50"), "2": caption("!count 9 !fail 3")}
    )
    assert outcome.status == "error"
    becomes_idle(service)


def test_a_lost_engine_is_a_clear_error_and_the_next_run_works(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": caption("!count 9 !crash 3")})
    assert (outcome.status, outcome.error_type) == ("error", "WorkerLost")
    assert "again" in outcome.error
    service.stop()  # a model that killed the engine may be quarantined
    service.start()
    assert comfy.run({"1": caption("fine")}).text("1") == "fine"


def test_a_stopped_service_is_named_within_a_second(comfy: Any, no_service: Any) -> None:
    outcome = comfy.run({"1": caption("x")})
    assert (outcome.status, outcome.error_type) == ("error", "NotReachable")
    assert "hearthd" in outcome.error
    assert outcome.seconds < 10.0  # ten times the target


def test_comfyui_need_not_restart_when_the_service_comes_back(comfy: Any, no_service: Any) -> None:
    assert comfy.run({"1": caption("x")}).status == "error"
    no_service.start()
    assert comfy.run({"1": caption("back")}).text("1") == "back"


def test_the_service_may_restart_between_two_runs(comfy: Any, service: Any) -> None:
    assert comfy.run({"1": caption("first")}).text("1") == "first"
    service.stop()
    service.start()
    assert comfy.run({"1": caption("second")}).text("1") == "second"


def test_a_service_that_dies_while_answering_is_an_error(comfy: Any, service: Any) -> None:
    killer = threading.Timer(1.0, service.kill)
    killer.start()
    outcome = comfy.run({"1": caption("!count 500 !wait step 50")})
    killer.join()
    assert (outcome.status, outcome.error_type) == ("error", "NotReachable")


def test_a_model_that_is_gone_is_named_when_the_workflow_is_queued(
    comfy: Any, service: Any
) -> None:
    outcome = comfy.run({"1": caption("x", model="LLM/gone")})
    assert outcome.status == "rejected"
    assert "LLM/gone" in outcome.error
    assert "models/LLM" in outcome.error


def test_a_public_name_the_service_does_not_know_is_an_error(comfy: Any, service: Any) -> None:
    outcome = comfy.run({"1": caption("x", model="nobody")})
    assert (outcome.status, outcome.error_type) == ("error", "UnknownModel")
    assert "nobody" in outcome.error


def test_a_damaged_file_is_named(comfy: Any, service: Any) -> None:
    folder = comfy.base / "models/LLM/damaged"
    services.make_fake_model(folder)
    (folder / "config.json").write_text("{")
    outcome = comfy.run({"1": caption("x", model="LLM/damaged")})
    assert (outcome.status, outcome.error_type) == ("error", "BadModel")
    assert "config.json" in outcome.error


def test_a_model_can_be_given_up_after_the_answer(comfy: Any, service: Any) -> None:
    services.make_fake_model(comfy.base / "models/LLM/brief", prefix="brief")
    outcome = comfy.run({"1": caption("x", model="LLM/brief", keep_loaded=False)})
    assert outcome.text("1") == "brief x"
    with client.connect(service.socket) as connection:
        held = {entry.name: entry.holders for entry in connection.status().models}
    assert held.get("brief", 0) == 0


def test_a_missing_tokenizer_is_lent_by_comfyui_and_the_node_says_so(
    comfy: Any, service: Any
) -> None:
    services.make_fake_model(comfy.base / "models/LLM/bare", prefix="bare")
    (comfy.base / "models/LLM/bare/tokenizer.json").unlink()
    outcome = comfy.run({"1": caption("x", model="LLM/bare"), "2": preview("1")})
    assert outcome.text("2") == "bare x"
    assert outcome.text("1").startswith("bare x\n\nNote: ")
    assert "tokenizer" in outcome.text("1")
    assert outcome.texts[-1][1] == outcome.text("1")


def test_status_shows_the_service_and_runs_every_time(comfy: Any, service: Any) -> None:
    comfy.run({"1": caption("x")})
    workflow = {"1": status(), "2": preview("1")}
    first, second = comfy.run(workflow), comfy.run(workflow)
    assert "engine    ready" in first.text("1")
    assert "fake" in first.text("1")
    assert "1" not in second.cached
    assert second.text("2") == second.text("1")


def test_status_can_wait_for_another_node(comfy: Any, service: Any) -> None:
    workflow = {
        "1": caption("x"),
        "2": {"class_type": "HearthStatus", "inputs": {"trigger": ["1", 0]}},
    }
    outcome = comfy.run(workflow)
    assert outcome.status == "success"
    assert "ready" in outcome.text("2")


def test_status_of_a_stopped_service_says_how_to_start_it(comfy: Any, no_service: Any) -> None:
    outcome = comfy.run({"1": status(), "2": preview("1")})
    assert outcome.status == "success"
    assert "hearthd" in outcome.text("2")
    assert outcome.seconds < 10.0


def test_equal_questions_are_answered_from_comfyuis_cache(comfy: Any, service: Any) -> None:
    workflow = {"1": caption("same"), "2": preview("1")}
    comfy.run(workflow)
    assert set(comfy.run(workflow).cached) == {"1", "2"}


def test_widgets_are_what_the_contract_says(comfy: Any) -> None:
    inputs = comfy.inputs_of("HearthQwenVL")
    for name in (
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "seed",
    ):
        declared = messages.widget("generate", name)
        shown = inputs[name][1]
        assert {key: shown[key] for key in ("default", "min", "max", "step")} == {
            key: declared[key] for key in ("default", "min", "max", "step")
        }
        assert shown["tooltip"]
    assert inputs["seed"][1]["control_after_generate"] is True
    assert inputs["custom_prompt"][1]["multiline"] is True


def test_the_list_of_models_begins_with_the_embedded_one(comfy: Any) -> None:
    kind, options = comfy.inputs_of("HearthQwenVL")["model"]
    names = kind if isinstance(kind, list) else options["options"]
    assert names[0] == "ember"
    assert FAKE in names


def test_a_value_out_of_range_is_refused_when_the_workflow_is_queued(comfy: Any) -> None:
    outcome = comfy.run({"1": caption("x", temperature=9.0)})
    assert outcome.status == "rejected"
    assert "bigger than max" in outcome.error


def test_the_models_node_says_what_lies_in_the_folders(comfy: Any) -> None:
    services.make_fake_model(comfy.base / "models/LLM/pickled")
    weights = comfy.base / "models/LLM/pickled/model.safetensors"
    weights.replace(weights.with_name("pytorch_model.bin"))
    outcome = comfy.run({"1": {"class_type": "HearthModels", "inputs": {}}, "2": preview("1")})
    assert outcome.status == "success", outcome.error
    assert FAKE in outcome.text("2")
    assert "pytorch_model.bin" in outcome.text("1")
