"""Models that are missing when a node wants them: nothing comes without consent."""

from __future__ import annotations

import fcntl
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import server as scripted
from hearth import messages
from hub_server import Hub

pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]

from cases import caption, preview  # noqa: E402
from fake_comfy import FakeComfy  # noqa: E402
from hearthd_for_test import make_fake_model  # noqa: E402

LISTED = "Qwen/Qwen3-VL-2B-Instruct"
OTHER = "someone/Tiny-VL"
WEIGHTS = bytes(1 << 20)


@pytest.fixture
def hub(monkeypatch: Any) -> Iterator[Hub]:
    for name in ("HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    files = {
        "config.json": json.dumps({"model_type": "hearth_fake"}).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": WEIGHTS,
    }
    with Hub() as running:
        running.repositories = {LISTED: dict(files), OTHER: dict(files)}
        yield running


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request: Any, hub: Hub, service: scripted.Server, tmp_path: Path) -> Iterator[FakeComfy]:
    env = {"HEARTH_SOCKET": service.path, "HF_ENDPOINT": hub.url}
    with FakeComfy(request.param, TESTS.parent, tmp_path / "comfy", env) as running:
        yield running


def ask(model: Any, **inputs: Any) -> dict[str, Any]:
    return caption("What is this?", **{"model": model, **inputs})


def fetch(**inputs: Any) -> dict[str, Any]:
    given = {"model": LISTED, "repository": "", "revision": "main", **inputs}
    return {"class_type": "HearthFetchModel", "inputs": given}


def llms(comfy: FakeComfy) -> Path:
    return comfy.base / "models/LLM"


def offers(service: scripted.Server) -> list[messages.OfferModel]:
    return [one for peer in service.peers for one in peer.messages_of(messages.OfferModel)]


def test_a_missing_model_says_what_a_download_would_mean(comfy: FakeComfy, hub: Hub) -> None:
    outcome = comfy.run({"1": ask(LISTED)})
    assert (outcome.status, outcome.error_type) == ("error", "UnknownModel")
    for words in ("4.3 GB", "Apache 2.0", f"{hub.url}/{LISTED}", "download_if_missing"):
        assert words in outcome.error
    assert outcome.texts[-1][1] == outcome.error
    assert hub.asked == [] and list(llms(comfy).iterdir()) == []


def test_a_missing_model_is_fetched_when_that_is_switched_on(
    comfy: FakeComfy, hub: Hub, service: scripted.Server
) -> None:
    hub.slow_s = 0.05
    outcome = comfy.run({"1": ask(LISTED, download_if_missing=True), "2": preview("1")})
    assert outcome.text("2") == "a red circle", outcome.error
    assert sorted(offers(service)[0].labels) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    shown = [text for _, text in outcome.texts]
    assert any("Fetching" in text and "of 1.0 MB" in text and "left" in text for text in shown)
    assert (llms(comfy) / "Qwen3-VL-2B-Instruct/model.safetensors").read_bytes() == WEIGHTS
    asked = len(hub.asked)
    assert comfy.run({"1": ask(LISTED, download_if_missing=True)}).status == "success"
    assert len(hub.asked) == asked


def test_a_name_without_owner_is_the_services_first(
    comfy: FakeComfy, hub: Hub, service: scripted.Server
) -> None:
    """It may publish one; only when it does not, the answer tells of the hub."""
    name = LISTED.partition("/")[2]
    assert comfy.run({"1": ask(name)}).status == "success"
    service.on[messages.Generate] = scripted.fails("unknown_model", "no such model")
    outcome = comfy.run({"1": ask(name)})
    assert "4.3 GB" in outcome.error and "download_if_missing" in outcome.error


def test_a_folder_of_ours_is_never_taken_for_a_repository(comfy: FakeComfy, hub: Hub) -> None:
    outcome = comfy.run({"1": ask("LLM/gone", download_if_missing=True)})
    assert outcome.status == "rejected"
    assert hub.asked == []


