"""Clients that stop, and a service that comes back to many at once: rows about death and return."""

import asyncio
import os
import signal
import threading
import time

import pytest
from hostile import Peer, chat
from process import python_that_is_there
from service import is_given_back, settled, wait_until

import hearth.aio
from hearth import beats, errors, messages

HEARTBEAT_S = 0.3
STALLED_S = 3 * HEARTBEAT_S
CROWD = 50
RETURN_S = 5.0

LISTENER = """
import sys, hearth.client
client = hearth.client.connect(sys.argv[1], 5)
chat = [{"role": "user", "content": "!wait 10 !count 5000"}]
for number, _ in enumerate(client.generate(client.offer_model(sys.argv[2]), chat, True,
                                           max_tokens=8000)):
    if number == 0:
        print("there", flush=True)
"""


def listener(daemon, model):
    """A process that reads an endless answer as it comes."""
    return python_that_is_there("-c", LISTENER, daemon.socket, model)


def latencies_ms(client, seconds):
    began, got = time.monotonic(), []
    while time.monotonic() - began < seconds:
        got.append(client.ping())
        time.sleep(0.002)
    return sorted(got)


def entry_of(watcher, pid):
    return next((client for client in watcher.status().clients if client.pid == pid), None)


@pytest.mark.fault(4)
def test_a_stopped_client_stalls_and_loses_its_work_and_others_do_not_notice(start_daemon, model):
    daemon = start_daemon("--heartbeat", str(HEARTBEAT_S))
    with daemon.connect() as watcher:
        offered = watcher.offer_model(model)
        watcher.load(offered)
        before = settled(watcher)
        with listener(daemon, model) as client:
            alone = latencies_ms(watcher, 2 * STALLED_S)
            assert not entry_of(watcher, client.pid).stalled, "it listens"
            client.send_signal(signal.SIGSTOP)
            beside = latencies_ms(watcher, 2 * STALLED_S)
            wait_until(lambda: entry_of(watcher, client.pid).stalled, 10 * STALLED_S, "stalling")
            wait_until(lambda: watcher.status().running == 0, 10 * STALLED_S, "dropping its work")
            words = [{"role": "user", "content": "hello"}]
            assert watcher.generate(offered, words).text == "hello"
        p99_ms = [one[int(0.99 * len(one))] for one in (alone, beside)]
        print(f"p99 of pings: {p99_ms[0]:.2f} ms beside it, {p99_ms[1]:.2f} ms when it is stopped")
        assert p99_ms[1] < max(10 * p99_ms[0], 50)
        wait_until(lambda: is_given_back(watcher, before), 10, "giving back")


@pytest.mark.fault(4)
def test_a_loop_that_stands_still_is_no_client_that_has_stopped(start_daemon, model, monkeypatch):
    """As ComfyUI's does while a sampler runs in its thread."""
    monkeypatch.setattr(beats, "LOOK_S", HEARTBEAT_S / 4)
    daemon = start_daemon("--heartbeat", str(HEARTBEAT_S))

    async def main():
        async with await hearth.aio.connect(daemon.socket) as client:
            words = [{"role": "user", "content": "!wait step 10 !count 60"}]
            stream = client.stream(await client.offer_model(model), words, max_tokens=2000)
            await anext(stream)
            time.sleep(2 * STALLED_S)
            return await stream.reply()

    assert asyncio.run(main()).text.endswith(" 60")
    assert "does not answer" not in daemon.log_tail()


@pytest.mark.fault(4)
@pytest.mark.extended
@pytest.mark.watchdog(180)
def test_a_client_stopped_for_a_minute_is_closed(start_daemon, model):
    daemon = start_daemon("--heartbeat", str(HEARTBEAT_S))
    with daemon.connect() as watcher, listener(daemon, model) as client:
        client.send_signal(signal.SIGSTOP)
        wait_until(lambda: entry_of(watcher, client.pid) is None, 120, "closing it")


@pytest.mark.fault(3)
def test_the_death_of_a_parent_counts_although_its_child_holds_the_socket(daemon, ledger, resident):
    """By the process, within what is promised for it; test_deaths.py has the same with arenas."""
    said, say = os.pipe()
    parent = os.fork()
    if parent == 0:
        peer = Peer(daemon.socket)
        offered = peer.offer(resident)
        peer.send(messages.Generate(model=offered, messages=chat("!wait 10 !count 900")))
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        os.write(say, f"{child}\n".encode())
        signal.pause()
    os.close(say)
    with open(said) as pipe:
        child = int(pipe.readline())
    try:
        with daemon.connect() as watcher:
            wait_until(lambda: watcher.status().running == 1)
            os.kill(parent, signal.SIGKILL)
            os.waitpid(parent, 0)
            took = wait_until(lambda: entry_of(watcher, parent) is None, 10)
            wait_until(lambda: watcher.status().running == 0, 10, "dropping its work")
            print(f"noticed after {1000 * took:.0f} ms")
    finally:
        os.kill(child, signal.SIGKILL)


class Returning(threading.Thread):
    """A client with an answer under way, which then does nothing but come back."""

    def __init__(self, daemon, model):
        super().__init__()
        self.is_streaming, self.is_told = threading.Event(), threading.Event()
        self.lost = None
        self.back_at = 0.0
        self._daemon, self._model = daemon, model

    def run(self):
        with self._daemon.connect() as client:
            offered = client.offer_model(self._model)
            words = [{"role": "user", "content": "!wait 5 !count 5000"}]
            stream = client.generate(offered, words, True, retry=False)
            self.is_streaming.set()
            try:
                _ = stream.reply
            except errors.HearthError as error:
                self.lost = error
            while not self.back_at:
                try:
                    client.ping()
                    self.back_at = time.monotonic()
                except errors.NotReachable:
                    time.sleep(0.05)


@pytest.mark.fault(20)
def test_fifty_clients_return_to_a_daemon_that_was_killed_and_none_asks_twice(start_daemon, model):
    daemon = start_daemon()
    crowd = [Returning(daemon, model) for _ in range(CROWD)]
    for client in crowd:
        client.start()
    for client in crowd:
        assert client.is_streaming.wait(30)
    daemon.kill()
    daemon.process = daemon.spawn()
    began = time.monotonic()
    wait_until(daemon.socket.exists)
    for client in crowd:
        client.join(60)
    assert all(client.back_at for client in crowd)
    took = max(client.back_at for client in crowd) - began
    print(f"all {CROWD} were back {took:.2f} s after the start")
    assert took < 10 * RETURN_S
    assert all(client.lost is not None and client.lost.retryable for client in crowd)
    with daemon.connect() as watcher:
        status = watcher.status()
        assert (status.served, status.failed, status.running, status.queued) == (0, 0, 0, 0)
