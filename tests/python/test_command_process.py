"""up, down, selftest and bench: commands that start processes or ask a lot."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hearth import messages
from hearth.cli import background, bench, selftest, user_units
from server import fails, generated, replies, wait_until

# A hearthd that is made of our fake service: ready at once, or as its arguments say.
PROGRAM = """
    #!{python}
    import os, signal, sys, threading
    sys.path[:0] = {path!r}
    from hearth import messages
    from server import Server, replies
    words = sys.argv[1:]
    if "--dies" in words:
        print("no such device: /dev/nonsense", file=sys.stderr)
        sys.exit(7)
    with open("/proc/self/comm", "w") as name:
        name.write("hearthd")
    folder = os.path.dirname(words[words.index("--socket") + 1])
    server = Server(folder)
    state = "failed" if "--broken" in words else "starting" if "--slow" in words else "ready"
    report = messages.StatusReport(
        server="fake hearthd", boot_id="b", uptime_ms=1, worker_state=state,
        health_reasons=["the GPU is gone"] if "--broken" in words else [],
    )
    server.on[messages.Status] = replies(report)
    def drain(peer, frame, request):
        peer.send(messages.Done(text="drained"), frame.request_id)
        if request.then == "stop" and "--stays" not in words:
            ended.set()
    server.on[messages.Drain] = drain
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server.start()
    while not ended.wait(0.05):
        pass
    server.stop()
