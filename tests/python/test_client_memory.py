"""When shared memory is asked for, used and used again."""

import os
import types

import numpy
import pytest

import hearth.client
import server as fake
from hearth import errors, messages, slots
from server import fails, open_files, silent, token, wait_until

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]


def offsets(service):
    requests = service.peer.messages_of(messages.Generate)
    return [request.messages[0].content[1].tensor.offset for request in requests]


def test_memory_is_used_again_after_inputs_done_and_not_before(client, service):
    service.on[messages.Generate] = silent
    streams = [client.generate("ember", CHAT, stream=True) for _ in range(2)]
    wait_until(lambda: len(offsets(service)) == 2)
    first_id = service.peer.ids_of(messages.Generate)[0]
    service.peer.send(messages.InputsDone(), first_id)
    service.peer.send(token("x"), first_id)
    assert next(streams[0]) == "x"
    streams.append(client.generate("ember", CHAT, stream=True))
    wait_until(lambda: len(offsets(service)) == 3)
    first, second, third = offsets(service)
    assert first == third != second
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 1


def test_memory_of_an_abandoned_request_is_not_used_before_its_end(client, service):
    service.on[messages.Generate] = silent
    with pytest.raises(errors.Cancelled):
        client.generate("ember", CHAT, interrupted=lambda: bool(offsets(service)))
    held = [client.generate("ember", CHAT, stream=True)]
    wait_until(lambda: len(offsets(service)) == 2)
    first_id = service.peer.ids_of(messages.Generate)[0]
    service.peer.send(messages.Error(code="cancelled", what="x"), first_id)
    client.ping()
    held.append(client.generate("ember", CHAT, stream=True))
    wait_until(lambda: len(offsets(service)) == 3)
    first, second, third = offsets(service)
    assert first == third != second


def test_a_picture_larger_than_the_arena_gets_another_one(client, service):
    client.generate("ember", CHAT)
    huge = numpy.zeros((5000, 5000, 3), "u1")
    client.generate("ember", [{"role": "user", "content": [huge]}])
    asked = [ask.nbytes for ask in service.peer.messages_of(messages.ArenaAsk)]
    assert asked == [64 << 20, 256 << 20]


def test_refused_memory_is_an_error_of_that_request_only(client, service):
    service.on[messages.ArenaAsk] = fails("busy", retry_after_ms=50)
    with pytest.raises(errors.Busy) as raised:
        client.generate("ember", CHAT)
    assert raised.value.retry_after_ms == 50
    assert client.generate("ember", TEXT).text == "a red circle"


def test_more_pictures_than_the_service_takes_are_not_even_copied(client, service):
    client.ping()
    too_many = [PICTURE] * (client.welcome.limits.tensors + 1)
    with pytest.raises(errors.BadRequest, match="the service takes at most"):
        client.generate("ember", [{"role": "user", "content": too_many}])
    assert not service.peer.messages_of(messages.ArenaAsk)


def test_a_grant_smaller_than_was_asked_for_is_refused(client, service):
    def stingy(peer, frame, _ask):
        fd = os.memfd_create("stingy")
        os.ftruncate(fd, 4096 * 2)
        peer.send(messages.ArenaGrant(arena=1, nbytes=4096 * 2), frame.request_id, [fd])
        os.close(fd)

    service.on[messages.ArenaAsk] = stingy
    with pytest.raises(errors.Internal, match="8192 bytes granted"):
        client.generate("ember", CHAT)


def test_a_grant_without_its_descriptor_is_refused(client, service):
    service.on[messages.ArenaAsk] = fake.replies(messages.ArenaGrant(arena=1, nbytes=1 << 26))
    with pytest.raises(errors.Internal, match="0 descriptors"):
        client.generate("ember", CHAT)


def test_no_descriptor_stays_open(service):
    with hearth.client.connect(service.path) as client:
        client.generate("ember", CHAT)
    wait_until(lambda: service.peer.is_gone)
    before = open_files()
    for _ in range(5):
        with hearth.client.connect(service.path) as client:
            client.generate("ember", CHAT)
        wait_until(lambda: service.peer.is_gone)
        os.close(service.peer.arenas.pop(service.arena_count))
    assert open_files() == before


def dropped(service):
    return [drop.arena for drop in service.peer.messages_of(messages.ArenaDrop)]


