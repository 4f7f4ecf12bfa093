"""Clients, workers and daemons that are killed, at every point where it could hurt."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from process import python_that_is_there
from service import is_alive, is_given_back, settled, wait_until
from victim import POINTS

from hearth import errors

LIMIT_S = 10.0  # ten times what is promised
PICTURE = numpy.arange(64 * 64 * 3, dtype=numpy.uint8).reshape(64, 64, 3)


def ask(words):
    return [{"role": "user", "content": [PICTURE, words]}]


def victim(daemon, point, folder):
    """A client process that has reached `point`."""
    return python_that_is_there(Path(__file__).with_name("victim.py"), daemon.socket, point, folder)


# --- a client ---


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_client_leaves_nothing(daemon, model, point):
    with daemon.connect() as watcher:
        offered = watcher.offer_model(model)
        watcher.load(offered)
        before = settled(watcher)
        with victim(daemon, point, model) as killed:
            during = watcher.status()
            if point != "before_hello":
                assert killed.pid in {client.pid for client in during.clients}
                assert during.arenas == 1
            killed.kill()
            killed.wait()
            wait_until(lambda: is_given_back(watcher, before), LIMIT_S, "giving back")
        assert [client.pid for client in watcher.status().clients] == [os.getpid()]
        assert watcher.generate(offered, ask("still here")).text.endswith("still here")


def test_clients_killed_at_random_moments_leave_nothing(daemon, model):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with daemon.connect() as watcher:
        offered = watcher.offer_model(model)
        watcher.load(offered)
        before = settled(watcher)
        for _ in range(12):
            command = [sys.executable, Path(__file__).with_name("victim.py"), daemon.socket,
                       rng.choice(POINTS[1:]), model]  # fmt: skip
            process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.1, 0.8))
            process.kill()
            process.wait()
        wait_until(lambda: is_given_back(watcher, before), LIMIT_S, "giving back")
        assert len(watcher.status().clients) == 1


def test_a_killed_client_is_noticed_although_its_child_holds_the_socket(daemon, model):
    with daemon.connect() as watcher:
        offered = watcher.offer_model(model)
        watcher.load(offered)
        before = settled(watcher)
        program = (
            "import sys, os, time, hearth.client, victim\n"
            "client = victim.holding_a_slot(*sys.argv[1:])\n"
            "fd = os.dup(client._connection.fileno())\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    print(os.getpid(), flush=True)\n"
            "time.sleep(600)\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(daemon.socket), str(model)],
            stdout=subprocess.PIPE,
            env=environment,
        )
        child = int(process.stdout.readline())
        try:
            assert watcher.status().arenas == 1
            process.kill()
            process.wait()
            wait_until(lambda: is_given_back(watcher, before), LIMIT_S, "giving back")
            assert is_alive(child)
        finally:
            os.kill(child, signal.SIGKILL)
            process.stdout.close()


def test_other_clients_do_not_notice_a_death(daemon, model):
    with daemon.connect() as client:
        offered = client.offer_model(model)
        stream = client.generate(offered, ask("!wait 10 !count 100"), True, max_tokens=4000)
        with victim(daemon, "streaming", model) as killed:
            next(stream)
            killed.kill()
        assert stream.reply.text.endswith(" 100")


# --- the worker ---


def test_a_killed_worker_is_a_retryable_error_and_a_new_one_answers(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client:
        offered = client.offer_model(model)
        words = client.generate(offered, ask("hello")).text
        first = client.status().worker_pid
        streams = [
            client.generate(offered, ask("!wait 10 !count 900"), True, retry=False)
            for _ in range(3)
        ]
        next(streams[0])
        os.kill(first, signal.SIGKILL)
        began = time.monotonic()
        for stream in streams:
            with pytest.raises(errors.WorkerLost) as raised:
                for _ in stream:
                    pass
            assert raised.value.retryable
        assert time.monotonic() - began < LIMIT_S
        assert client.generate(offered, ask("hello")).text == words, "same arena, same model"
        status = client.status()
        assert status.worker_restarts == 1 and status.worker_pid not in (0, first)
        assert not is_alive(first)


def test_an_engine_that_crashes_takes_nobody_s_connection_along(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client, daemon.connect() as other:
        offered = client.offer_model(model)
        beside = other.generate(other.offer_model(model), ask("!wait 10 !count 900"), True)
        next(beside)
        with pytest.raises(errors.WorkerLost):
            client.generate(offered, ask("!crash"), retry=False)
        with pytest.raises(errors.WorkerLost):
            _ = beside.reply
        connection = other.welcome.connection
        assert other.generate(other.offer_model(model), ask("hello")).text.endswith("hello")
        assert other.welcome.connection == connection


def test_a_worker_that_is_killed_while_loading_is_replaced(start_daemon, fake_model):
    daemon = start_daemon()
    slow, quick = fake_model(script="!wait load 60000"), fake_model()
    with daemon.connect() as client:
        stream = client.generate(client.offer_model(slow), ask("hello"), True, retry=False)
        wait_until(lambda: any(model.state == "loading" for model in client.models()))
        os.kill(client.status().worker_pid, signal.SIGKILL)
        with pytest.raises(errors.WorkerLost):
            _ = stream.reply
        assert client.generate(client.offer_model(quick), ask("hello")).text.endswith("hello")


# --- the daemon ---


def test_a_killed_daemon_ends_requests_and_its_worker(start_daemon, model):
    daemon = start_daemon()
    client = daemon.connect()
    offered = client.offer_model(model)
    stream = client.generate(offered, ask("!wait 10 !count 900"), True)
    next(stream)
    worker = client.status().worker_pid
    daemon.kill()
    began = time.monotonic()
    with pytest.raises(errors.NotReachable) as raised:
        _ = stream.reply
    assert time.monotonic() - began < LIMIT_S and raised.value.retryable
    wait_until(lambda: not is_alive(worker), LIMIT_S, "the worker's end")
    with pytest.raises(errors.NotReachable, match="hearthd --socket"):
        client.ping()


def test_a_hanging_worker_goes_with_its_daemon(start_daemon, model):
    daemon = start_daemon()
    client = daemon.connect()
    stream = client.generate(client.offer_model(model), ask("!hang"), True, retry=False)
    wait_until(lambda: client.status().running == 1)
    worker = client.status().worker_pid
    daemon.kill()
    wait_until(lambda: not is_alive(worker), LIMIT_S, "the worker's end")
    with pytest.raises(errors.NotReachable):
        _ = stream.reply


def test_a_client_returns_to_a_daemon_that_was_started_again(start_daemon, model):
    daemon = start_daemon()
    client = daemon.connect()
    offered = client.offer_model(model)
    words = client.generate(offered, ask("hello")).text
    boot_id, name = client.welcome.boot_id, offered.id
    daemon.kill()
    daemon.start()
    assert client.generate(offered, ask("hello")).text == words
    assert client.welcome.boot_id != boot_id and offered.id == name


# --- an orderly end ---


def test_sigterm_ends_daemon_and_worker_cleanly(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client:
        client.generate(client.offer_model(model), ask("hello"))
        worker = client.status().worker_pid
        assert daemon.stop() == 0
        assert not is_alive(worker)
        assert not daemon.socket.exists()
        with pytest.raises(errors.NotReachable):
            client.ping()


def test_sigterm_lets_short_requests_finish_and_refuses_new_ones(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client:
        offered = client.offer_model(model)
        short = client.generate(offered, ask("!wait 5 !count 20"), True)
        endless = client.generate(offered, ask("!wait 10 !count 2000"), True, max_tokens=8000)
        next(short), next(endless)
        daemon.process.send_signal(signal.SIGTERM)
        assert short.reply.text.endswith(" 20")
        with pytest.raises(errors.HearthError) as raised:
            _ = endless.reply
        assert raised.value.retryable
        assert daemon.process.wait(20) == 0


def test_a_second_daemon_on_the_same_socket_is_refused(start_daemon, model):
    daemon = start_daemon()
    second = daemon.spawn()
    assert second.wait(20) != 0
    assert str(daemon.socket) in daemon.log_tail()
    with daemon.connect() as client:
        assert client.generate(client.offer_model(model), ask("hello")).text.endswith("hello")
