"""The asyncio client against a service that does what each test says."""

import asyncio
import statistics
import time

import numpy
import pytest

import hearth.aio
from hearth import errors, messages
from server import fails, generated, silent, token, wait_until

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]


def with_client(service, scenario):
    """Runs `scenario(client)` in a loop of its own."""

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            return await scenario(client)

    return asyncio.run(main())


async def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.002)


def test_all_calls_answer(service, tmp_path):
    (tmp_path / "config.json").write_text("{}")

    async def scenario(client):
        model = await client.offer_model(tmp_path)
        reply = await client.generate(model, CHAT, max_tokens=4)
        assert reply.text == "a red circle" and reply.token_ids == [5, 6]
        assert (await client.load(model)).load_ms == 2.0
        assert await client.unload(model) is False
        assert await client.models() == []
        assert (await client.status()).worker_state == "ready"
        assert await client.ping() > 0

    with_client(service, scenario)
    (request,) = service.peer.messages_of(messages.Generate)
    assert request.max_tokens == 4 and request.messages[0].content[1].tensor.shape == [8, 6, 3]


def test_a_stream_is_an_asynchronous_iterator(service):
    async def scenario(client):
        stream = client.stream("ember", CHAT)
        assert [piece async for piece in stream] == ["a red ", "circle"]
        assert (await stream.reply()).text == stream.text == "a red circle"
        other = await client.generate("ember", TEXT, stream=True)
        assert (await other.reply()).text == "a red circle"

    with_client(service, scenario)


def test_many_tasks_share_one_connection(service):
    waiting = []

    def handler(peer, frame, _request):
        waiting.append(frame.request_id)
        if len(waiting) == 8:
            for request_id in reversed(waiting):
                peer.send(token(f"{request_id}"), request_id)
                peer.send(generated(f"{request_id}"), request_id)

    service.on[messages.Generate] = handler

    async def scenario(client):
        return await asyncio.gather(*(client.generate("ember", CHAT) for _ in range(8)))

    replies = with_client(service, scenario)
    assert sorted(int(reply.text) for reply in replies) == sorted(waiting)
    assert len(service.peers) == 1
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 1


def test_tasks_that_connect_at_once_make_one_connection(service):
    async def main():
        async with hearth.aio.AsyncClient(service.path) as client:
            await asyncio.gather(*(client.ping() for _ in range(5)))

    asyncio.run(main())
    assert len(service.peers) == 1


def test_a_cancelled_task_cancels_its_request(service):
    service.on[messages.Generate] = silent

    async def scenario(client):
        task = asyncio.ensure_future(client.generate("ember", CHAT))
        await until(lambda: service.peer.messages_of(messages.Generate))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: service.peer.messages_of(messages.Cancel))
        await client.ping()

    with_client(service, scenario)
    wanted = service.peer.ids_of(messages.Generate)
    assert service.peer.ids_of(messages.Cancel) == wanted


class Interrupt(BaseException):
    """As ComfyUI's: not an Exception."""


def test_an_interrupt_is_polled_often_cancels_and_is_raised_again(service):
    service.on[messages.Generate] = silent
    service.on[messages.Cancel] = fails("cancelled")
    times = []

    def interrupted():
        times.append(time.monotonic())
        if len(times) > 10:
            raise Interrupt
        return False

    async def scenario(client):
        with pytest.raises(Interrupt):
            await client.generate("ember", CHAT, interrupted=interrupted)
        # The median: a busy machine may hold up a poll, but not most of them.
        assert statistics.median(b - a for a, b in zip(times[:-1], times[1:], strict=True)) < 0.025
        with pytest.raises(errors.Cancelled):
            await client.generate("ember", TEXT, interrupted=lambda: True)
        await client.ping()

    began = time.monotonic()
    with_client(service, scenario)
    assert time.monotonic() - began < 5
    assert len(service.peer.messages_of(messages.Cancel)) == 1
    assert len(service.peer.messages_of(messages.Generate)) == 1


def test_a_cancelled_stream_ends_quietly(service):
    service.on[messages.Generate] = lambda peer, frame, _: peer.send(token("a"), frame.request_id)
    service.on[messages.Cancel] = fails("cancelled")

    async def scenario(client):
        stream = client.stream("ember", TEXT)
        assert await stream.__anext__() == "a"
        stream.cancel()
        assert [piece async for piece in stream] == []
        unbegun = client.stream("ember", TEXT)
        unbegun.cancel()
        assert [piece async for piece in unbegun] == []

    with_client(service, scenario)
    assert len(service.peer.messages_of(messages.Generate)) == 1


def test_errors_and_lost_connections_are_exceptions(service):
    async def scenario(client):
        service.on[messages.Generate] = fails("too_long", "Too long.")
        with pytest.raises(errors.TooLong):
            await client.generate("ember", TEXT)
        service.on[messages.Generate] = lambda peer, *_: peer.close()
        with pytest.raises(errors.NotReachable):
            await client.generate("ember", TEXT, retry=False)
        await client.ping()

    with_client(service, scenario)
    assert len(service.peers) == 2


def test_a_service_that_is_down_or_silent_is_not_reachable(service, tmp_path, monkeypatch):
    monkeypatch.setattr("hearth.connection.GREETING_S", 0.3)

    async def main():
        with pytest.raises(errors.NotReachable, match="no such file"):
            await hearth.aio.connect(tmp_path / "other.sock")
        service.on[messages.Hello] = silent
        began = time.monotonic()
        with pytest.raises(errors.NotReachable, match="0.3 s"):
            await hearth.aio.connect(service.path)
        assert time.monotonic() - began < 3

    asyncio.run(main())


def test_a_client_that_writes_also_reads(service):
    def handler(peer, frame, _request):
        for _ in range(200):
            peer.send(token("x" * 4000), frame.request_id)
        peer.send(generated("done"), frame.request_id)

    service.on[messages.Generate] = handler
    chat = [{"role": "user", "content": ["y" * 200_000] * 4}]

    async def scenario(client):
        return await asyncio.gather(*(client.generate("ember", chat) for _ in range(8)))

    assert [reply.text for reply in with_client(service, scenario)] == ["done"] * 8


def test_one_loop_after_another_shares_one_connection(service):
    async def main():
        async def one():
            async with hearth.aio.shared(service.path) as client:
                await client.generate("ember", CHAT)

        await asyncio.gather(one(), one())
        await one()

    asyncio.run(main())
    asyncio.run(main())
    assert len(service.peers) == 1
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 1


def test_a_client_may_move_to_another_loop(service):
    client = hearth.aio.AsyncClient(service.path)
    asyncio.run(client.ping())
    began = time.monotonic()
    asyncio.run(client.ping())
    assert time.monotonic() - began < 1
    client.close()
    assert len(service.peers) == 1


def test_other_tasks_run_while_a_large_batch_is_copied(service):
    batch = numpy.zeros((24, 512, 512, 3), "f4")
    turns = []

    async def count():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def scenario(client):
        counting = asyncio.ensure_future(count())
        await client.generate("ember", [{"role": "user", "content": [batch]}])
        counting.cancel()

    with_client(service, scenario)
    assert len(turns) >= 24


def test_the_loop_has_nothing_left_to_watch_afterwards(service):
    async def scenario(client):
        await client.ping()
        client.close()
        wait_until(lambda: service.peer.is_gone)
        await asyncio.sleep(0)

    with_client(service, scenario)