def test_the_list_offers_what_could_be_fetched_until_it_is_here(comfy: FakeComfy) -> None:
    _, options = comfy.inputs_of("HearthQwenVL")["model"]
    assert options["options"][0] == "ember" and LISTED in options["options"]
    make_fake_model(llms(comfy) / "Qwen3-VL-2B-Instruct")
    time.sleep(1.1)  # how long a list is kept
    _, options = comfy.inputs_of("HearthQwenVL")["model"]
    assert LISTED not in options["options"]
    assert "LLM/Qwen3-VL-2B-Instruct" in options["options"]


def test_cancel_ends_a_transfer_that_stands_still(comfy: FakeComfy, hub: Hub) -> None:
    hub.stall_after = 1 << 17
    outcome = comfy.run({"1": fetch(download_if_missing=True)}, interrupt_after=1.0)
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 10  # ten times the target
    (part,) = llms(comfy).glob(".hearth-incomplete/*/*.part")
    assert 0 < part.stat().st_size < len(WEIGHTS)
    assert "LLM/Qwen3-VL-2B-Instruct" not in comfy.inputs_of("HearthQwenVL")["model"][1]["options"]


def test_another_repository_can_be_typed_in(comfy: FakeComfy, hub: Hub) -> None:
    workflow = {
        "1": fetch(repository=OTHER, download_if_missing=True),
        "2": preview("1"),
        "3": ask(["1", 0]),
    }
    outcome = comfy.run(workflow)
    assert outcome.status == "success", outcome.error
    assert outcome.text("2") == "LLM/Tiny-VL"
    assert outcome.text("3") == "a red circle"


def test_the_fetching_node_asks_for_consent_as_well(comfy: FakeComfy, hub: Hub) -> None:
    outcome = comfy.run({"1": fetch(repository=OTHER)})
    assert outcome.status == "error" and "download_if_missing" in outcome.error
    assert f"{hub.url}/{OTHER}" in outcome.error and hub.asked == []
    outcome = comfy.run({"1": fetch(repository="no repository", download_if_missing=True)})
    assert outcome.status == "rejected" and "owner/name" in outcome.error


def test_wrong_bytes_are_an_error_on_the_node(comfy: FakeComfy, hub: Hub) -> None:
    hub.repositories[LISTED]["model.safetensors"] = bytes(range(256)) * 100
    hub.wrong = {"model.safetensors"}
    outcome = comfy.run({"1": fetch(download_if_missing=True)})
    assert (outcome.status, outcome.error_type) == ("error", "BadModel")
    assert "digest" in outcome.error
    assert [path.name for path in llms(comfy).iterdir()] == [".hearth-incomplete"]


def look_ups(hub: Hub) -> int:
    return len([path for _, path, _ in hub.asked if path.startswith("/api/models/")])


def test_nodes_that_want_the_same_model_share_one_download(comfy: FakeComfy, hub: Hub) -> None:
    hub.slow_s = 0.05
    wanted = {"download_if_missing": True}
    outcome = comfy.run({"1": fetch(**wanted), "2": ask(LISTED, **wanted)})
    assert outcome.status == "success", outcome.error
    assert look_ups(hub) == 1 and len(hub.transfers("model.safetensors")) == 1
    for node in ("1", "2"):
        shown = [text for shown_on, text in outcome.texts if shown_on == node]
        assert any("of 1.0 MB" in text for text in shown)


def test_a_shared_download_that_failed_is_begun_anew_by_the_next_run(
    comfy: FakeComfy, hub: Hub
) -> None:
    hub.slow_s, hub.wrong = 0.05, {"model.safetensors"}
    hub.repositories[LISTED]["model.safetensors"] = bytes(range(256)) * (1 << 12)
    wanted = {"download_if_missing": True}
    for count in (1, 2):
        outcome = comfy.run({"1": fetch(**wanted), "2": ask(LISTED, **wanted)})
        assert outcome.error_type == "BadModel" and "digest" in outcome.error
        assert look_ups(hub) == count