@pytest.fixture
def clock(monkeypatch):
    """Time of the arenas only, in seconds; a list of one, to be changed."""
    now = [1000.0]
    monkeypatch.setattr(slots, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    return now


def ask_with_huge_picture(client):
    huge = numpy.zeros((5000, 5000, 3), "u1")
    client.generate("ember", [{"role": "user", "content": [huge]}])


def test_memory_that_nobody_used_for_a_minute_goes_back_but_the_first_small(service, clock):
    with hearth.client.connect(service.path) as client:
        client.generate("ember", CHAT)
        ask_with_huge_picture(client)
        clock[0] += 59
        client.ping()
        assert dropped(service) == []
        clock[0] += 2
        client.ping()
        client.ping()
        assert dropped(service) == [2]
        client.generate("ember", CHAT)
        ask_with_huge_picture(client)
    asked = [ask.nbytes for ask in service.peer.messages_of(messages.ArenaAsk)]
    assert asked == [64 << 20, 256 << 20, 256 << 20]


def test_memory_of_an_open_request_does_not_go_back(client, service, clock):
    client.generate("ember", CHAT)
    service.on[messages.Generate] = silent
    huge = [{"role": "user", "content": ["?", numpy.zeros((5000, 5000, 3), "u1")]}]
    with pytest.raises(errors.Cancelled):
        client.generate("ember", huge, interrupted=lambda: len(offsets(service)) == 2)
    clock[0] += 3600
    client.ping()
    assert dropped(service) == []  # the service has not said that it read the picture
    request_id = service.peer.ids_of(messages.Generate)[-1]
    service.peer.send(messages.Error(code="cancelled", what="x"), request_id)
    client.ping()
    assert dropped(service) == []
    clock[0] += 61
    client.ping()
    assert dropped(service) == [2]


def busy_until_dropped(peer, frame, ask):
    if ask.nbytes > 64 << 20 and not peer.messages_of(messages.ArenaDrop):
        return fails("busy")(peer, frame, ask)
    return fake.grant(peer, frame, ask)


def test_when_memory_is_short_what_is_free_goes_back_and_we_ask_again(client, service):
    service.on[messages.ArenaAsk] = busy_until_dropped
    client.generate("ember", CHAT)
    ask_with_huge_picture(client)
    assert dropped(service) == [1]
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 3


def test_we_ask_only_once_more(client, service):
    client.generate("ember", CHAT)
    service.on[messages.ArenaAsk] = fails("busy")
    with pytest.raises(errors.Busy):
        ask_with_huge_picture(client)
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 3
    with pytest.raises(errors.Busy):
        ask_with_huge_picture(client)
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 4  # nothing was left to give back
    assert client.generate("ember", TEXT).text == "a red circle"


def test_memory_in_use_does_not_go_back_when_memory_is_short(client, service):
    service.on[messages.Generate] = silent
    held = client.generate("ember", CHAT, stream=True)
    wait_until(lambda: offsets(service))
    service.on[messages.ArenaAsk] = fails("busy")
    with pytest.raises(errors.Busy):
        ask_with_huge_picture(client)
    assert dropped(service) == []
    held.cancel()


def test_numbers_of_a_dropped_arena_stay_readable(client, service, clock):
    ask_with_huge_picture(client)
    arena = client._connection.arenas._arenas[0]
    view = numpy.frombuffer(arena.memory, "u1", 64, 4096)
    del arena
    clock[0] += 61
    client.ping()
    assert dropped(service) == [1]
    assert view.sum() == 0


class StopsWhenGranted:
    """An `interrupted` that says so as soon as a grant has arrived, but not before."""

    def __init__(self, client, monkeypatch):
        self.exchanges = []
        begin = client._connection.exchanges.begin
        monkeypatch.setattr(
            client._connection.exchanges,
            "begin",
            lambda: self.exchanges.append(begin()) or self.exchanges[-1],
        )

    def __call__(self):
        return any(isinstance(e.outcome, messages.ArenaGrant) for e in self.exchanges)


def test_an_arena_that_comes_when_the_call_is_interrupted_goes_back(client, service, monkeypatch):
    before = open_files()
    with pytest.raises(errors.Cancelled):
        client.generate("ember", CHAT, interrupted=StopsWhenGranted(client, monkeypatch))
    client.ping()
    assert dropped(service) == [1]
    assert open_files() == before + 1, "the service's own descriptor"


def test_an_arena_that_comes_after_the_call_was_interrupted_goes_back(client, service):
    late = []
    service.on[messages.ArenaAsk] = lambda peer, frame, ask: late.append((peer, frame, ask))
    before = open_files()
    with pytest.raises(errors.Cancelled):
        client.generate("ember", CHAT, interrupted=lambda: bool(late))
    fake.grant(*late[0])
    client.ping()
    client.ping()
    assert dropped(service) == [1]
    assert open_files() == before + 1, "the service's own descriptor"
