"""A real hearthd with its real worker, on a socket of its own."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import hearth.client

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("HEARTH_BIN", ROOT / "build/release/bin"))
START_LIMIT_S = 60
LOG_TAIL_LINES = 80


def wait_until(condition, limit_s=10.0, what="something"):
    """Polls, so that a test is as fast as what it waits for. Returns the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"{what} did not happen within {limit_s} s"
        time.sleep(0.005)
    return time.monotonic() - began


def is_alive(pid):
    """Whether the process runs; a zombie does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] != "Z"
    return False


class Daemon:
    """One hearthd process and what is known of it. Its hearth.toml lies beside its socket."""

    def __init__(self, folder, *arguments):
        self.socket = Path(folder) / "hearth.sock"
        self.log = Path(folder) / "hearthd.log"
        self.arguments = arguments
        self.environment = {}
        self.program = BIN / "hearthd"
        self.process = None

    def spawn(self):
        """Starts the process and does not wait."""
        command = [
            self.program,
            "--socket",
            self.socket,
            "--no-ember",
            "--fake",
            *self.arguments,
        ]
        with self.log.open("ab") as log:
            environment = {
                **os.environ,
                "XDG_CACHE_HOME": str(self.socket.parent),
                "CONFIGURATION_DIRECTORY": str(self.socket.parent),
                **self.environment,
            }
            return subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=log, env=environment
            )

    def start(self):
        """Starts it and waits until its worker is ready."""
        self.process = self.spawn()
        wait_until(self._is_ready, START_LIMIT_S, "a ready worker")
        return self

    def _is_ready(self):
        assert self.process.poll() is None, f"hearthd ended with {self.process.returncode}"
        with contextlib.suppress(hearth.client.NotReachable), self.connect() as client:
            return client.status().worker_state == "ready"
        return False

    def connect(self, timeout=5.0):
        """A client. Patient: time limits of connecting are the client's own tests' business."""
        return hearth.client.connect(self.socket, timeout)

    def kill(self):
        """As if the machine had done it."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks it to end; returns the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def log_tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])


def holdings(status):
    """What clients and requests take of the service."""
    names = ("arenas", "arena_bytes", "running", "queued", "descriptors")
    return {name: getattr(status, name) for name in names}


def is_given_back(client, before):
    """Whether no more is held than then. Less is fine: descriptors are closed off the loop, so some
    of an earlier client's may still have counted."""
    now = holdings(client.status())
    return all(now[name] <= before[name] for name in before)


def settled(client):
    """Waits until no request is open and returns what the service holds then."""
    wait_until(lambda: client.status().running == 0 and client.status().queued == 0)
    return holdings(client.status())
