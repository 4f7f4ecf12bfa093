"""The broker replaces itself while clients, the engine and open answers stay."""

import contextlib
import os
import signal
import socket
import statistics
import sys
import threading
import time

import hostile
import numpy
import pytest
from service import ROOT, wait_until

from hearth import messages, wire

sys.path.insert(0, str(ROOT / "models/ember"))
import world  # noqa: E402

WEIGHTS = ROOT / "models/ember/weights"
MOST_SLOTS = 16
RAMBLING = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "max_tokens": 250}


def ask(text):
    return [{"role": "user", "content": text}]


def picture_chat(number):
    image, _ = world.draw(20 + number % 4)
    return [{"role": "user", "content": [numpy.asarray(image), world.PROMPT]}]


def bytes_of(encoded):
    """Of what lies in the service's memory."""
    return numpy.asarray(encoded.hidden).tobytes()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# --- many streams, many upgrades ---


class Streams:
    """Clients that stream one answer after another, each with a seed of its own."""

    def __init__(self, daemon, expected, n_clients):
        self._daemon, self._expected = daemon, expected
        self._ended = threading.Event()
        self.answers = 0
        self.failures = []
        self.pieces = [[] for _ in range(n_clients)]  # when they came, answer by answer
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(n_clients)]

    def _work(self, number):
        try:
            with self._daemon.connect(30) as client:
                turn = number
                while not self._ended.is_set():
                    self._stream(client, number, turn % len(self._expected))
                    turn += 1
        except Exception as error:
            self.failures.append(f"client {number}: {error!r}")

    def _stream(self, client, number, seed):
        times, text = [], ""
        self.pieces[number].append(times)
        stream = client.generate(
            "ember", picture_chat(seed), stream=True, retry=False, seed=seed, **RAMBLING
        )
        for piece in stream:
            times.append(time.monotonic())
            text += piece
        assert text == stream.reply.text, f"seed {seed}: pieces were lost or came twice"
        assert text == self._expected[seed], f"seed {seed} said something else"
        with self._lock:
            self.answers += 1

    def are_speaking(self):
        """All slots' answers, or all clients', are in the middle of it; the others wait."""
        speaking = sum(bool(answers and answers[-1]) for answers in self.pieces)
        return self.failures or speaking >= min(len(self.pieces), MOST_SLOTS)

    def wait_for_more(self, n_answers):
        wanted = self.answers + n_answers
        wait_until(lambda: self.failures or self.answers >= wanted, 300, "more answers")

    def stalls_ms(self, began, ended):
        """The longest silence within an answer of each client that touches this time."""
        stalls = []
        for answers in list(self.pieces):
            gaps = [
                after - before
                for times in answers
                for before, after in zip(times, times[1:], strict=False)
                if before <= ended and after >= began
            ]
            stalls += [1000 * max(gaps)] if gaps else []
        return stalls

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        wait_until(self.are_speaking, 120, "streams")
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()
        assert self.failures == []


def undisturbed(daemon, n):
    """What ember says to each seed when nothing happens, its pictures and prompts in the caches: a
    prompt that is not there yet is computed in other pieces, which at this temperature can tip a
    word."""
    with daemon.connect() as client:
        for _ in range(2):
            texts = [
                client.generate("ember", picture_chat(seed), seed=seed, **RAMBLING).text
                for seed in range(n)
            ]
        return texts


