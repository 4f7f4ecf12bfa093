"""Deaths around a real model: the engine is killed while ember answers, and comes back."""

import os
import signal
import sys

import numpy
from service import ROOT, wait_until

import hearth.client

sys.path.insert(0, str(ROOT / "models/ember"))
import world  # noqa: E402

WEIGHTS = ROOT / "models/ember/weights"
RAMBLING = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "max_tokens": 2000}


def chat():
    image, _ = world.draw(20)
    return [{"role": "user", "content": [numpy.asarray(image), world.PROMPT]}]


def describe(client):
    return client.generate("ember", chat(), temperature=0.0)


def test_ember_gives_the_same_words_after_its_engine_was_killed_at_work(start_daemon):
    daemon = start_daemon("--model", f"ember={WEIGHTS}")
    with daemon.connect() as client:
        before = describe(client)
        worker = client.status().worker_pid
        streams = [
            client.generate("ember", chat(), stream=True, retry=False, seed=seed, **RAMBLING)
            for seed in range(4)
        ]
        next(iter(streams[0]))
        os.kill(worker, signal.SIGKILL)
        lost = [error for error in map(end_of, streams) if error is not None]
        assert lost and all(error.retryable for error in lost), lost
        wait_until(lambda: client.status().worker_state == "ready", 60, "a new worker")
        after = describe(client)
        assert (after.text, after.token_ids) == (before.text, before.token_ids)
        assert after.receipt.model_loads == 2
        assert client.status().worker_restarts == 1


def end_of(stream):
    """How a stream ended: the WorkerLost it raised, or None."""
    try:
        for _ in stream:
            pass
    except hearth.client.WorkerLost as error:
        return error
    return None
