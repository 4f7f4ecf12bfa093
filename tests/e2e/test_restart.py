"""The service stops and another takes its place: what happens to those who are connected, those who
connect in between, and those who have asked for something."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from hostile import Peer, chat
from service import BIN, Daemon, wait_until

import hearth.client
from hearth import messages

N_CLIENTS = 20
N_RESTARTS = 3
PATIENCE_S = 60.0  # of a client that connects while nobody serves; shared machines are slow


class Activated(Daemon):
    """hearthd on a socket that somebody else listens on, as systemd does."""

    def __init__(self, folder, *arguments):
        super().__init__(folder, *arguments)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.socket))
        self.listening.listen(1024)

    def spawn(self):
        # The shell knows its own process id, which becomes the daemon's, and passes descriptor 3.
        script = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&0 0</dev/null'
        command = [BIN / "hearthd", "--no-ember", "--fake", *self.arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", *map(str, command)],
                stdin=self.listening,
                stdout=log,
                stderr=log,
            )

    def connect(self, timeout=PATIENCE_S):
        return super().connect(timeout)


@pytest.fixture
def start_activated(request, tmp_path):
    """start_activated(*arguments): as start_daemon, but the test holds the socket."""
    started = []

    def start(*arguments):
        daemon = Activated(tmp_path, *arguments)
        started.append(daemon)
        request.node.daemons = started
        return daemon.start()

    yield start
    for daemon in started:
        daemon.stop()
        daemon.listening.close()


def ask_for(model, words):
    return messages.Generate(model=model, messages=chat(words), temperature=0.0, max_tokens=2000)


class User(threading.Thread):
    """Connects, asks, leaves, again and again, and writes down what went wrong."""

    def __init__(self, daemon, model, done):
        super().__init__()
        self.service = daemon
        self.model = model
        self.done = done
        self.rounds = 0
        self.retried = 0
        self.failure = None

    def run(self):
        try:
            while not self.done.is_set():
                self.one_round()
                self.rounds += 1
        except Exception as error:  # told to the test, which fails
            self.failure = error

    def one_round(self):
        with self.service.connect() as client:  # whatever this raises is a failure
            for _ in range(3):
                self.insist(client.ping)
            turn = [{"role": "user", "content": "say it"}]
            model = self.insist(lambda: client.offer_model(self.model))
            reply = self.insist(lambda: client.generate(model, turn, temperature=0.0))
            assert reply.text == "say it"

    def insist(self, call):
        """Calls until it succeeds; only what may be tried again is."""
        while True:
            try:
                return call()
            except hearth.client.HearthError as error:
                if not error.retryable:
                    raise
                self.retried += 1


@pytest.mark.watchdog(240)
def test_nobody_fails_to_connect_while_the_service_restarts(start_activated, model):
    daemon = start_activated()
    done = threading.Event()
    users = [User(daemon, model, done) for _ in range(N_CLIENTS)]
    for user in users:
        user.start()

    def everybody_goes_on():
        before = [user.rounds for user in users]
        wait_until(
            lambda: (
                any(user.failure for user in users)
                or all(user.rounds >= n + 2 for user, n in zip(users, before, strict=True))
            ),
            60,
            "two rounds of every client",
        )
        assert [user.failure for user in users if user.failure] == []

    try:
        everybody_goes_on()
        for _ in range(N_RESTARTS):
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.wait(20) == 0
            daemon.process = daemon.spawn()
            everybody_goes_on()
    finally:
        done.set()
        for user in users:
            user.join()
    assert [user.failure for user in users if user.failure] == []
    rounds, retried = (sum(getattr(user, name) for user in users) for name in ("rounds", "retried"))
    print(f"{rounds} rounds, {retried} calls made again")


def test_who_connects_while_nobody_serves_is_served_by_the_next(start_activated):
    daemon = start_activated()
    assert daemon.stop() == 0
    connected = []
    waiting = [
        threading.Thread(target=lambda: connected.append(daemon.connect())) for _ in range(5)
    ]
    for thread in waiting:
        thread.start()
    wait_until(lambda: backlog(daemon.listening) >= 5, what="five connections in the backlog")
    daemon.start()
    for thread in waiting:
        thread.join()
    assert len(connected) == 5
    for client in connected:
        client.ping()
        client.close()


def test_a_socket_that_another_program_serves_is_left_alone(tmp_path):
    path = tmp_path / "taken.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()
        ran = subprocess.run(
            [BIN / "hearthd", "--socket", path, "--no-ember", "--fake"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ran.returncode == 1
        assert f"Another program listens at {path}" in ran.stderr
        assert path.exists()


def backlog(listening):
    """How many connections wait to be accepted."""
    path = str(listening.getsockname())
    lines = Path("/proc/net/unix").read_text().splitlines()
    # Connections that wait carry the listener's path, beside the listener itself.
    return sum(line.endswith(path) for line in lines) - 1


def test_open_requests_end_well_and_new_ones_are_refused_while_it_drains(start_daemon, model):
    daemon = start_daemon("--drain", "30")
    with Peer(daemon.socket) as peer:
        offered = peer.offer(model)
        running = peer.send(ask_for(offered, "!wait 20 !count 100"))
        wait_for_token(peer)
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not daemon.socket.exists(), what="the end of the socket")
        refused = peer.ask(ask_for(offered, "too late"))
        assert refused.code == "shutting_down" and refused.retryable
        assert peer.answer(running).text.endswith(" 100")
        assert peer.farewell() is None
    assert daemon.process.wait(20) == 0


def wait_for_token(peer):
    while not any(isinstance(event, messages.Token) for _, event in peer.events):
        which, message = peer.receive()
        peer.events.append((which, message))


def test_the_drain_ends_when_its_time_is_over(start_daemon, model):
    daemon = start_daemon("--drain", "0.3")
    with Peer(daemon.socket) as peer:
        offered = peer.offer(model)
        running = peer.send(ask_for(offered, "!wait 50 !count 2000"))
        wait_for_token(peer)
        daemon.process.send_signal(signal.SIGTERM)
        error = peer.answer(running)
        assert error.code == "shutting_down" and error.retryable
    assert daemon.process.wait(20) == 0


def test_who_is_connected_but_not_greeted_when_it_stops_is_greeted_and_told(start_daemon, model):
    daemon = start_daemon("--drain", "30")
    with Peer(daemon.socket) as busy, Peer(daemon.socket, greet=False) as late:
        running = busy.send(ask_for(busy.offer(model), "!wait 20 !count 100"))
        wait_for_token(busy)
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not daemon.socket.exists(), what="the end of the socket")
        assert isinstance(late.greet(), messages.Welcome)
        _, goaway = late.receive()
        assert isinstance(goaway, messages.Goaway) and 0 < goaway.drain_ms <= 30_000
        assert late.ask(messages.Status()).running == 1
        assert busy.answer(running).text.endswith(" 100")
    assert daemon.process.wait(20) == 0


@pytest.mark.parametrize("says_hello", [True, False])
def test_idle_and_silent_connections_do_not_hold_up_the_end(start_daemon, says_hello):
    daemon = start_daemon("--drain", "1")
    with Peer(daemon.socket, greet=says_hello):
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(20) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="the test's own user id must differ from the other's")
def test_a_user_who_is_not_named_is_refused(start_daemon):
    daemon = start_daemon("--allow-uid", "0")
    with Peer(daemon.socket) as peer:
        assert peer.is_served()
    daemon.stop()
    other = Daemon(daemon.socket.parent, "--allow-uid", "12345")
    other.process = other.spawn()
    try:
        wait_until(lambda: can_connect(other.socket), what="a socket")
        with Peer(other.socket, greet=False) as peer:
            error = peer.farewell()
            assert "User 0" in error.what and "--allow-uid" in error.hint
    finally:
        assert other.stop() == 0


def can_connect(path):
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as dialled:
        dialled.connect(str(path))
        return True
    return False
