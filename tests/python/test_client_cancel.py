"""Errors of requests, and requests that nobody wants any more."""

import asyncio
import os
import random
import signal
import statistics
import threading
import time

import numpy
import pytest

import hearth.aio
import hearth.client
from hearth import errors, messages
from server import fails, silent, token, wait_until

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]


def test_an_error_is_an_exception_of_its_own_class(client, service):
    service.on[messages.Generate] = fails("too_long", "8 tokens too many.", hint="Shorten it.")
    with pytest.raises(errors.TooLong, match="8 tokens too many. Shorten it.") as raised:
        client.generate("ember", TEXT)
    assert not raised.value.retryable
    assert hearth.client.TooLong is errors.TooLong


def test_an_error_in_the_middle_of_a_stream_follows_the_pieces(client, service):
    def handler(peer, frame, _request):
        peer.send(token("half"), frame.request_id)
        peer.send(messages.Error(code="worker_lost", what="w", retryable=True), frame.request_id)

    service.on[messages.Generate] = handler
    stream = client.generate("ember", TEXT, stream=True)
    assert next(stream) == "half"
    with pytest.raises(errors.WorkerLost) as raised:
        next(stream)
    assert raised.value.retryable and stream.text == "half"
    client.ping()


def cancels_politely(peer, frame, _cancel):
    peer.send(messages.Error(code="cancelled", what="You cancelled."), frame.request_id)


def test_a_cancelled_stream_ends_quietly(client, service):
    service.on[messages.Generate] = lambda peer, frame, _: peer.send(token("a"), frame.request_id)
    service.on[messages.Cancel] = cancels_politely
    stream = client.generate("ember", TEXT, stream=True)
    assert next(stream) == "a"
    stream.cancel()
    assert list(stream) == []
    with pytest.raises(errors.Cancelled):
        _ = stream.reply


class Interrupt(BaseException):
    """As ComfyUI's: not an Exception."""


def test_an_interrupt_is_polled_often_cancels_and_is_raised_again(client, service):
    service.on[messages.Generate] = silent
    service.on[messages.Cancel] = cancels_politely
    times = []

    def interrupted():
        times.append(time.monotonic())
        if len(times) > 10:
            raise Interrupt
        return False

    began = time.monotonic()
    with pytest.raises(Interrupt):
        client.generate("ember", CHAT, interrupted=interrupted)
    assert time.monotonic() - began < 2
    # The median: a busy machine may hold up a poll, but not most of them.
    assert statistics.median(b - a for a, b in zip(times[:-1], times[1:], strict=True)) < 0.025
    assert len(service.peer.messages_of(messages.Cancel)) == 1
    client.ping()


def test_a_service_that_does_not_acknowledge_is_left_after_200_ms(client, service):
    service.on[messages.Generate] = silent
    began = time.monotonic()
    with pytest.raises(errors.Cancelled):
        client.generate("ember", TEXT, interrupted=lambda: True)
    assert time.monotonic() - began < 2
    assert not service.peer.messages_of(messages.Cancel), "nothing was sent yet"
    with pytest.raises(errors.Cancelled):
        client.generate(
            "ember", TEXT, interrupted=lambda: service.peer.messages_of(messages.Generate)
        )
    wait_until(lambda: len(service.peer.messages_of(messages.Cancel)) == 1)
    client.ping()


def is_quiet(peer):
    """Whether every request was cancelled."""
    return len(peer.ids_of(messages.Generate)) == len(peer.ids_of(messages.Cancel))


def test_ctrl_c_ends_the_request_whenever_it_comes(client, service):
    """The exception of a signal handler may come between any two steps of ours."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    service.on[messages.Generate] = silent
    for _ in range(20):
        peer = service.peer
        timer = threading.Timer(rng.uniform(0, 0.004), os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                client.generate("ember", CHAT)
        wait_until(lambda peer=peer: peer.is_gone or is_quiet(peer))
        client.ping()


def test_a_stream_that_nobody_reads_any_more_is_cancelled(client, service):
    service.on[messages.Generate] = silent
    stream = client.generate("ember", TEXT, stream=True)
    wait_until(lambda: service.peer.messages_of(messages.Generate))
    del stream
    wait_until(lambda: service.peer.messages_of(messages.Cancel))


def progresses(peer, frame, _request):
    """A handler that tells of progress and then nothing."""
    peer.send(messages.Progress(stage="loading", done=1, total=2), frame.request_id)


class AskedTheNthTime:
    """Raises once, at the nth question after a model's load was sent."""

    def __init__(self, service, n):
        self.peer, self.left = service.peer, n
        self.before = len(self.peer.messages_of(messages.LoadModel))

    def __call__(self):
        if len(self.peer.messages_of(messages.LoadModel)) > self.before:
            self.left -= 1
        if self.left == 0:
            raise Interrupt
        return False


def test_an_interrupt_between_two_events_cancels_too(client, service):
    service.on[messages.LoadModel] = progresses
    service.on[messages.Cancel] = cancels_politely
    client.ping()
    for n in range(1, 7):
        with pytest.raises(Interrupt):
            client.load("ember", interrupted=AskedTheNthTime(service, n))
        client.ping()
        assert len(service.peer.messages_of(messages.Cancel)) == n


def test_an_interrupt_between_two_events_cancels_too_with_asyncio(service):
    service.on[messages.LoadModel] = progresses
    service.on[messages.Cancel] = cancels_politely

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            for n in range(1, 7):
                with pytest.raises(Interrupt):
                    await client.load("ember", interrupted=AskedTheNthTime(service, n))
                await client.ping()
                assert len(service.peer.messages_of(messages.Cancel)) == n

    asyncio.run(main())
