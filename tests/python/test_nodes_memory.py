"""The GPU that ComfyUI's sampler and the service share: who asks whom for memory, and when."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import server as scripted
from hearth import messages

pytest.importorskip("torch")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]

from cases import status  # noqa: E402
from fake_comfy import FakeComfy  # noqa: E402

GIB = 1 << 30


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request: Any, service: scripted.Server, tmp_path: Path) -> Iterator[FakeComfy]:
    env = {"HEARTH_SOCKET": service.path, "HEARTH_FREE_MEMORY": "auto"}
    with FakeComfy(request.param, TESTS.parent, tmp_path / "comfy", env) as running:
        running.world.memory.free_bytes = 2 * GIB
        yield running


def computes_on(service: scripted.Server, kind: str) -> None:
    device = messages.Device(kind=kind, name="a device", memory_bytes=24 * GIB)

    def welcome(peer: Any, _frame: Any, _hello: Any) -> None:
        peer.send(
            messages.Welcome(
                version=messages.PROTOCOL_VERSION,
                server="test",
                boot_id="b",
                connection=1,
                limits=scripted.LIMITS,
                devices=[device],
                schema_hash=messages.SCHEMA_HASH,
            )
        )

    service.on[messages.Hello] = welcome


def asked(service: scripted.Server) -> list[int]:
    """Bytes of every free_memory, in order."""
    found = [one for peer in service.peers for one in peer.messages_of(messages.FreeMemory)]
    return [one.nbytes for one in found]


def test_what_comfyui_lacks_on_the_gpu_is_asked_of_the_service(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    computes_on(service, "cuda")
    comfy.run({"1": status()})
    comfy.world.memory.load(5 * GIB)
    assert asked(service) == [3 * GIB]
    assert comfy.world.memory.asked == [5 * GIB], "ComfyUI's own way was taken first"


def test_nothing_is_asked_where_there_is_enough(comfy: FakeComfy, service: scripted.Server) -> None:
    computes_on(service, "cuda")
    comfy.run({"1": status()})
    comfy.world.memory.load(2 * GIB)
    comfy.world.memory.load(5 * GIB, device="cpu")
    assert asked(service) == []


def test_unload_models_means_all_that_is_idle(comfy: FakeComfy, service: scripted.Server) -> None:
    computes_on(service, "cuda")
    comfy.run({"1": status()})
    comfy.world.memory.unload_all_models()
    assert asked(service) == [0]


def test_a_service_on_the_cpu_is_left_alone_unless_the_user_asked(
    comfy: FakeComfy, service: scripted.Server, monkeypatch: Any
) -> None:
    computes_on(service, "cpu")
    comfy.run({"1": status()})
    comfy.world.memory.unload_all_models()
    assert asked(service) == []
    monkeypatch.setenv("HEARTH_FREE_MEMORY", "always")
    comfy.run({"1": status()})
    comfy.world.memory.unload_all_models()
    assert asked(service) == [0]


def test_always_includes_a_comfyui_that_computes_on_the_cpu(
    comfy: FakeComfy, service: scripted.Server, monkeypatch: Any
) -> None:
    computes_on(service, "cpu")
    monkeypatch.setenv("HEARTH_FREE_MEMORY", "always")
    comfy.run({"1": status()})
    comfy.world.memory.load(1e30, device="cpu")
    comfy.world.memory.load(5 * GIB, device="cpu")
    assert asked(service) == [0, 3 * GIB]


def test_a_comfyui_on_the_cpu_leaves_a_gpu_alone(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    computes_on(service, "cuda")
    comfy.run({"1": status()})
    comfy.world.memory.load(1e30, device="cpu")
    assert asked(service) == []


def test_comfyui_parting_with_one_model_is_no_wish_for_memory(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    """0.33 gives up a model and its clones by asking for everything but the others."""
    computes_on(service, "cuda")
    comfy.run({"1": status()})
    comfy.world.memory.load(1e30, keep_loaded=("another model",))
    assert asked(service) == []


@pytest.mark.parametrize("policy, asks", [("Never", 0), (" never", 0), ("", 1), ("of", 1)])
def test_a_policy_is_read_generously_and_a_mistyped_one_is_named(
    comfy: FakeComfy,
    service: scripted.Server,
    monkeypatch: Any,
    caplog: Any,
    policy: str,
    asks: int,
) -> None:
    computes_on(service, "cuda")
    monkeypatch.setenv("HEARTH_FREE_MEMORY", policy)
    comfy.run({"1": status()})
    comfy.world.memory.load(5 * GIB)
    assert len(asked(service)) == asks
    assert ("HEARTH_FREE_MEMORY is 'of'" in caplog.text) is (policy == "of")


def test_the_user_can_forbid_it(
    comfy: FakeComfy, service: scripted.Server, monkeypatch: Any
) -> None:
    computes_on(service, "cuda")
    monkeypatch.setenv("HEARTH_FREE_MEMORY", "never")
    comfy.run({"1": status()})
    comfy.world.memory.load(5 * GIB)
    assert asked(service) == []


def test_a_comfyui_that_never_used_the_service_does_not_ask_it(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    computes_on(service, "cuda")
    comfy.world.memory.load(5 * GIB)
    assert not service.peers


def test_a_service_that_is_gone_keeps_nobody_from_sampling(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    computes_on(service, "cuda")
    comfy.run({"1": status()})
    service.stop()
    began = time.monotonic()
    comfy.world.memory.load(5 * GIB)
    assert time.monotonic() - began < 5.0
    assert comfy.world.memory.asked == [5 * GIB]


def test_each_question_is_asked_once_however_often_nodes_run(
    comfy: FakeComfy, service: scripted.Server
) -> None:
    computes_on(service, "cuda")
    for _ in range(3):
        comfy.run({"1": status()})
    comfy.world.memory.load(5 * GIB)
    assert asked(service) == [3 * GIB]
