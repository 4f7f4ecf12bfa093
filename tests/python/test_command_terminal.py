"""`hearth` on a terminal of its own: keys, colours, bars, and the terminal as it was before."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

from hearth import messages
from server import replies

JOB = messages.JobEntry(
    job=1, kind="generate", state="running", connection=1, client="ComfyUI", name="ember", tokens=5,
    running_ms=100,
)  # fmt: skip


class Terminal:
    """A process on a pseudo terminal of 100 columns."""

    def __init__(self, *words, **environment):
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 100)) if sys.version_info >= (3, 11) else None
        self.theirs, self.before = theirs, termios.tcgetattr(theirs)
        path = os.pathsep.join(part for part in sys.path if part)
        env = {**os.environ, "PYTHONPATH": path, "TERM": "xterm-256color", **environment}
        for name in ("NO_COLOR", "FORCE_COLOR"):
            if name not in environment:
                env.pop(name, None)
        command = [sys.executable, "-m", "hearth", *map(str, words)]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        self.seen = ""

    def wait_for(self, words, limit_s=30):
        deadline = time.monotonic() + limit_s
        while not re.search(words, self.seen):
            assert time.monotonic() < deadline, f"{words!r} did not come: {self.seen[-2000:]!r}"
            self._read()

    def _read(self):
        if select.select([self.ours], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                self.seen += os.read(self.ours, 65536).decode(errors="replace")

    def press(self, key):
        self.seen = ""
        os.write(self.ours, key.encode())

    def end(self):
        """The exit code, and whether the terminal is as it was."""
        deadline = time.monotonic() + 30
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self._read()
        self._read()
        return self.process.returncode, termios.tcgetattr(self.theirs) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(service):
    report = messages.StatusReport(
        server="hearthd 0.1.0", boot_id="b", uptime_ms=5000, worker_state="ready", health="warm",
        clients=[messages.ClientEntry(connection=1, client="ComfyUI", uid=7)],
    )  # fmt: skip
    service.on[messages.Status] = replies(report)
    service.on[messages.ListJobs] = replies(messages.JobList(jobs=[JOB]))
    opened = []

    def open_one(*words, **environment):
        opened.append(Terminal(*words, "--socket", service.path, **environment))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_top_follows_keys_and_leaves_the_terminal_as_it_was(terminal):
    top = terminal("top", "--interval", "0.2")
    top.wait_for("sorted by busy")
    assert "\x1b[?1049h" in top.seen, "a screen of its own"
    top.press("s")
    top.wait_for("sorted by wait")
    top.press(" ")
    top.wait_for("PAUSED")
    top.press("3")
    top.wait_for("every 3 s")
    top.press("q")
    assert top.end() == (0, True)
    assert "\x1b[?1049l" in top.seen


def test_top_goes_on_when_the_service_is_started_again(terminal, service):
    top = terminal("top", "--interval", "0.2")
    top.wait_for("sorted by busy")
    service.stop()
    top.wait_for("does not answer since")
    service.start()
    top.seen = ""
    top.wait_for("generate")
    top.process.send_signal(signal.SIGINT)
    assert top.end() == (130, True)


@pytest.mark.parametrize(
    "environment, has_colours",
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_colours_are_for_terminals_that_want_them(terminal, environment, has_colours):
    status = terminal("status", **environment)
    status.wait_for("requests")
    assert status.end()[0] == 0
    assert bool(re.search(r"\x1b\[[\d;]*3\dm", status.seen)) == has_colours


HOSTILE = "\x1b]0;caught\x07\x9b31m[red]x[/none] :fire:"


@pytest.mark.parametrize(
    "words",
    [["status", "--all"], ["clients"], ["jobs"], ["ps"], ["top", "--once"], ["explain"]],
    ids=" ".join,
)
def test_names_are_shown_as_they_are_and_command_no_terminal(terminal, service, command, words):
    report = messages.StatusReport(
        server=HOSTILE, boot_id="b", uptime_ms=5000, worker_state="ready",
        clients=[messages.ClientEntry(connection=77, client=HOSTILE, uid=7)],
        models=[messages.ModelEntry(model="m", name=HOSTILE, state="hot")],
        last_errors=[messages.ErrorEntry(at_ms=1, code="internal", what=HOSTILE)],
    )  # fmt: skip
    job = messages.JobEntry(job=1, kind="generate", state="running", client=HOSTILE, name=HOSTILE)
    record = messages.RequestRecord(
        request=1, at_ms=1, kind="generate", client=HOSTILE, name=HOSTILE
    )
    service.on[messages.Status] = replies(report)
    service.on[messages.ListJobs] = replies(messages.JobList(jobs=[job]))
    service.on[messages.ListRequests] = replies(messages.RequestList(requests=[record]))
    shown = terminal(*words, COLUMNS="300")
    assert shown.end()[0] == 0, shown.seen
    assert "?]0;caught" in shown.seen and "[red]x[/none] :fire:" in shown.seen
    assert "\x1b]" not in shown.seen and "\x9b" not in shown.seen
    code, out, _ = command(*words, "--socket", service.path)
    assert code == 0 and (words[0] == "top" or "[red]x[/none] :fire:" in out)


def test_a_load_has_a_bar_on_a_terminal(terminal, service):
    def loads(peer, frame, _request):
        for done in range(1, 6):
            event = messages.Progress(stage="loading", done=done << 30, total=5 << 30)
            peer.send(event, frame.request_id)
            time.sleep(0.15)
        loaded = messages.ModelLoaded(model="m", resident_bytes=5 << 30, load_ms=800.0)
        peer.send(loaded, frame.request_id)

    service.on[messages.LoadModel] = loads
    load = terminal("load", "ember")
    load.wait_for(r"/5\.4 GB|/5\.0 GiB")
    load.wait_for("loaded in 800 ms")
    assert load.end()[0] == 0
