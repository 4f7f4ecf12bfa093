"""A worker that is killed at random moments while clients generate and encode."""

import contextlib
import os
import random
import signal
import threading
import time

import pytest
from hostile import Peer, chat
from ledger import read_books
from service import is_alive, wait_until

from hearth import messages

CLIENTS = 4
PROMISED_S = 1.0
ALLOWED_S = 10 * PROMISED_S
RETRYABLE = {"worker_lost", "busy"}
WORDS = ("hello", "!count 30", "!wait 1 !count 100", "!wait prepare 5", "!wait prefill 5 x",
         "!wait begin 5", "!random 40")  # fmt: skip


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


class Patient(threading.Thread):
    """Sends requests, several at once, without ever repeating one; notes how each ended.

    Its models are new ones after every loss: two deaths in a row under one model and the service
    would rightly refuse it.
    """

    def __init__(self, daemon, make_model, seed):
        super().__init__()
        self.ends = []  # (when, what)
        self.failures = []
        self.killed_at = 0.0
        self.waits_s = []  # from a kill to the ends it caused
        self._daemon, self._make_model, self._rng = daemon, make_model, random.Random(seed)
        self._has_ended = threading.Event()

    def run(self):
        try:
            while not self._has_ended.is_set():
                with Peer(self._daemon.socket) as peer:
                    self._work(peer, self._make_model())
        except Exception as error:
            self.failures.append(repr(error))

    def stop(self):
        self._has_ended.set()

    def _work(self, peer, folder):
        """Until the worker is lost."""
        files = [os.open(folder / "config.json", os.O_RDONLY)]
        offer = messages.OfferModel(name="killed", labels=["config.json"])
        try:
            offered = self._end(peer.ask(offer, files))
        finally:
            os.close(files[0])
        arena = peer.arena()
        while isinstance(offered, messages.ModelOffered) and not self._has_ended.is_set():
            asked = [
                peer.send(self._request(offered.model, arena))
                for _ in range(self._rng.randint(1, 3))
            ]
            ends = [self._end(peer.answer(request_id)) for request_id in asked]
            if any(isinstance(end, messages.Error) for end in ends):
                return

    def _request(self, model, arena):
        words = chat(arena.tensor((32, 32, 3)), self._rng.choice(WORDS))
        if self._rng.random() < 0.3:
            return messages.Encode(model=model, messages=words, layers=[0, -1])
        return messages.Generate(model=model, messages=words)

    def _end(self, message):
        if isinstance(message, messages.Error):
            if message.code not in RETRYABLE or not message.retryable:
                self.failures.append(f"{message.code}: {message.what}")
            self.waits_s.append(time.monotonic() - self.killed_at)
        self.ends.append(type(message).__name__)
        return message


@contextlib.contextmanager
def working(patients):
    for patient in patients:
        patient.start()
    try:
        yield
    finally:
        for patient in patients:
            patient.stop()
        for patient in patients:
            patient.join()


def kill_one_worker(watcher, patients, rng, last_pid):
    """Somewhere in the life of a new worker; its end must reach everybody."""
    wait_until(lambda: watcher.status().worker_state == "ready", 30, "a new worker")
    pid = watcher.status().worker_pid
    assert pid != last_pid
    time.sleep(rng.choice([0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.1)]))
    now = time.monotonic()
    for patient in patients:
        patient.killed_at = now
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: watcher.status().worker_pid != pid, ALLOWED_S, "noticing the death")
    return pid


@pytest.mark.watchdog(1800)
@pytest.mark.parametrize("kills", [50, pytest.param(1000, marks=pytest.mark.extended)])
def test_every_request_ends_in_a_result_or_a_retryable_error(start_daemon, fake_model, kills):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    daemon = start_daemon("--restart-pause", "0.1", "--restart-budget", "0")
    lock = threading.Lock()

    def make_model():
        with lock:
            return fake_model()

    patients = [Patient(daemon, make_model, seed + number) for number in range(CLIENTS)]
    began = time.monotonic()
    with daemon.connect() as watcher:
        with working(patients):
            pid = 0
            for _ in range(kills):
                pid = kill_one_worker(watcher, patients, rng, pid)
            wait_until(lambda: watcher.status().worker_state == "ready", 30, "the last worker")
        assert watcher.status().worker_restarts == kills
    waits_s = [wait for patient in patients for wait in patient.waits_s]
    ends = [end for patient in patients for end in patient.ends]
    lost = ends.count("Error")
    print(f"{kills} kills in {time.monotonic() - began:.0f} s: {len(ends)} ends, {lost} of them")
    print(f"lost; from kill to end p50 {1000 * percentile(waits_s, 0.5):.0f} ms,")
    print(f"p99 {1000 * percentile(waits_s, 0.99):.0f} ms, longest {1000 * max(waits_s):.0f} ms")
    assert [failure for patient in patients for failure in patient.failures] == []
    assert lost >= kills / 2 and len(ends) > lost
    assert percentile(waits_s, 0.99) < ALLOWED_S
    assert not is_alive(pid)
    wait_until(lambda: nothing_is_held(daemon), ALLOWED_S, "giving everything back")


def nothing_is_held(daemon):
    books = read_books(daemon)
    held = ("arenas", "arena_bytes", "results", "result_bytes", "running", "queued")
    return books["clients"] == 1 and not any(books[name] for name in held)
