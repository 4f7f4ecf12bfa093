"""What systemd hears of a real service: ready, alive, what it does, and that it ends."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from service import Daemon, is_alive, wait_until

WATCHDOG_S = 0.4


class Manager:
    """Plays systemd: a datagram socket, and all lines that came in, with their time."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.lines = []

    def environment(self):
        return {
            "NOTIFY_SOCKET": str(self.path),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
        }

    def listen(self):
        """Takes in what has come; all lines so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self.socket.recv(65536).decode()
                self.lines += [(time.monotonic(), line) for line in text.splitlines()]
        return [line for _, line in self.lines]

    def await_line(self, fits, since=None, limit_s=20.0):
        """Waits for a line that fits, after the first `since`; by default a further one."""
        before = len(self.listen()) if since is None else since
        wait_until(lambda: any(map(fits, self.listen()[before:])), limit_s, "a line that fits")

    def await_ping(self):
        self.await_line("WATCHDOG=1".__eq__)


@pytest.fixture
def manager(tmp_path):
    return Manager(tmp_path)


@pytest.fixture
def told(manager, tmp_path, monkeypatch):
    """A service that has been started by the manager, with its engine ready."""
    for name, value in manager.environment().items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "service"
    folder.mkdir()
    daemon = Daemon(folder)
    yield daemon.start()
    daemon.stop()


def test_status_follows_what_the_service_does(told, manager, model):
    wait_until(lambda: any(x.startswith("STATUS=GPU_OK on cpu ") for x in manager.listen()))
    assert manager.listen().count("READY=1") == 1
    before = len(manager.listen())
    with told.connect() as client:
        client.load(client.offer_model(model))
        manager.await_line(lambda x: x.startswith("STATUS=LOADED on") and ": 1 model," in x, before)


def test_a_stopped_loop_is_not_pinged_for_and_a_running_one_is(told, manager):
    manager.await_ping()
    os.kill(told.process.pid, signal.SIGSTOP)
    try:
        state = Path(f"/proc/{told.process.pid}/stat")
        wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
        manager.listen()
        heard = len(manager.lines)
        time.sleep(3 * WATCHDOG_S)  # systemd would have ended it after one
        manager.listen()
        assert manager.lines[heard:] == []
    finally:
        os.kill(told.process.pid, signal.SIGCONT)
    manager.await_ping()


def test_pings_go_on_while_a_lost_engine_is_replaced(told, manager):
    with told.connect() as client:
        worker = client.status().worker_pid
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_alive(worker))
    manager.await_ping()
    with told.connect() as client:
        wait_until(lambda: client.status().worker_state == "ready")
    manager.await_ping()


def test_a_reload_is_said_from_its_beginning_to_its_end(told, manager):
    before = len(manager.listen())
    told.process.send_signal(signal.SIGHUP)
    manager.await_line("READY=1".__eq__, before)
    aside = ("WATCHDOG=", "STATUS=")  # may come at any time
    lines = [line for line in manager.listen()[before:] if not line.startswith(aside)]
    begins = lines.index("RELOADING=1")
    assert lines[begins + 1].startswith("MONOTONIC_USEC=")
    assert lines[begins + 2] == "READY=1"


def test_stopping_is_said_with_the_time_it_may_take(told, manager):
    told.stop()
    lines = manager.listen()
    at = lines.index("STOPPING=1")
    name, _, value = lines[at + 1].partition("=")
    assert name == "EXTEND_TIMEOUT_USEC"
    assert int(value) > 1_500_000
    assert lines[at + 2].startswith("STATUS=") and ", stopping: " in lines[at + 2]


def test_an_upgrade_says_of_every_folder_that_it_may_take_its_time(
    manager, tmp_path, monkeypatch, fake_model
):
    for name, value in manager.environment().items():
        monkeypatch.setenv(name, value)
    folders = [fake_model() for _ in range(3)]
    models = [word for n, path in enumerate(folders) for word in ("--model", f"m{n}={path}")]
    (tmp_path / "service").mkdir()
    daemon = Daemon(tmp_path / "service", *models).start()
    try:
        before = len(manager.listen())
        with daemon.connect() as admin:
            admin.upgrade()
        manager.await_line("READY=1".__eq__, before)
        lines = manager.listen()[before:]
        lines = lines[: lines.index("READY=1")]
        needs = [at for at, line in enumerate(lines) if line.startswith("EXTEND_TIMEOUT_USEC=")]
        assert len(needs) == len(folders)
        assert all(lines[at - 1] == "WATCHDOG=1" for at in needs)
    finally:
        daemon.stop()
