"""Nodes that run once for each element of a list, all side by side, as ComfyUI does it."""

import asyncio
import importlib
import threading
import time

import pytest

from hearth import messages
from nodes_for_test import TESTS, FakeComfy, give, make, outputs
from server import LIMITS, generated, wait_until
from test_client_turns import answered_after

pytest.importorskip("torch")


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request, service, tmp_path):
    environment = {"HEARTH_SOCKET": service.path}
    with FakeComfy(request.param, TESTS.parent, tmp_path / "comfy", environment) as running:
        yield running


def prompts(comfy, count):
    """A node whose output is a list."""
    source = give(comfy, "Prompts", [f"prompt {number}" for number in range(count)], "STRING")
    comfy.nodes["Prompts"].OUTPUT_IS_LIST = (True,)
    return source


def mapped(comfy, count, **inputs):
    return {
        "1": prompts(comfy, count),
        "2": make("HearthPromptEnhancer", prompt=["1", 0], **inputs),
    }


def test_a_long_list_is_answered_within_what_a_connection_may_have_open(comfy, service):
    most = []
    service.on[messages.Generate] = answered_after(0.01, set(), most)
    outcome, _ = outputs(comfy, mapped(comfy, 150), "2", 1)
    assert outcome.status == "success"
    asked = [one for peer in service.peers for one in peer.messages_of(messages.Generate)]
    assert len(asked) == 150 and max(most) < LIMITS.open_requests


def test_cancel_ends_all_elements(comfy, service):
    asked, cancelled = [], []

    def ask(peer, frame, _request):
        asked.append(frame.request_id)
        if len(asked) == 20:  # while others wait for their turn
            comfy.world.interrupt.interrupt_current_processing()

    def cancel(peer, frame, _request):
        cancelled.append(frame.request_id)
        peer.send(messages.Error(code="cancelled", what="Cancelled."), frame.request_id)

    service.on |= {messages.Generate: ask, messages.Cancel: cancel}
    assert comfy.run(mapped(comfy, 100)).status == "interrupted"
    wait_until(lambda: sorted(cancelled) == sorted(asked))
    assert len(asked) < 100, "the others are not begun"
    service.on.clear()
    assert comfy.run(mapped(comfy, 3)).status == "success", "the next workflow is not told"


def test_a_model_that_is_not_kept_is_given_up_once_by_the_last_to_use_it(comfy, service):
    service.on[messages.Generate] = answered_after(0.05, set(), [])
    assert comfy.run(mapped(comfy, 5, keep_loaded=False)).status == "success"
    (peer,) = service.peers
    assert len(peer.messages_of(messages.UnloadModel)) == 1
    assert isinstance(peer.received[-1], messages.UnloadModel)


def test_a_node_that_keeps_a_model_keeps_it_for_those_beside_it(comfy, service):
    def handler(peer, frame, request):
        keeps = request.max_tokens == 2
        timer = threading.Timer(
            0.4 if keeps else 0.05, lambda: peer.send(generated(), frame.request_id)
        )
        timer.start()

    service.on[messages.Generate] = handler
    workflow = {
        "1": make("HearthQwenVLAdvanced", max_tokens=1, keep_loaded=False),
        "2": make("HearthQwenVLAdvanced", max_tokens=2, keep_loaded=True),
    }
    assert comfy.run(workflow).status == "success"
    assert not [one for peer in service.peers for one in peer.messages_of(messages.UnloadModel)]


def test_a_node_that_blocks_the_loop_does_not_end_the_answer_beside_it(comfy, service, monkeypatch):
    """As a sampler does: it runs for long in the thread in which all nodes wait."""
    for module, name, seconds in (
        ("beats", "LOOK_S", 0.02),
        ("connection", "PING_AFTER_S", 0.05),
        ("connection", "SILENT_AFTER_S", 0.3),
    ):
        pack = importlib.import_module(f"{comfy.module.__name__}.client_py.hearth.{module}")
        monkeypatch.setattr(pack, name, seconds)
    service.heartbeat_ms = 100
    service.on[messages.Generate] = answered_after(0.9, set(), [])

    class Sampler:
        RETURN_TYPES, FUNCTION, OUTPUT_NODE = (), "sample", True

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {}}

        async def sample(self):
            while not service.peers or not service.peers[0].messages_of(messages.Generate):
                await asyncio.sleep(0.005)
            time.sleep(0.8)
            return ()

    comfy.nodes["Sampler"] = Sampler
    workflow = {
        "1": make("HearthQwenVLAdvanced"),
        "2": {"class_type": "Sampler", "inputs": {}},
    }
    assert comfy.run(workflow).status == "success"
    (peer,) = service.peers
    assert len(peer.messages_of(messages.Generate)) == 1
    assert len(peer.messages_of(messages.Pong)) >= 5
