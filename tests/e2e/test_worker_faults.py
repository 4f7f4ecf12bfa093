"""The engine fails in every way and phase: who waits is told rightly and soon, and it comes back.

The small form runs a part of the table with ten times the time; `-m extended` all of it, strictly.
"""

import os
import select
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy
import pytest
from service import wait_until

from hearth import errors

ANSWER_S, RESTART_S = 0.1, 2.0  # from the process's end to the answer, and to the next one
PATIENT, STRICT = 10.0, 1.0
LIMIT_S = 2.0  # of every phase, for a hang
PHASES = ("attach", "load", "preprocess", "vision", "prefill", "decode")
SILENCE = {f"HEARTH_FAULTS_{phase.upper()}": f"{LIMIT_S:g}s" for phase in PHASES}
SILENCE["HEARTH_FAULTS_CPU_FACTOR"] = "1"
PICTURE = numpy.zeros((32, 32, 3), numpy.uint8)


class Fault(NamedTuple):
    phase: str
    word: str  # of the fake family's script
    code: str = "worker_lost"
    retryable: bool = True
    small: bool = False  # belongs to the small form

    def __str__(self):
        return f"{self.phase}-{self.word}"


PLACES = {
    "attach": "attach",
    "load": "load",
    "preprocess": "prepare",
    "vision": "vision",
    "prefill": "prefill",
    "decode": "step 3 !count 9",
}
SMALL = {
    ("attach", "crash"),
    ("load", "exit"),
    ("load", "lost"),
    ("load", "hang"),
    ("preprocess", "segv"),
    ("vision", "hang"),
    ("prefill", "exit"),
    ("decode", "lost"),
    ("decode", "hang"),
}
ENDS = [
    Fault(phase, word, small=(phase, word) in SMALL)
    for phase in PLACES
    for word in ("crash", "segv", "exit", "hang", "lost")
    # Only what is on the device can lose it.
    if word != "lost" or phase not in ("attach", "preprocess")
]
GONE = [
    Fault(phase, "gone", "device_failed", False, phase == "decode")
    for phase in ("load", "vision", "prefill", "decode")
]


@pytest.fixture
def impatient(monkeypatch):
    """The limits of daemons that are started by this test. Nothing is sent a second time: what
    killed one engine would kill the next, and the answer be that of the second death."""
    monkeypatch.setattr("hearth.caller.Caller._repeatable", lambda _client, once: once())
    for name, value in SILENCE.items():
        monkeypatch.setenv(name, value)


def ask(words, *pictures):
    return [{"role": "user", "content": [*pictures, words]}]


