"""Rounded weights on disk: rounded once, read ever after, by whichever service; never believed when
damaged."""

import random
import threading

import pytest
from service import ROOT, wait_until

import hearth.client

EMBER = ROOT / "models/ember/weights"
CHAT = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def start(start_daemon, cache):
    """Starts a service that keeps weights there, however full the disk is."""

    def start(*more, keep_free="0"):
        return start_daemon("--cache-dir", cache, "--cache-keep-free", keep_free, *more)

    return start


def kept(cache):
    return sorted(path for path in cache.iterdir() if path.suffix == ".weights")


def ids_of(client, dtype="int8", **numerics):
    """The words of a model that is loaded for it, and then given up."""
    model = client.offer_model(EMBER, dtype, **numerics)
    reply = client.generate(model, CHAT, temperature=0.0, max_tokens=12)
    client.unload(model)
    return reply.token_ids


def test_a_model_is_rounded_once_whatever_becomes_of_the_service(start, cache):
    daemon = start()
    with daemon.connect() as client:
        first = ids_of(client)
        wait_until(lambda: len(kept(cache)) == 1, 10, "a file of weights")
        (path,) = kept(cache)
        written = path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        assert ids_of(client) == first
    daemon.kill()
    with start().connect() as client:
        assert ids_of(client) == first
        assert kept(cache) == [path] and path.read_bytes() == written
        ids_of(client, "int4")
        wait_until(lambda: len(kept(cache)) == 2, 10, "a second file")
        ids_of(client, "bfloat16")
        assert len(kept(cache)) == 2


def test_two_services_share_a_folder(start, cache):
    one, other = start(), start()
    with one.connect() as first, other.connect() as second:
        assert ids_of(first) == ids_of(second)
        wait_until(lambda: len(kept(cache)) == 1, 10, "a file of weights")
        assert ids_of(second) == ids_of(first)


@pytest.mark.parametrize("place", [0, 5000, -1])
def test_a_damaged_file_is_dropped_and_the_model_loads(start, cache, place):
    daemon = start()
    with daemon.connect() as client:
        first = ids_of(client)
        wait_until(lambda: len(kept(cache)) == 1, 10, "a file of weights")
    daemon.stop()
    (path,) = kept(cache)
    bytes_ = bytearray(path.read_bytes())
    bytes_[place] ^= 1
    path.write_bytes(bytes_)
    daemon = start()
    with daemon.connect() as client:
        assert ids_of(client) == first
        wait_until(lambda: "damaged and dropped" in daemon.log_tail(), 10, "a remark")
        wait_until(lambda: kept(cache) == [], 10, "its end")
        assert ids_of(client) == first
        wait_until(lambda: len(kept(cache)) == 1, 10, "a new one")


def test_a_service_that_dies_while_it_loads_leaves_a_whole_file_or_none(start, cache):
    for _ in range(4):
        daemon = start()
        with daemon.connect() as client, pytest.raises(hearth.client.HearthError):
            model = client.offer_model(EMBER, "int8")
            killer = threading.Timer(random.uniform(0.0, 0.3), daemon.kill)
            killer.start()
            while True:
                client.load(model)
                client.unload(model)
        killer.join()
        assert all(path.suffix == ".weights" for path in cache.iterdir())
    daemon = start()
    with daemon.connect() as client:
        assert ids_of(client)
    assert "damaged" not in daemon.log_tail()


def test_a_limit_is_kept(start, cache):
    daemon = start("--cache-size", "1KiB")
    with daemon.connect() as client:
        ids_of(client)
        wait_until(lambda: "--cache-size" in daemon.log_tail(), 10, "a remark")
    assert kept(cache) == []


def test_a_disk_that_is_nearly_full_is_left_alone(start, cache):
    daemon = start(keep_free="1000TiB")
    with daemon.connect() as client:
        assert ids_of(client) == ids_of(client)
        wait_until(lambda: "less than 1000TiB free" in daemon.log_tail(), 10, "a remark")
    assert kept(cache) == []