def upgrade_under_streams(daemon, n_clients, n_upgrades):
    expected = undisturbed(daemon, 8)
    stalls, quiet, durations = [], [], []
    with daemon.connect() as admin, Streams(daemon, expected, n_clients) as streams:
        before = admin.status()
        for _ in range(n_upgrades):
            streams.wait_for_more(n_clients // 4)
            wait_until(streams.are_speaking, 120, "streams")
            began = time.monotonic()
            admin.upgrade()
            ended = time.monotonic()
            streams.wait_for_more(n_clients // 4)
            after = ended + 0.2, ended + 0.2 + (ended - began)
            wait_until(lambda until=after[1]: time.monotonic() > until + 0.2)
            durations.append(1000 * (ended - began))
            stalls += streams.stalls_ms(began, ended)
            quiet += streams.stalls_ms(*after)
        status = admin.status()
    assert (status.boot_id, status.worker_pid) == (before.boot_id, before.worker_pid)
    assert status.upgrades == before.upgrades + n_upgrades
    assert status.worker_restarts == 0
    p50, p99 = statistics.median(stalls), numpy.percentile(stalls, 99)
    print(
        f"\n{n_clients} clients, {n_upgrades} upgrades, {streams.answers} answers, 0 errors: "
        f"an upgrade took {statistics.median(durations):.0f} ms; longest silence in a stream "
        f"across it p50 {p50:.0f} ms, p99 {p99:.0f} ms; without one in as long a time "
        f"p50 {numpy.median(quiet):.0f} ms, p99 {numpy.percentile(quiet, 99):.0f} ms"
    )


@pytest.mark.watchdog(300)
def test_streams_go_on_across_upgrades_and_say_what_they_would_have_said(start_daemon):
    daemon = start_daemon("--model", f"ember={WEIGHTS}")
    upgrade_under_streams(daemon, n_clients=8, n_upgrades=3)


@pytest.mark.extended
@pytest.mark.watchdog(1800)
def test_64_clients_stream_across_20_upgrades(start_daemon):
    more = ("--slots", str(MOST_SLOTS), "--user-connections", "200")
    daemon = start_daemon("--model", f"ember={WEIGHTS}", *more)
    upgrade_under_streams(daemon, n_clients=64, n_upgrades=20)


# --- what an upgrade finds open ---


def test_an_upgrade_keeps_ids_memory_models_and_what_is_counted(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client, daemon.connect() as admin:
        known = client.offer_model(model)
        picture = numpy.arange(300, dtype=numpy.uint8).reshape(10, 10, 3)
        kept = client.put(picture)
        question = [{"role": "user", "content": [kept, "look"]}]
        before = client.generate(known, question).text
        hidden = client.encode(known, ask("some words"), layer=-1, copy=False)
        words = bytes_of(hidden)
        admin.pin(known.id)
        was = admin.status()
        fds = {pid: descriptors(pid) for pid in (was.worker_pid, daemon.process.pid)}
        for _ in range(3):
            assert "has taken over" in admin.upgrade()
        status = admin.status()
        for name in ("boot_id", "worker_pid", "served", "failed", "arenas", "results"):
            assert getattr(status, name) == getattr(was, name), name
        assert [(m.model, m.state, m.pinned) for m in status.models] == [
            (m.model, m.state, m.pinned) for m in was.models
        ]
        assert status.upgrades == 3
        assert status.uptime_ms > was.uptime_ms
        assert client.generate(known, question).text == before
        assert bytes_of(hidden) == words
        for pid, n in fds.items():
            wait_until(lambda pid=pid, n=n: descriptors(pid) <= n, what="no more descriptors")
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_an_upgrade_in_the_middle_of_loading_queueing_and_cancelling(start_daemon, fake_model):
    daemon = start_daemon("--slots", "1")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.connect()) for _ in range(4)]
        admin = stack.enter_context(daemon.connect())
        slow = fake_model(script="!wait load 500", prefix="slow")
        quick = fake_model(prefix="quick")
        running = clients[0].generate(
            clients[0].offer_model(quick), ask("!wait 10 !count 80"), stream=True
        )
        first = next(running)
        waiting = [
            client.generate(client.offer_model(quick), ask(f"!count 5 of {n}"), stream=True)
            for n, client in enumerate(clients[1:3])
        ]
        loading = clients[3].generate(clients[3].offer_model(slow), ask("!count 3"), stream=True)
        threads = [threading.Thread(target=list, args=(s,)) for s in [*waiting, loading]]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(admin.jobs()) >= 4, what="queued jobs")
        for _ in range(3):
            admin.upgrade()
        # Text that came before and after the upgrades, joined: nothing is missing, nothing double.
        text = first + "".join(running)
        assert running.reply.text.endswith(" 80")
        assert text == running.reply.text
        assert text.split()[-80:] == [str(n) for n in range(1, 81)]
        for thread in threads:
            thread.join(60)
        assert "of 1" in waiting[1].reply.text
        assert loading.reply.text.rstrip().endswith("3")
        assert admin.status().upgrades == 3