class Death(threading.Thread):
    """Notes when a process ends."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self._fd = os.pidfd_open(pid)
        self.at = None
        self.start()

    def run(self):
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll()
        self.at = time.monotonic()
        os.close(self._fd)


def provoke(client, fake_model, fault):
    """Makes the engine fail so, and returns the error that the request ended with."""
    script = f"!{fault.word} {PLACES[fault.phase]}"
    at_load = fault.phase in ("attach", "load")
    folder = fake_model(script=script) if at_load else fake_model()
    with pytest.raises(errors.HearthError) as raised:
        offered = client.offer_model(folder)
        if fault.phase == "load":
            client.load(offered)
        client.generate(offered, ask(script, PICTURE), retry=False)
    return raised.value


def check(daemon, fake_model, fault, patience):
    """One row of the table. Returns how long the answer and the next process took."""
    with daemon.connect() as client, daemon.connect() as other:
        beside = other.offer_model(fake_model())
        assert other.generate(beside, ask("before")).text.endswith("before")
        death = Death(client.status().worker_pid)
        error = provoke(client, fake_model, fault)
        answered = time.monotonic()
        death.join(10)
        assert (error.code, error.retryable) == (fault.code, fault.retryable), error
        wait_until(lambda: client.status().worker_state == "ready", 60, "another engine")
        restarted = time.monotonic()
        assert other.generate(beside, ask("after")).text.endswith("after")
    answer_s, restart_s = answered - death.at, restarted - death.at
    print(f"{fault}: answered after {1e3 * answer_s:.0f} ms, ready after {1e3 * restart_s:.0f} ms")
    assert answer_s < patience * ANSWER_S
    assert restart_s < patience * RESTART_S
    if fault.word == "hang":
        assert f"no progress in {fault.phase} for {LIMIT_S:g}" in error.what
    return answer_s, restart_s


def check_all(start_daemon, fake_model, faults, patience):
    """Every fault with a model of its own, so that none is banned before it has failed."""
    daemon = start_daemon("--restart-budget", "0", "--restart-pause", "0.1")
    times = [check(daemon, fake_model, fault, patience) for fault in faults]
    answers, restarts = zip(*times, strict=True)
    print(f"{len(faults)} faults: the latest answer {1e3 * max(answers):.0f} ms after the end,")
    print(f"the latest engine {1e3 * max(restarts):.0f} ms after it")


@pytest.mark.watchdog(300)
def test_a_process_that_ends_is_told_at_once_and_replaced(impatient, start_daemon, fake_model):
    check_all(start_daemon, fake_model, [fault for fault in ENDS if fault.small], PATIENT)


@pytest.mark.extended
@pytest.mark.watchdog(900)
def test_a_process_that_ends_in_any_way_and_phase_is_told_at_once_and_replaced(
    impatient, start_daemon, fake_model
):
    check_all(start_daemon, fake_model, ENDS, STRICT)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, marks=[] if f.small else [pytest.mark.extended], id=str(f)) for f in GONE],
)
def test_a_device_that_is_gone_is_said_and_nobody_hangs(start_daemon, fake_model, fault):
    daemon = start_daemon()
    with daemon.connect() as client:
        error = provoke(client, fake_model, fault)
        assert (error.code, error.retryable) == (fault.code, fault.retryable), error
        wait_until(lambda: client.status().worker_state == "failed", 10, "giving up")
        with pytest.raises(errors.HearthError) as raised:
            client.generate(client.offer_model(fake_model()), ask("hello"), retry=False)
        assert raised.value.code == "device_failed"


def test_slow_work_that_moves_is_not_ended(impatient, start_daemon, fake_model):
    daemon = start_daemon()
    with daemon.connect() as client:
        pid = client.status().worker_pid
        offered = client.offer_model(fake_model(script=f"!wait load {int(1250 * LIMIT_S)}"))
        assert client.load(offered).load_ms > 1000 * LIMIT_S
        words = "!wait prepare 700 !wait prefill 700 !wait step 150 !count 9"
        began = time.monotonic()
        assert client.generate(offered, ask(words)).text.endswith(" 9")
        assert time.monotonic() - began > LIMIT_S
        assert client.status().worker_pid == pid


def test_a_poison_pill_is_refused_and_the_others_go_on(start_daemon, fake_model):
    daemon = start_daemon("--restart-pause", "0.1")
    with daemon.connect() as client, daemon.connect() as other:
        poison = client.offer_model(fake_model())
        beside = other.offer_model(fake_model())
        codes = []
        for _ in range(3):
            with pytest.raises(errors.HearthError) as raised:
                client.generate(poison, ask("!crash 2 !count 9"), retry=False)
            codes.append(raised.value.code)
            wait_until(lambda: other.status().worker_state == "ready", 60, "another engine")
        assert codes == ["worker_lost", "worker_lost", "quarantined"]
        for _ in range(3):  # its deaths are nobody else's
            assert other.generate(beside, ask("hello")).text.endswith("hello")


# --- a process that does not keep to the rules ---


@pytest.fixture
def start_stand_in(start_daemon, tmp_path, monkeypatch):
    """A daemon whose engine is stand_in.py."""

    def start(way):
        program = tmp_path / f"engine-{way}"
        stand_in = Path(__file__).with_name("stand_in.py")
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" {way} "$@"\n')
        program.chmod(0o700)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        monkeypatch.setenv("HEARTH_FAULTS_BEATS", "1s")
        return start_daemon("--worker", program, "--restart-budget", "0")

    return start


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("silent", "no sign of life"),
        ("garbage", "makes no sense"),
        ("header", "bytes that make no sense"),
    ],
)
def test_a_process_that_breaks_the_rules_is_replaced(start_stand_in, way, reason):
    daemon = start_stand_in(way)
    with daemon.connect() as client:
        wait_until(lambda: client.status().worker_restarts >= 1, 20, "its end")
    assert reason in daemon.log_tail()


def test_a_process_that_beats_is_left_alone(start_stand_in):
    daemon = start_stand_in("beats")
    with daemon.connect() as client:
        pid = client.status().worker_pid
        time.sleep(2.0)  # twice as long as it may be silent
        assert (client.status().worker_pid, client.status().worker_restarts) == (pid, 0)


# --- lack of memory ---


def states(client):
    return [model.state for model in client.status().models]


def test_a_request_that_lacks_memory_is_answered_when_an_idle_model_has_left(
    start_daemon, fake_model
):
    daemon = start_daemon()
    with daemon.connect() as client:
        idle = client.offer_model(fake_model())
        client.load(idle)
        wanted = client.offer_model(fake_model())
        assert client.generate(wanted, ask("!crowded prefill word")).text.endswith("word")
        stages = {model.model: model.state for model in client.status().models}
        assert (stages[idle.id], stages[wanted.id]) == ("cold", "hot")


@pytest.mark.parametrize("place", ["prefill", "step 3 !count 9"])
def test_a_request_that_never_finds_memory_fails_and_says_who_holds_it(
    start_daemon, fake_model, place
):
    daemon = start_daemon()
    with daemon.connect() as client:
        for _ in range(2):
            client.load(client.offer_model(fake_model()))
        wanted = client.offer_model(fake_model())
        with pytest.raises(errors.HearthError) as raised:
            client.generate(wanted, ask(f"!full {place}"), retry=False)
        assert raised.value.code == "out_of_memory" and not raised.value.retryable
        assert "Held: " in raised.value.what
        # One idle model leaves, and not all.
        wait_until(lambda: states(client).count("hot") == 2, 10, "room")
        assert client.status().worker_restarts == 0


def test_a_load_that_lacks_memory_is_tried_again_when_an_idle_model_has_left(
    start_daemon, fake_model
):
    daemon = start_daemon()
    with daemon.connect() as client:
        idle = client.offer_model(fake_model())
        client.load(idle)
        client.load(client.offer_model(fake_model(script="!crowded load")))
        client.load(idle)
        with pytest.raises(errors.HearthError) as raised:
            client.load(client.offer_model(fake_model(script="!full load")))
        assert raised.value.code == "out_of_memory"