"""


@pytest.fixture
def program(tmp_path):
    here = os.path.dirname(__file__)
    path = [here, *[word for word in sys.path if word.endswith("client_py")]]
    made = tmp_path / "hearthd"
    made.write_text(textwrap.dedent(PROGRAM).format(python=sys.executable, path=path).lstrip())
    made.chmod(made.stat().st_mode | stat.S_IXUSR)
    return made


@pytest.fixture
def home(tmp_path, monkeypatch, watchdog):
    """A state folder of its own and no systemd; whatever was started is ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(user_units, "are_installed", lambda: False)
    started = []
    popen = subprocess.Popen

    def keep(*words, **more):
        started.append(popen(*words, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", keep)
    yield tmp_path
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def reaper(monkeypatch):
    """The test is the parent here, so what has ended must be waited for before it is gone."""
    gone = background.wait_gone

    def wait(pid, limit_s):
        with contextlib.suppress(ChildProcessError):
            wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, limit_s)
        return gone(pid, limit_s)

    monkeypatch.setattr(background, "wait_gone", wait)


def test_up_starts_it_once_and_down_ends_it(command, home, program, reaper):
    socket = home / "run" / "hearth.sock"
    code, out, err = command("up", "--program", program, "--socket", socket)
    assert code == 0, err
    assert "fake hearthd is ready" in out and str(socket) in out
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    code, out, _ = command("up", "--json", "--program", program, "--socket", socket)
    assert code == 0 and json.loads(out)["started"] is False
    pid = background.running(background.place_of(str(socket)))
    assert os.getsid(pid) == pid, "it has left this terminal"
    code, out, _ = command("down", "--socket", socket)
    assert code == 0 and f"process {pid}, has ended" in out
    code, out, _ = command("down", "--socket", socket)
    assert code == 0 and "No service runs" in out


def test_a_service_that_ends_at_once_is_quoted(command, home, program):
    code, _, err = command(
        "up", "--program", program, "--socket", home / "run/h.sock", "--", "--dies"
    )
    assert code == 1
    assert "ended with exit code 7" in err and "no such device: /dev/nonsense" in err


def test_an_engine_that_does_not_start_is_exit_code_5(command, home, program):
    words = ("up", "--program", program, "--socket", home / "run/hearth.sock", "--", "--broken")
    code, _, err = command(*words)
    assert code == 5 and "The engine does not start: the GPU is gone." in err
    assert "`hearth down` ends it" in err


def test_only_what_this_start_wrote_is_quoted_from_the_log(command, home, program):
    words = ("up", "--program", program, "--socket", home / "run/h.sock")
    place = background.place_of(str(home / "run/h.sock"))
    place.log.parent.mkdir(parents=True)
    place.log.write_text("of an earlier start\n")
    code, _, err = command(*words, "--", "--dies")
    assert code == 1 and "no such device" in err and "of an earlier start" not in err


def test_an_engine_that_takes_too_long_is_exit_code_6(command, home, program):
    words = ("--program", program, "--socket", home / "run/hearth.sock", "--timeout", "5")
    code, _, err = command("up", *words, "--", "--slow")
    assert code == 6 and "the engine is starting" in err


def test_what_runs_already_is_waited_for_as_what_is_started(command, home, service):
    states = ["starting", "ready"]

    def status(peer, frame, request):
        state = states.pop(0) if len(states) > 1 else states[0]
        report = messages.StatusReport(
            server="h", boot_id="b", uptime_ms=1, worker_state=state, health_reasons=["it broke"]
        )
        peer.send(report, frame.request_id)

    service.on[messages.Status] = status
    code, out, _ = command("up", "--json", "--socket", service.path)
    told = json.loads(out)
    assert code == 0 and not told["started"] and told["status"]["worker_state"] == "ready"
    states[:] = ["failed"]
    code, _, err = command("up", "--socket", service.path)
    assert code == 5 and "it broke" in err
    states[:] = ["starting"]
    assert command("up", "--socket", service.path, "--timeout", "0.1")[0] == 6


@pytest.mark.parametrize(
    "mode, hint",
    [("draining", "resume"), ("drained", "resume"), ("suspended", "resume"), ("stopping", "up")],
)
def test_a_service_that_takes_no_requests_is_not_up(command, home, service, mode, hint):
    state = "stopped" if mode == "suspended" else "ready"
    report = messages.StatusReport(
        server="h", boot_id="b", uptime_ms=1, worker_state=state, mode=mode
    )
    service.on[messages.Status] = replies(report)
    code, _, err = command("up", "--socket", service.path)
    assert code == 1 and f"it is {mode}" in err and f"`hearth {hint}`" in err


def test_of_two_ups_at_once_the_slower_one_finds_the_others_service(
    command, home, service, program, monkeypatch
):
    from hearth import client, errors

    report = messages.StatusReport(server="h", boot_id="b", uptime_ms=1, worker_state="ready")
    service.on[messages.Status] = replies(report)
    connect, tries = client.connect, []

    def late(socket):
        tries.append(socket)
        if len(tries) == 1:
            raise errors.NotReachable("not there yet")
        return connect(socket)

    start, started = background.start, []

    def keep(*words):
        started.append(start(*words))
        started[0].wait()
        return started[0]

    monkeypatch.setattr(background, "start", keep)
    monkeypatch.setattr(client, "connect", late)
    words = ("up", "--json", "--program", program, "--socket", service.path, "--", "--dies")
    code, out, err = command(*words)
    assert code == 0, err
    assert json.loads(out)["started"] is False
    assert not background.place_of(str(service.path)).note.exists(), "it is not ours"


def test_a_program_that_is_missing_is_looked_for_everywhere(command, home, monkeypatch):
    code, _, err = command("up", "--program", home / "none", "--socket", home / "h.sock")
    assert code == 1 and "none" in err and "--program" in err


def test_down_waits_no_longer_than_allowed_and_kills_nobody(command, home, program, monkeypatch):
    from hearth.cli import down

    monkeypatch.setattr(down, "_SPARE_S", 0.2)
    socket = home / "run/hearth.sock"
    assert command("up", "--program", program, "--socket", socket, "--", "--stays")[0] == 0
    code, _, err = command("down", "--socket", socket, "--timeout", "0.1")
    assert code == 6 and "still there" in err
    pid = background.running(background.place_of(str(socket)))
    assert background.is_ours(pid)
    os.kill(pid, signal.SIGTERM)


def test_what_is_no_hearthd_is_never_ended(command, home, service, monkeypatch):
    code, _, err = command("down", "--socket", service.path)
    assert code == 4 and "no hearthd of yours" in err
    assert not service.peer.messages_of(messages.Drain) if service.peers else True


def test_a_note_of_another_process_with_that_id_is_not_believed(home):
    place = background.place_of(str(home / "h.sock"))
    place.note.parent.mkdir(parents=True)
    place.note.write_text(json.dumps({"pid": os.getpid(), "started": "1", "socket": place.socket}))
    assert background.running(place) is None
    for odd in ("{", "[]", "5", '{"pid": [1], "started": [1]}', '{"pid": null, "started": "1"}'):
        place.note.write_text(odd)
        assert background.running(place) is None


def test_systemd_is_used_where_its_units_are_installed(command, home, monkeypatch):
    done = []
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    monkeypatch.setattr(user_units, "are_installed", lambda: True)
    monkeypatch.setattr(user_units, "is_active", lambda: True)
    monkeypatch.setattr(user_units, "is_running", lambda: False)
    monkeypatch.setattr(user_units, "start", lambda: done.append("start"))
    monkeypatch.setattr(user_units, "stop", lambda: done.append("stop"))
    report = messages.StatusReport(server="h", boot_id="b", uptime_ms=1, worker_state="ready")
    monkeypatch.setattr(background, "wait_ready", lambda *_: report)
    code, out, _ = command("up", "--json")
    assert code == 0 and json.loads(out)["by"] == "systemd"
    code, out, _ = command("down")
    assert code == 0 and "systemd" in out and done == ["start", "stop"]
    monkeypatch.setenv("HEARTH_SOCKET", str(home / "own.sock"))
    code, out, _ = command("down")
    assert code == 0 and "own.sock" in out and done == ["start", "stop"]
    monkeypatch.setattr(background, "find_program", lambda _: home / "hearthd")
    background.state_folder().mkdir(parents=True)
    monkeypatch.setattr(background, "start", lambda *_: subprocess.Popen(["sleep", "60"]))
    code, out, _ = command("up", "--json")
    assert json.loads(out)["by"] == "hearth" and done == ["start", "stop"]


@pytest.fixture
def units(home, service, monkeypatch):
    """systemd runs the user's service, which is `service`: what happened to both, in order, and
    the units that are active."""
    happened, active = [], {user_units.SERVICE, user_units.SOCKET}
    (home / "hearth").mkdir()
    (home / "hearth/hearth.sock").symlink_to(service.path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    monkeypatch.setattr(user_units, "are_installed", lambda: True)

    def systemctl(verb, *names):
        if verb == "is-active":
            return subprocess.CompletedProcess([], 0 if active & set(names) else 3, "", "")
        happened.append(verb)
        return subprocess.CompletedProcess([], 0, "", "")

    def drain(peer, frame, request):
        happened.append((request.timeout_ms, request.then))
        peer.send(messages.Done(text="drained"), frame.request_id)

    monkeypatch.setattr(user_units, "_systemctl", systemctl)
    service.on[messages.Drain] = drain
    return happened, active


def test_what_systemd_runs_is_drained_for_as_long_as_asked_before_it_is_stopped(command, units):
    assert command("down", "--timeout", "300")[0] == 0
    assert units[0] == [(300_000, "stay"), "stop"]


def test_a_socket_that_waits_for_its_first_client_starts_no_service_to_drain(command, units):
    happened, active = units
    active.discard(user_units.SERVICE)
    assert command("down")[0] == 0 and happened == ["stop"]


@pytest.mark.parametrize("code", ["shutting_down", "not_reachable", "unknown_message"])
def test_what_cannot_be_drained_is_stopped_by_systemd_all_the_same(command, units, service, code):
    service.on[messages.Drain] = fails(code, "not now")
    assert command("down")[0] == 0 and units[0] == ["stop"]


def test_what_does_not_answer_is_stopped_by_systemd_all_the_same(command, units, home):
    (home / "hearth/hearth.sock").unlink()
    assert command("down")[0] == 0 and units[0] == ["stop"]


def test_who_may_not_drain_a_service_does_not_cut_its_requests_either(command, units, service):
    service.on[messages.Drain] = fails("denied", "not you")
    assert command("down")[0] == 4 and units[0] == []


def test_without_a_place_for_the_socket_the_user_is_told(command, home, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(background.os.path, "exists", lambda path: False)
    code, _, err = command("up", "--program", "/bin/true")
    assert code == 1 and "XDG_RUNTIME_DIR" in err


# --- bench ---

RECEIPT = messages.Receipt(
    first_token_ms=10.0, total_ms=30.0, generated_tokens=21, device="GPU", dtype="bf16"
)


@pytest.fixture
def measured(service):
    service.on[messages.Generate] = replies(generated(receipt=RECEIPT))
    return service


def test_a_run_asks_as_often_as_it_says_with_pictures_that_differ(measured, command, tmp_path):
    words = ("bench", "-n", 6, "-c", 3, "--json", "--socket", measured.path)
    code, out, _ = command(*words)
    numbers = json.loads(out)
    assert code == 0 and numbers["requests"] == 6 and numbers["concurrency"] == 3
    assert (numbers["first_token_ms_p50"], numbers["total_ms_p95"]) == (10.0, 30.0)
    asked = [one for peer in measured.peers for one in peer.messages_of(messages.Generate)]
    assert len(asked) == 7, "one to warm up"
    pictures = {
        peer.arena_bytes(one.messages[0].content[0].tensor)
        for peer in measured.peers
        for one in peer.messages_of(messages.Generate)[-1:]
    }
    assert len(pictures) == len([p for p in measured.peers if p.messages_of(messages.Generate)])


def test_what_is_slower_than_the_baseline_fails(measured, command, tmp_path):
    saved = tmp_path / "before.json"
    words = ("bench", "-n", 2, "--socket", measured.path)
    assert command(*words, "--save", saved)[0] == 0
    before = json.loads(saved.read_text())
    before.update(first_token_ms_p50=5.0, requests_per_second=0.001, tokens_per_second=0.001)
    saved.write_text(json.dumps(before))
    code, out, _ = command(*words, "--baseline", saved, "--json")
    assert code == 1 and json.loads(out)["slower"] == ["first_token_ms_p50"]
    code, out, err = command(*words, "--baseline", saved, "--tolerance", 150, "--max-tokens", 9)
    assert code == 0 and "+100.0 %" in out and "max_tokens was 64" in err
    saved.write_text("[]")
    assert command(*words, "--baseline", saved)[0] == 1


def test_an_error_of_one_client_ends_the_run(service, command):
    service.on[messages.Generate] = fails("out_of_memory", "8 GiB")
    code, _, err = command("bench", "-n", 4, "-c", 2, "--socket", service.path)
    assert code == 1 and "8 GiB" in err


def test_percentiles_are_values_that_were_measured():
    assert bench.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert bench.percentile([float(n) for n in range(1, 101)], 0.95) == 95.0
    assert bench.percentile([7.0], 0.95) == 7.0


# --- selftest ---


@pytest.fixture
def hangs(home, program):
    """A service that lets its clients work for ever."""
    made = home / "hangs"
    silent = "server.on[messages.Generate] = lambda *_: None\nserver.start()"
    made.write_text(program.read_text().replace("server.start()", silent))
    made.chmod(0o700)
    return made


def test_a_selftest_of_an_engine_that_hangs_ends_and_says_so(command, hangs, home, monkeypatch):
    monkeypatch.setattr(selftest, "_WORK_LIMIT_S", 0.2)
    code, out, err = command("selftest", "--program", hangs)
    assert code == 1 and "no answer" in out and "does not work here" in out, err
    assert not [one for one in commands_of_all() if str(home) in one]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_selftest_that_is_ended_leaves_nothing_behind(home, hangs, number):
    paths = os.pathsep.join(part for part in sys.path if part)
    env = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(home)}
    words = [sys.executable, "-m", "hearth", "selftest", "--program", str(hangs)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=env, start_new_session=True, **pipes) as process:
        assert b"the service starts" in process.stdout.readline()
        os.killpg(process.pid, number)
        said = process.stderr.read()
    assert process.returncode == 128 + number and b"Traceback" not in said
    assert not list(home.glob("hearth-selftest-*"))
    assert not [one for one in commands_of_all() if str(home) in one]


def commands_of_all():
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_a_selftest_without_a_service_says_so(command, home, program):
    dies = home / "dies"
    dies.write_text(f"#!/bin/sh\nexec {program} --dies\n")
    dies.chmod(0o700)
    code, out, _ = command("selftest", "--program", dies)
    assert code == 1 and "does not work here" in out and "exit code 7" in out