def test_half_a_request_and_a_full_outbox_survive(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as admin, hostile.Peer(daemon.socket) as peer:
        known = admin.offer_model(model)
        admin.generate(known, ask("hello"))
        status = hostile.frame(messages.Status.TYPE, request_id=7)
        # Byte by byte around upgrades: in the header, after it, in the body of a large frame.
        peer.socket.sendall(status[:5])
        admin.upgrade()
        peer.socket.sendall(status[5:16])
        admin.upgrade()
        peer.socket.sendall(status[16:])
        assert isinstance(peer.answer(7), messages.StatusReport)
        large = messages.CountTokens(model="none", messages=hostile.chat("x" * 200_000))
        body = wire.encode(large, 8)
        peer.socket.sendall(body[:100_000])
        admin.upgrade()
        peer.socket.sendall(body[100_000:])
        assert peer.answer(8).code == "unknown_model"
        # Nobody reads: answers pile up in the socket and then in the broker.
        n = 2000
        asker = threading.Thread(
            target=lambda: peer.socket.sendall(
                b"".join(hostile.frame(messages.Status.TYPE, request_id=100 + i) for i in range(n))
            )
        )
        asker.start()
        time.sleep(0.2)
        for _ in range(2):
            admin.upgrade()
        for i in range(n):
            assert isinstance(peer.answer(100 + i), messages.StatusReport)
        asker.join()


def test_memory_is_granted_across_upgrades(start_daemon):
    daemon = start_daemon()
    with daemon.connect() as admin, hostile.Peer(daemon.socket) as peer:
        for i in range(5):
            peer.send(messages.ArenaAsk(nbytes=64 << 20), 10 + i)
        admin.upgrade()
        arenas = {peer.answer(10 + i).arena for i in range(5)}
        assert len(arenas) == 5
        assert admin.status().arenas == 5


def test_the_signal_upgrades_too_and_draining_goes_on(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client, daemon.connect() as admin, daemon.connect() as drainer:
        stream = client.generate(client.offer_model(model), ask("!wait 10 !count 80"), stream=True)
        next(stream)
        drained = threading.Thread(target=drainer.drain, args=(60,))
        drained.start()
        wait_until(lambda: admin.status().mode == "draining", what="draining")
        for n in (1, 2):
            daemon.process.send_signal(signal.SIGUSR2)
            daemon.process.send_signal(signal.SIGUSR2)
            wait_until(lambda n=n: admin.status().upgrades >= n, 30, "an upgrade")
        assert admin.status().mode == "draining"
        assert stream.reply.text.endswith(" 80")
        drained.join(60)
        wait_until(lambda: admin.status().mode == "drained", what="a drained service")
        admin.resume()
        assert client.generate(client.offer_model(model), ask("again")).text
    assert daemon.process.poll() is None


def test_a_stranger_connecting_all_the_while_is_served(start_daemon):
    daemon = start_daemon()
    ended = threading.Event()
    failures, n = [], [0]

    def connect():
        try:
            while not ended.is_set():
                with daemon.connect(20) as client:
                    client.ping()
                n[0] += 1
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=connect) for _ in range(3)]
    for thread in threads:
        thread.start()
    with daemon.connect() as admin:
        for _ in range(5):
            before = n[0]
            admin.upgrade()
            wait_until(lambda before=before: failures or n[0] > before, 30, "another connection")
        assert admin.status().upgrades == 5
    ended.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_silent_socket_that_never_said_hello_is_still_ended(start_daemon):
    daemon = start_daemon()
    with daemon.connect() as admin, socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(20)
        silent.connect(str(daemon.socket))
        admin.upgrade()
        while silent.recv(4096):
            pass
