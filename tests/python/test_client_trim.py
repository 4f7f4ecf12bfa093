"""Shared memory of clients that do nothing goes back to the system."""

import asyncio
import math
import os
import random
import threading
import types

import numpy
import pytest

import hearth.aio
import hearth.client
import server as fake
from hearth import messages, pool, slots
from server import silent, wait_until

MIB = 1 << 20
PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
HUGE = [{"role": "user", "content": [numpy.ones((5000, 5000, 3), "u1")]}]


@pytest.fixture
def service(service):
    """Its arenas have all their pages, as the real service's have."""

    def grant(peer, frame, ask):
        fake.grant(peer, frame, ask)
        os.posix_fallocate(peer.arenas[peer.server.arena_count], 0, ask.nbytes)

    service.on[messages.ArenaAsk] = grant
    return service


@pytest.fixture
def clock(monkeypatch):
    """Time of the arenas only, in seconds; a list of one, to be changed."""
    now = [1000.0]
    monkeypatch.setattr(slots, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    return now


def resident(service):
    """Bytes that the arenas of the newest connection really take."""
    return sum(os.fstat(fd).st_blocks * 512 for fd in service.peer.arenas.values())


def pixels(service):
    """What lies where the newest request says that its picture is."""
    request = service.peer.messages_of(messages.Generate)[-1]
    return service.peer.arena_bytes(request.messages[0].content[-1].tensor)


def test_after_a_minute_at_most_8_mib_stay(client, service, clock):
    client.generate("ember", CHAT)
    client.generate("ember", HUGE)
    assert resident(service) > 300 * MIB
    clock[0] += 59
    client.ping()
    assert resident(service) > 300 * MIB
    clock[0] += 2
    client.ping()
    assert resident(service) <= 8 * MIB
    assert len(service.peer.messages_of(messages.ArenaDrop)) == 1
    client.generate("ember", CHAT)
    assert pixels(service) == PICTURE.tobytes()


def test_memory_that_was_given_back_is_as_good_as_new(client, service, clock):
    for _ in range(2):
        picture = numpy.random.default_rng(5).integers(0, 256, (4000, 4000, 3), "u1")
        client.generate("ember", [{"role": "user", "content": [picture]}])
        assert pixels(service) == picture.tobytes()
        clock[0] += 61
        client.ping()
        assert resident(service) <= 8 * MIB
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 1


def test_trim_does_it_now(client, service):
    client.generate("ember", HUGE)
    client.generate("ember", CHAT)
    client.trim()
    client.trim()
    assert resident(service) <= 8 * MIB


def test_what_is_in_use_stays(client, service, clock):
    service.on[messages.Generate] = silent
    picture = numpy.random.default_rng(6).integers(0, 256, (3000, 3000, 3), "u1")
    stream = client.generate("ember", [{"role": "user", "content": [picture]}], stream=True)
    held = client.put(picture[::-1])
    wait_until(lambda: service.peer.ids_of(messages.Generate))
    clock[0] += 61
    client.ping()
    assert resident(service) < 64 * MIB, "the free part went back"
    assert pixels(service) == picture.tobytes()
    service.on.clear()
    client.generate("ember", [{"role": "user", "content": [held]}])
    assert pixels(service) == picture[::-1].tobytes()
    stream.cancel()


def test_what_was_in_use_at_first_goes_back_a_minute_after_its_end(client, service, clock):
    service.on[messages.Generate] = silent
    picture = [{"role": "user", "content": [numpy.ones((4000, 4000, 3), "u1")]}]
    stream = client.generate("ember", picture, stream=True)
    clock[0] += 61
    client.ping()
    assert resident(service) > 40 * MIB
    service.peer.send(messages.InputsDone(), service.peer.ids_of(messages.Generate)[0])
    client.ping()
    clock[0] += 61
    client.ping()
    assert resident(service) <= 8 * MIB
    stream.cancel()


def test_trimming_twice_costs_nothing(client, service, clock):
    client.generate("ember", CHAT)
    clock[0] += 61
    arenas = client._connection.arenas
    assert arenas.trim() == math.inf
    before = resident(service)
    for fd in service.peer.arenas.values():
        os.posix_fallocate(fd, 0, 64 * MIB)  # punching again would undo it
    assert arenas.trim() == math.inf
    assert before <= 8 * MIB and resident(service) == 64 * MIB


def test_how_long_to_wait_is_what_is_left_of_the_minute(client, service, clock):
    assert hearth.client.trim_idle() > 0
    client.generate("ember", CHAT)
    clock[0] += 20
    assert client._connection.arenas.trim() == pytest.approx(40)
    assert resident(service) == 64 * MIB


def test_trimming_from_another_thread_never_touches_a_slot():
    """Slots are taken, filled, checked and given back while another thread trims all the time."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    fd = os.memfd_create("arena")
    os.ftruncate(fd, 16 * MIB)
    arenas = slots.Arenas()
    arenas.add(slots.Arena.map(1, 16 * MIB, fd))
    arenas._arenas[0].trim(0)
    whole = arenas._arenas[0].free.ranges
    stop, trims = threading.Event(), []

    def trim():
        while not stop.is_set():
            arenas._arenas[0].trim(slots.RESERVED_BYTES)
            trims.append(1)

    trimming = threading.Thread(target=trim)
    trimming.start()
    held = []
    try:
        for number in range(3000):
            slot = arenas.allocate(rng.choice([64, 5000, 70_000, 400_000]))
            if slot is not None:
                content = bytes([number % 251 + 1]) * slot.nbytes
                slot.memory[slot.offset : slot.offset + slot.nbytes] = content
                held.append((slot, content))
            while held and (slot is None or len(held) > 8):
                old, content = held.pop(rng.randrange(len(held)))
                assert old.memory[old.offset : old.offset + old.nbytes] == content
                old.release()
                slot = old
    finally:
        stop.set()
        trimming.join(30)
    for old, _ in held:
        old.release()
    assert len(trims) > 10 and arenas._arenas[0].free.ranges == whole


def test_idle_clients_of_the_pool_are_trimmed_from_any_thread(service, clock, monkeypatch):
    for module in (hearth.aio, hearth.client):
        monkeypatch.setattr(module, "_pool", pool.Pool())  # nobody else's clients

    async def main():
        async with hearth.aio.shared(service.path) as client:
            await client.generate("ember", CHAT)

    asyncio.run(main())
    with hearth.client.shared(service.path) as client:
        client.generate("ember", CHAT)
    left = []
    clock[0] += 61
    for trim in (hearth.aio.trim_idle, hearth.client.trim_idle):
        thread = threading.Thread(target=lambda trim=trim: left.append(trim()))
        thread.start()
        thread.join(30)
    assert left == [math.inf, math.inf]
    for peer in service.peers:
        (fd,) = peer.arenas.values()
        assert os.fstat(fd).st_blocks * 512 <= 8 * MIB


def test_a_loop_that_runs_on_trims_by_itself(service, monkeypatch):
    client = hearth.aio.AsyncClient
    for act in (client._trim_later, client._tidy):
        monkeypatch.setattr(act, "__defaults__", (0.05,))  # instead of a minute

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            await client.generate("ember", CHAT)
            assert resident(service) == 64 * MIB
            for _ in range(5000):
                if resident(service) <= 8 * MIB:
                    return
                await asyncio.sleep(0.002)
            raise AssertionError("waited in vain")

    asyncio.run(main())


@pytest.mark.parametrize("act", ["take", "give_back", "trim"])
def test_the_lists_are_changed_by_one_thread_at_a_time(act):
    fd = os.memfd_create("arena")
    os.ftruncate(fd, MIB)
    arena = slots.Arena.map(1, MIB, fd)
    offset = arena.take(4096)
    acts = {
        "take": lambda: arena.take(64),
        "give_back": lambda: arena.give_back(offset, 4096),
        "trim": lambda: arena.trim(slots.RESERVED_BYTES),
    }
    thread = threading.Thread(target=acts[act])
    with arena.lock:
        before = arena.free.ranges
        thread.start()
        thread.join(0.05)
        assert thread.is_alive() and arena.free.ranges == before
    thread.join(30)
    assert not thread.is_alive()