def test_cancel_ends_a_shared_download(comfy: FakeComfy, hub: Hub) -> None:
    hub.stall_after = 1 << 17
    wanted = {"download_if_missing": True}
    workflow = {"1": fetch(**wanted), "2": ask(LISTED, **wanted)}
    outcome = comfy.run(workflow, interrupt_after=1.0)
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 10  # ten times the target
    running = sys.modules[f"{comfy.module.__name__}.client_py.hearth.nodes._downloads"]._running
    assert running == {}


def test_a_download_of_another_process_is_waited_for(comfy: FakeComfy, hub: Hub) -> None:
    lock = llms(comfy) / ".hearth-incomplete/Qwen--Qwen3-VL-2B-Instruct.lock"
    lock.parent.mkdir()
    with open(lock, "ab") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        release = threading.Timer(1.0, fcntl.flock, (others, fcntl.LOCK_UN))
        release.start()
        outcome = comfy.run({"1": fetch(download_if_missing=True)})
        release.join()
    assert outcome.status == "success", outcome.error
    assert ("1", f"Waiting for another download of {LISTED} …") in outcome.texts


def test_cancel_ends_the_wait_for_another_process(comfy: FakeComfy, hub: Hub) -> None:
    lock = llms(comfy) / ".hearth-incomplete/Qwen--Qwen3-VL-2B-Instruct.lock"
    lock.parent.mkdir()
    with open(lock, "ab") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        outcome = comfy.run({"1": fetch(download_if_missing=True)}, interrupt_after=1.0)
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 10  # ten times the target


@pytest.mark.parametrize("is_allowed", [True, False])
@pytest.mark.parametrize("kind", [ask, fetch])
def test_a_folder_that_lacks_a_part_is_the_reason_and_is_left_alone(
    comfy: FakeComfy, hub: Hub, kind: Any, is_allowed: bool
) -> None:
    half = llms(comfy) / "Qwen3-VL-2B-Instruct"
    make_fake_model(half)
    (half / "model.safetensors").rename(half / "model-00001-of-00002.safetensors")
    before = sorted(half.iterdir())
    outcome = comfy.run({"1": kind(model=LISTED, download_if_missing=is_allowed)})
    assert outcome.error_type == "UnknownModel"
    assert f"{half} lacks 1 of its 2 parts, first model-00002-of-00002" in outcome.error
    assert outcome.texts[-1][1] == outcome.error
    assert hub.asked == [] and sorted(half.iterdir()) == before


def test_a_folder_without_a_model_stands_in_the_way_and_is_named(
    comfy: FakeComfy, hub: Hub
) -> None:
    (llms(comfy) / "Qwen3-VL-2B-Instruct").mkdir()
    outcome = comfy.run({"1": ask(LISTED, download_if_missing=True)})
    assert outcome.error_type == "UnknownModel"
    assert "Qwen3-VL-2B-Instruct is there, but holds no model. Move it away" in outcome.error
    assert hub.asked == []


def test_what_cannot_be_used_elsewhere_stands_in_nobodys_way(comfy: FakeComfy, hub: Hub) -> None:
    other = llms(comfy) / "Qwen/Qwen3-VL-2B-Instruct"
    make_fake_model(other)
    (other / "model.safetensors").rename(other / "model.gguf")
    outcome = comfy.run({"1": ask(LISTED, download_if_missing=True)})
    assert outcome.status == "success", outcome.error


def test_a_downloading_node_leaves_other_nodes_free(comfy: FakeComfy, hub: Hub) -> None:
    hub.slow_s = 0.1
    outcome = comfy.run({"1": fetch(download_if_missing=True), "2": ask("ember")})
    assert outcome.status == "success"
    nodes = [node for node, _ in outcome.texts]
    assert "1" in nodes[nodes.index("2") :]
