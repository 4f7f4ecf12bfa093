"""Models that rest in pinned memory: through hearthd, the worker, the client and the commands."""

import os
import signal

import pytest
from service import wait_until

from hearth.nodes import status as status_node

GIB = 1 << 30
SIZE = {"weights_bytes": 6 * GIB, "image_bytes": 6 * GIB}


@pytest.fixture
def start(start_daemon):
    """A device for one such model at a time, and as much pinned memory as the test says."""

    def started(warm):
        return start_daemon("--memory", "10GiB", "--warm-memory", warm)

    return started


def entry(client, model):
    return next(m for m in client.status().models if m.model == model.id)


def state(client, model):
    return entry(client, model).state


def ask(client, model, words):
    return client.generate(model, [{"role": "user", "content": words}])


def test_models_take_turns_and_come_back_warm(start, fake_model):
    with start("12GiB").connect() as client:
        first, second = (client.offer_model(fake_model(**SIZE)) for _ in range(2))
        assert not ask(client, first, "hello").receipt.warm_load
        assert not ask(client, second, "hello").receipt.warm_load
        assert state(client, first) == "warm"
        assert client.plan(first).is_warm
        assert client.status().warm_bytes == 6 * GIB
        for turn in range(5):
            model = (first, second)[turn % 2]
            reply = ask(client, model, f"turn {turn}")
            assert reply.text == f"turn {turn}"
            assert reply.receipt.warm_load
            assert reply.receipt.load_ms > 0
            assert state(client, model) == "hot"
            assert client.status().warm_bytes == 12 * GIB
        assert "12.0 GiB of 12.0 GiB, pinned" in status_node.report(client.status())


def test_where_only_one_may_rest_the_other_is_cold(start, fake_model):
    with start("8GiB").connect() as client:
        first, second = (client.offer_model(fake_model(**SIZE)) for _ in range(2))
        ask(client, first, "hello")
        ask(client, second, "hello")
        assert (state(client, first), state(client, second)) == ("warm", "hot")
        assert ask(client, first, "again").receipt.warm_load
        assert (state(client, first), state(client, second)) == ("hot", "cold")
        assert not ask(client, second, "again").receipt.warm_load


def test_freed_memory_is_the_devices_and_not_the_images(start, fake_model):
    with start("8GiB").connect() as client:
        model = client.offer_model(fake_model(**SIZE))
        ask(client, model, "hello")
        freed = client.free_memory()
        assert freed.freed_bytes > 6 * GIB
        assert freed.resident_bytes == 0
        assert entry(client, model).image_bytes == 6 * GIB
        assert client.load(model).warm


def test_without_pinned_memory_the_log_says_that_it_is_dropped(start, fake_model):
    daemon = start("8GiB")
    with daemon.connect() as client:
        model = client.offer_model(fake_model(script="!full image", **SIZE))
        ask(client, model, "hello")
        client.free_memory()
        assert state(client, model) == "cold"
        assert client.status().warm_bytes == 0
        assert "is dropped instead of resting" in daemon.log_tail()
        assert ask(client, model, "here").text == "here"


def test_a_killed_worker_takes_its_images_along(start, fake_model):
    with start("8GiB").connect() as client:
        model = client.offer_model(fake_model(**SIZE))
        ask(client, model, "hello")
        client.free_memory()
        assert state(client, model) == "warm"
        pid = client.status().worker_pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: client.status().worker_pid not in (0, pid), what="a new worker")
        assert client.status().warm_bytes == 0
        reply = ask(client, model, "here")
        assert reply.text == "here"
        assert not reply.receipt.warm_load


def test_a_worker_that_dies_on_the_way_back_is_replaced(start, fake_model):
    with start("8GiB").connect() as client:
        model = client.offer_model(fake_model(script="!crash restore", **SIZE))
        ask(client, model, "hello")
        client.free_memory()
        assert ask(client, model, "here").text == "here"  # retried, and cold then


def test_by_default_a_model_that_cannot_rest_is_dropped(start_daemon, fake_model):
    with start_daemon().connect() as client:
        budget = client.status().warm_budget_bytes
        assert 0 < budget <= 8 * GIB
        model = client.offer_model(fake_model())
        ask(client, model, "hello")
        client.free_memory()
        assert state(client, model) == "cold"
