"""Models that share a budget of memory, and answers that are kept: the whole path."""

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest
from service import settled, wait_until

import hearth.client

GIB = 1 << 30
SWITCHES = 60
SPARE_GIB = 1  # for what the fake family takes beside the weights it claims


def ask(text, *pictures):
    return [{"role": "user", "content": [*pictures, text]}]


def run(*arguments):
    """(exit code, stdout, stderr) of `hearth …`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "hearth", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def small(start_daemon):
    """A service with room for two models of 4 GiB."""
    return start_daemon("--memory", f"{8 + SPARE_GIB}GiB")


@pytest.fixture
def model_of(fake_model):
    """model_of(gib, name): a folder whose model claims so much."""

    def make(gib, name):
        return fake_model(weights_bytes=gib * GIB, prefix=name)

    return make


def test_five_models_take_turns_in_memory_for_two(small, model_of):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with small.connect() as client:
        models = [client.offer_model(model_of(4, f"number-{i}")) for i in range(5)]
        worker = client.status().worker_pid
        loads = 0
        for turn in range(SWITCHES):
            which = dice.randrange(5)
            reply = client.generate(models[which], ask(f"turn {turn}"), temperature=0)
            assert reply.text == f"number-{which} turn {turn}"
            status = client.status()
            assert 0 < status.memory_bytes <= status.memory_budget_bytes
            hot = [entry for entry in status.models if entry.state == "hot"]
            assert len(hot) <= 2
            loads += reply.receipt.load_ms > 0
        assert loads > 5, "they did take turns"
        assert sum(entry.loads for entry in client.status().models) == loads
        assert (client.status().worker_pid, client.status().worker_restarts) == (worker, 0)


def test_a_model_at_work_stays_whoever_asks_for_memory(small, model_of):
    slow = model_of(6, "slow")
    with small.connect() as client, small.connect() as other:
        busy = client.offer_model(slow)
        stream = client.generate(busy, ask("!wait 5 !count 2000"), True, max_tokens=4000)
        pieces = iter(stream)
        words = next(pieces)
        with pytest.raises(hearth.client.OutOfMemory) as refused:
            other.generate(other.offer_model(model_of(5, "wanted")), ask("x"))
        for part in ("needs 5.0", "of the budget of 9.00 GiB", slow.name):
            assert part in str(refused.value)
        freed = other.free_memory()
        assert (freed.models, freed.freed_bytes) == ([], 0)
        assert freed.resident_bytes >= 6 * GIB
        while len(words) < len("slow 1"):
            words += next(pieces)
        assert words.startswith("slow 1")
        stream.cancel()
        for _ in pieces:
            pass
        settled(other)
        assert other.generate(other.offer_model(model_of(5, "then")), ask("x")).text == "then x"


def test_memory_given_back_returns_with_the_next_request(small, model_of):
    with small.connect() as client, small.connect() as other:
        model = client.offer_model(model_of(4, "kept"))
        assert client.load(model).load_ms > 0
        freed = other.free_memory(GIB)
        assert freed.freed_bytes >= 4 * GIB and freed.resident_bytes == 0
        assert client.status().memory_bytes == 0
        held = {entry.model: entry.holders for entry in client.status().models}
        assert held[model.id] == 1, "the hold stays"
        reply = client.generate(model, ask("again"), temperature=0)
        assert reply.text == "kept again"
        assert reply.receipt.load_ms > 0 and reply.receipt.model_loads == 2


def test_the_command_plans_loads_and_frees(small, model_of):
    first, second = model_of(6, "first"), model_of(5, "second")
    code, out, err = run("load", first, "--socket", small.socket)
    assert code == 0 and "loaded in" in out, err
    code, out, _ = run("load", second, "--dry-run", "--socket", small.socket)
    assert code == 0 and f"would leave  {first.name}" in out and "it fits" in out
    code, out, _ = run("load", model_of(50, "huge"), "--dry-run", "--socket", small.socket)
    assert code == 0 and "it does not fit" in out
    code, out, _ = run("free", "1GiB", "--json", "--socket", small.socket)
    assert code == 0 and json.loads(out)["models"] == [first.name]
    code, out, _ = run("status", "--json", "--socket", small.socket)
    assert json.loads(out)["memory_bytes"] == 0


def test_many_who_want_different_models_at_once_all_end(small, model_of):
    folders = [model_of(4, f"number-{i}") for i in range(4)]
    ended = []

    def use(folder, name):
        with small.connect() as client:
            model = client.offer_model(folder)
            for turn in range(15):
                try:
                    reply = client.generate(model, ask(f"{turn}"), temperature=0)
                    assert reply.text == f"{name} {turn}"
                except hearth.client.OutOfMemory as full:
                    assert "At work" in str(full)
        ended.append(name)

    names = [f"number-{i}" for i in range(4)]
    threads = [threading.Thread(target=use, args=pair) for pair in zip(folders, names, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ended) == names
    with small.connect() as client:
        settled(client)
        assert client.status().worker_restarts == 0


def test_an_equal_question_about_equal_pixels_is_answered_from_the_cache(start_daemon, model_of):
    daemon = start_daemon()
    picture = numpy.random.default_rng(3).integers(0, 256, (64, 48, 3), numpy.uint8)
    folder = model_of(1, "seen")
    with daemon.connect() as client, daemon.connect() as other:
        model = client.offer_model(folder)
        asked = {"temperature": 0.5, "seed": 4, "reuse": True}
        first = client.generate(model, ask("what?", picture), **asked)
        assert not first.receipt.replayed
        client.free_memory()
        again = other.generate(other.offer_model(folder), ask("what?", picture.copy()), **asked)
        assert again.receipt.replayed and again.receipt.total_ms < first.receipt.total_ms
        assert (again.text, again.token_ids) == (first.text, first.token_ids)
        assert again.prompt_token_ids == first.prompt_token_ids
        assert client.status().memory_bytes == 0, "the model was not needed"
        changed = picture.copy()
        changed[0, 0, 0] ^= 1
        for chat, options in (
            (ask("what?", changed), asked),
            (ask("what then?", picture), asked),
            (ask("what?", picture), {**asked, "seed": 5}),
            (ask("what?", picture), {**asked, "reuse": False}),
        ):
            assert not client.generate(model, chat, **options).receipt.replayed
        (cache,) = (one for one in client.status().caches if one.name == "result")
        assert (cache.hits, cache.misses, cache.entries) == (1, 4, 4)
        assert 0 < cache.bytes <= cache.budget_bytes


def test_a_result_cache_of_no_size_keeps_nothing(start_daemon, fake_model):
    daemon = start_daemon("--result-cache", "0")
    with daemon.connect() as client:
        model = client.offer_model(fake_model())
        for _ in range(2):
            reply = client.generate(model, ask("x"), temperature=0, reuse=True)
            assert not reply.receipt.replayed


def test_the_engine_s_other_threads_sleep_unless_the_user_says_otherwise(start_daemon, monkeypatch):
    def policy_of(daemon):
        with daemon.connect() as client:
            pid = client.status().worker_pid
        entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
        return [entry for entry in entries if entry.startswith("OMP_WAIT_POLICY=")]

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert policy_of(start_daemon()) == ["OMP_WAIT_POLICY=passive"]
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert policy_of(start_daemon()) == ["OMP_WAIT_POLICY=active"]


def test_the_models_of_a_lost_engine_take_no_memory(small, model_of):
    with small.connect() as client:
        model = client.offer_model(model_of(4, "lost"))
        client.load(model)
        os.kill(client.status().worker_pid, 9)
        wait_until(lambda: client.status().worker_restarts == 1)
        wait_until(lambda: client.status().worker_state == "ready")
        assert client.status().memory_bytes == 0
        assert client.generate(model, ask("back"), temperature=0).text == "lost back"
