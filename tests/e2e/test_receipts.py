"""What a receipt says of a real answer: where the time went, and what the device did meanwhile."""

import sys

import numpy
import pytest
from service import ROOT, wait_until

from hearth import devices, receipts

sys.path.insert(0, str(ROOT / "models/ember"))
import world  # noqa: E402

WEIGHTS = ROOT / "models/ember/weights"
TOLERANCE_MS = 500  # what a busy machine may lose between processes; the waits are twice that
BEFORE_FIRST_TOKEN = ("queue_ms", "load_ms", "preprocess_ms", "vision_ms", "prefill_ms")


def chat(words):
    return [{"role": "user", "content": words}]


def split_ms(receipt):
    return sum(getattr(receipt, name) for name in BEFORE_FIRST_TOKEN)


@pytest.mark.parametrize(
    "words, phase",
    [("!wait prepare 1000 hello", "preprocess_ms"), ("!wait prefill 1000 hello", "prefill_ms")],
)
def test_the_time_to_the_first_token_is_accounted_for(client, model, words, phase):
    offered = client.offer_model(model)
    client.generate(offered, chat("warm"), temperature=0)
    receipt = client.generate(offered, chat(words), temperature=0).receipt
    assert getattr(receipt, phase) >= 1000
    assert split_ms(receipt) == pytest.approx(receipt.first_token_ms, abs=TOLERANCE_MS)


def test_loading_is_not_taken_for_waiting(client, fake_model):
    offered = client.offer_model(fake_model(script="!wait load 1000"))
    receipt = client.generate(offered, chat("hello"), temperature=0).receipt
    assert receipt.load_ms >= 1000 > receipt.queue_ms
    assert split_ms(receipt) == pytest.approx(receipt.first_token_ms, abs=TOLERANCE_MS)


def test_waiting_for_anothers_prompt_to_be_prepared_is_queue(client, model):
    offered = client.offer_model(model)
    client.generate(offered, chat("warm"), temperature=0)
    first = client.generate(offered, chat("!wait prepare 1000 a"), stream=True, temperature=0)
    second = client.generate(offered, chat("hello"), stream=True, temperature=0)
    receipt = second.reply.receipt
    assert first.reply.receipt.preprocess_ms >= 1000
    assert receipt.queue_ms >= 500
    assert split_ms(receipt) == pytest.approx(receipt.first_token_ms, abs=TOLERANCE_MS)


def test_ember_says_what_it_cost(start_daemon):
    daemon = start_daemon("--model", f"ember={WEIGHTS}", "--device", "cpu")
    with daemon.connect() as client:
        wait_until(lambda: client.status().devices, 60, "the engine")
        image, _ = world.draw(20)
        picture = numpy.asarray(image)
        content = [{"role": "user", "content": [picture, world.PROMPT]}]
        client.generate("ember", content, temperature=0.0)
        reply = client.generate("ember", content, temperature=0.0)
        (device,) = client.status().devices
    receipt = reply.receipt
    assert split_ms(receipt) == pytest.approx(receipt.first_token_ms, abs=TOLERANCE_MS)
    assert receipt.stalls == len(receipts.steps_of(reply).stalls)
    weights = (WEIGHTS / "model.safetensors").stat().st_size
    assert weights / 4 < receipt.bytes_per_token < 4 * weights
    state = receipt.device_state
    assert state.source == "procfs" and state.held_bytes > weights / 2
    assert 0 < state.memory_used_bytes < state.memory_total_bytes
    assert state.power_w is None and state.torch_used_bytes is None
    rate = receipt.bytes_per_token * receipt.tokens_per_second
    if device.bandwidth_bytes_per_s:
        assert receipt.bandwidth_share == pytest.approx(rate / device.bandwidth_bytes_per_s)
    text = receipts.describe(reply, devices.device_named([device], receipt.device))
    assert "power not known" in text and device.name in text
