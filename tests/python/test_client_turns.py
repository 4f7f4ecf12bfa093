"""Many tasks on one connection, and loops that stand still: what ComfyUI does to a client."""

import asyncio
import threading
import time

import numpy
import pytest

from hearth import beats, messages
from server import LIMITS, generated, grant, silent, token, wait_until
from test_client_aio import CHAT, TEXT, until, with_client


@pytest.fixture
def soon(monkeypatch):
    """Times in which a test can wait."""
    monkeypatch.setattr(beats, "LOOK_S", 0.02)
    monkeypatch.setattr("hearth.connection.PING_AFTER_S", 0.05)
    monkeypatch.setattr("hearth.connection.SILENT_AFTER_S", 0.3)


def answered_after(seconds, open_now, most):
    """A handler; how many requests are open at a time is written down."""

    def handler(peer, frame, _request):
        open_now.add(frame.request_id)
        most.append(len(open_now))

        def finish():
            open_now.discard(frame.request_id)
            peer.send(generated(), frame.request_id)

        threading.Timer(seconds, finish).start()

    return handler


def test_more_requests_than_may_be_open_wait_for_their_turn(service):
    most = []
    service.on[messages.Generate] = answered_after(0.2, set(), most)

    async def scenario(client):
        calls = [client.generate("ember", TEXT, max_tokens=1 + n) for n in range(200)]
        return await asyncio.gather(*calls)

    assert len(with_client(service, scenario)) == 200
    assert 16 < max(most) <= LIMITS.open_requests * 3 // 4
    asked = [request.max_tokens for request in service.peer.messages_of(messages.Generate)]
    assert asked == list(range(1, 201)), "first come, first served"


def test_pictures_wait_for_their_turn_outside_of_shared_memory(service):
    service.on[messages.Generate] = answered_after(0.01, set(), [])
    picture = numpy.zeros((1024, 1024, 3), "u1")

    async def scenario(client):
        chats = [[{"role": "user", "content": [picture + n]}] for n in range(100)]
        await asyncio.gather(*(client.generate("ember", chat) for chat in chats))

    with_client(service, scenario)
    asked = sum(ask.nbytes for ask in service.peer.messages_of(messages.ArenaAsk))
    assert asked < 90 * picture.nbytes


def test_tasks_that_are_cancelled_leave_their_turns_to_others(service):
    service.on[messages.Generate] = silent

    async def scenario(client):
        tasks = [asyncio.create_task(client.generate("ember", TEXT)) for _ in range(150)]
        await until(lambda: len(service.peer.messages_of(messages.Generate)) > 16)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        service.on[messages.Generate] = lambda peer, frame, _: peer.send(
            generated("next"), frame.request_id
        )
        for request_id in service.peer.ids_of(messages.Generate):
            service.peer.send(generated("late"), request_id)
        return await client.generate("ember", TEXT)

    assert with_client(service, scenario).text == "next"


def test_streams_that_nobody_reads_hold_nobody_up_for_ever(service):
    async def scenario(client):
        streams = [client.stream("ember", TEXT) for _ in range(100)]
        first = [await anext(aiter(stream)) for stream in streams]
        return first, [(await stream.reply()).text for stream in streams]

    first, texts = with_client(service, scenario)
    assert first == ["a red "] * 100 and texts == ["a red circle"] * 100


def test_a_model_that_another_task_gives_up_meanwhile_is_offered_again(service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    asked = []
    service.on[messages.ArenaAsk] = lambda peer, frame, ask: asked.append((peer, frame, ask))

    async def scenario(client):
        model = await client.offer_model(tmp_path)
        answer = asyncio.create_task(client.generate(model, CHAT))
        await until(lambda: asked)
        await client.unload(model)
        grant(*asked[0])
        return await answer

    assert with_client(service, scenario).text == "a red circle"
    kinds = [type(message) for message in service.peer.received]
    offers = [n for n, kind in enumerate(kinds) if kind is messages.OfferModel]
    assert kinds.index(messages.UnloadModel) < offers[1] < kinds.index(messages.Generate)


def test_a_service_hears_from_a_program_whose_loop_stands_still(service, soon):
    service.heartbeat_ms = 100
    service.on[messages.Generate] = silent

    async def scenario(client):
        time.sleep(0.3)
        assert not service.peer.messages_of(messages.Pong), "nothing is open"
        answer = asyncio.create_task(client.generate("ember", TEXT))
        await until(lambda: service.peer.messages_of(messages.Generate))
        time.sleep(0.5)
        heard = len(service.peer.messages_of(messages.Pong))
        service.peer.send(generated("after all"), service.peer.ids_of(messages.Generate)[0])
        assert (await answer).text == "after all"
        return heard

    assert with_client(service, scenario) >= 5
    wait_until(lambda: "hearth-beats" not in [thread.name for thread in threading.enumerate()])


def test_a_beat_does_not_come_between_the_halves_of_a_frame(service, soon):
    """The socket is full when the loop stops."""
    service.heartbeat_ms = 1
    reading, frames = threading.Event(), []
    service.on[messages.Status] = lambda *_: reading.wait(10)  # and reads nothing else meanwhile
    service.on[messages.Generate] = lambda peer, frame, request: (
        frames.append(request),
        peer.send(generated(), frame.request_id),
    )
    long = [{"role": "user", "content": "x" * 200_000}]

    async def scenario(client):
        stuck = asyncio.create_task(client.status())
        answers = [asyncio.create_task(client.generate("ember", long)) for _ in range(8)]
        await until(lambda: client._connection.blocked)
        time.sleep(0.3)
        reading.set()
        await asyncio.gather(*answers)
        stuck.cancel()

    with_client(service, scenario)
    assert [len(frame.messages[0].content[0].text) for frame in frames] == [200_000] * 8


def test_a_service_is_not_given_up_for_the_time_that_we_were_away(service, soon):
    service.on[messages.Generate] = silent

    async def scenario(client):
        answer = asyncio.create_task(client.generate("ember", TEXT))
        await until(lambda: service.peer.messages_of(messages.Generate))
        time.sleep(0.6)  # the service had nothing to say, and was not asked
        await until(lambda: service.peer.messages_of(messages.Ping))
        service.peer.send(token("here"), service.peer.ids_of(messages.Generate)[0])
        service.peer.send(generated("here"), service.peer.ids_of(messages.Generate)[0])
        return (await answer).text

    assert with_client(service, scenario) == "here"
    assert len(service.peers) == 1
