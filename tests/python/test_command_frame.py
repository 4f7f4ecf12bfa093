"""What all commands have in common: help, spelling, exit codes, errors."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hearth import cli, messages
from hearth.cli import commands, tree
from server import fails, replies, silent, wait_until

FOLDER = Path(cli.__file__).parent
START_LIMIT_MS = 150
CODES = [("denied", 4), ("device_failed", 5), ("timed_out", 6), ("busy", 1), ("internal", 1)]


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_says_what_it_does_and_what_its_json_is(name):
    group, summary = commands.COMMANDS[name]
    node = tree.command(name)
    assert group in commands.GROUPS
    assert (cli.module_of(name).__doc__ or "").splitlines()[0] == summary
    assert len(summary) <= 62
    assert node.json, "what does --json print?"
    assert node.examples and all(f"hearth {name}" in line for line, _ in node.examples)
    for one in [*node.arguments, *(one for below in node.nodes for one in below.arguments)]:
        assert one.help or not one.flags, one


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_has_help_that_names_all_its_options(name, command):
    code, out, _ = command(name, "--help")
    assert code == 0
    for one in tree.command(name).options:
        assert one.flags[-1] in out
    assert command("help", name)[1] == out


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_the_lines_of_examples_are_understood(name, monkeypatch):
    parser = cli.parser_of(name)
    for line, _ in tree.command(name).examples:
        words = re.split(r" [|>] ", line)[0].partition(f"hearth {name}")[2].split()
        assert parser.parse_args(words).run is cli.module_of(name).run


def test_the_overview_lists_every_command_in_80_columns(command):
    code, out, _ = command("--help")
    assert code == 0
    for name in commands.COMMANDS:
        assert f"\n  {name} " in out
    assert max(map(len, out.splitlines())) <= 84
    assert command()[0] == 2
    assert command("--version")[1].startswith("hearth ")


def test_a_misspelt_word_is_answered_with_the_right_one(command):
    code, _, err = command("stats")
    assert code == 2 and "'status'" in err
    code, _, err = command("status", "--jsn")
    assert code == 2 and "'--json'" in err
    code, _, err = command("zzz")
    assert code == 2 and "hearth --help" in err
    code, _, err = command("--json", "status")
    assert code == 2 and "behind the command" in err


@pytest.mark.parametrize(("code", "exit_code"), CODES)
def test_exit_codes_follow_the_errors_code(service, command, code, exit_code):
    service.on[messages.Status] = fails(code, "It is [so].", hint="Do that.")
    got, out, err = command("status", "--socket", service.path)
    assert (got, out) == (exit_code, "")
    assert "It is [so]." in err and "Do that." in err
    got, _, err = command("status", "--json", "--socket", service.path)
    assert got == exit_code
    assert json.loads(err)["error"]["code"] == code


def test_a_file_that_cannot_be_used_is_named(command, tmp_path):
    node = {"class_type": "QwenVL", "inputs": {"model": "Qwen3-VL-2B-Instruct", "text": "What?"}}
    (tmp_path / "flow.json").write_text(json.dumps({"1": node}))
    code, _, err = command("migrate", tmp_path / "flow.json", "-o", tmp_path / "no/such/folder")
    assert code == 1 and "no/such/folder" in err and "Traceback" not in err


def test_the_socket_is_understood_behind_a_command_of_a_command(service, command):
    service.on[messages.ClearQuarantine] = fails("denied", "no")
    for words in (("clear", "--socket", service.path), ("--socket", service.path, "clear")):
        assert command("quarantine", *words)[0] == 4


def ended(words, **streams):
    """hearth as a process of its own."""
    program = (
        f"import sys; sys.path.insert(0, {str(FOLDER.parents[1])!r}); from hearth import cli; "
    )
    program += f"sys.exit(cli.main({words!a}))"
    streams.setdefault("stderr", subprocess.PIPE)
    return subprocess.run([sys.executable, "-c", program], **streams)


PRINTING = [
    ["--help"], ["help", "doctor"], ["status", "--help"], ["jobs", "cancel", "--help"],
    ["completion", "bash"], ["status"], ["status", "--json"], ["top", "--once"],
]  # fmt: skip


@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_what_cannot_be_written_is_an_error_in_one_line(service, words, buffered):
    env = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1", "HEARTH_SOCKET": service.path}
    with open("/dev/full", "wb") as full:
        done = ended(words, stdout=full, env=env)
    assert done.returncode == 1
    assert b"cannot be written: No space left on device." in done.stderr
    assert done.stderr.count(b"\n") == 1 and b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_pipe_whose_reader_has_left_is_no_error_to_tell_of(service, words):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        done = ended(words, stdout=closed, env={**os.environ, "HEARTH_SOCKET": service.path})
    assert done.stderr == b"" and done.returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_tracebacks(service, closed):
    program = f"import sys; sys.path.insert(0, {str(FOLDER.parents[1])!r}); import hearth.cli; "
    program += "sys.exit(hearth.cli.main(['top', '--once']))"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {closed}"
    env = {**os.environ, "HEARTH_SOCKET": service.path}
    done = subprocess.run(["sh", "-c", line], capture_output=True, env=env)
    assert done.returncode == (1 if ">&-" in closed.replace("2>", "") else 0), done.stderr
    assert b"Traceback" not in done.stderr


def test_a_current_folder_that_is_gone_is_told(tmp_path, monkeypatch, command):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = command("install-nodes", "x")
    assert code == 1 and err == "hearth: The current folder: No such file or directory.\n"
    assert "cannot be looked at" not in command("doctor")[1]


def test_an_error_that_nobody_reads_has_its_exit_code_all_the_same(tmp_path):
    env = {**os.environ, "HEARTH_SOCKET": str(tmp_path / "none")}
    with open("/dev/full", "wb") as full:
        assert ended(["status"], stderr=full, env=env).returncode == 3
        assert ended(["status", "--json"], stderr=full, env=env).returncode == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_in_good_order(service, number):
    service.on[messages.Drain] = silent
    command = [sys.executable, "-m", "hearth", "drain", "--socket", service.path]
    paths = os.pathsep.join(part for part in sys.path if part)
    env = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=env) as process:
        try:
            wait_until(lambda: service.peers and service.peer.messages_of(messages.Drain))
            process.send_signal(number)
            said = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 128 + number and b"Traceback" not in said


def test_letters_that_the_locale_lacks_are_replaced_by_others_like_them(service):
    report = messages.StatusReport(
        server="h\u00e4rth", boot_id="b", uptime_ms=1, worker_state="ready", health="warm",
        memory_bytes=1 << 30, memory_budget_bytes=2 << 30,
    )  # fmt: skip
    service.on[messages.Status] = replies(report)
    poor = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    poor["HEARTH_SOCKET"] = service.path
    done = ended(["status"], stdout=subprocess.PIPE, env=poor)
    assert done.returncode == 0, done.stderr
    assert b"h?rth - protocol" in done.stdout and b"* warm" in done.stdout
    assert b"############............ 1.0 GiB" in done.stdout
    poor["PYTHONIOENCODING"] = "ascii"
    done = ended(["st\u00e4tus"], stdout=subprocess.PIPE, env=poor)
    assert done.returncode == 2 and b"Traceback" not in done.stderr


def test_a_missing_package_is_named_with_how_it_is_installed(command, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'rich'", name="rich")

    monkeypatch.setattr(cli, "parser_of", missing)
    code, _, err = command("status")
    assert code == 2 and "apt install python3-msgpack" in err and "hearthd" not in err


def test_a_workflow_is_never_written_over(command, tmp_path):
    node = {"class_type": "QwenVL", "inputs": {"model": "Qwen3-VL-2B-Instruct", "text": "What?"}}
    (tmp_path / "flow.json").write_text(json.dumps({"1": node}))
    (tmp_path / "link.json").symlink_to("flow.json")
    for output in ("flow.json", "link.json"):
        code, _, err = command("migrate", tmp_path / "flow.json", "-o", tmp_path / output)
        assert code == 1 and "the workflow itself" in err
    assert json.loads((tmp_path / "flow.json").read_text()) == {"1": node}


def test_a_list_of_anything_is_no_workflow(command, tmp_path):
    (tmp_path / "flow.json").write_text('{"nodes": [5]}')
    code, _, err = command("migrate", tmp_path / "flow.json")
    assert code == 1 and "holds no workflow" in err.replace("\n", " ")


def test_no_answer_at_the_question_is_no(monkeypatch):
    from hearth.cli import setup

    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert setup._agrees() is False


def test_a_systemctl_that_hangs_is_a_time_that_is_over(monkeypatch):
    from hearth import errors
    from hearth.cli import user_units

    def hangs(words, **_):
        raise subprocess.TimeoutExpired(words, 1)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(errors.TimedOut, match="systemctl --user start"):
        user_units.start()


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_time_that_is_no_number_is_refused(client, seconds):
    from hearth import errors

    with pytest.raises(errors.BadRequest):
        client.drain(seconds)


def test_help_starts_fast():
    """CPU time of a process of its own, the best of five: with bytecode, rich not imported."""
    program = (
        f"import sys; sys.path.insert(0, {str(FOLDER.parents[1])!r}); from hearth import cli; "
        "cli.main(['--help']); assert 'rich' not in sys.modules"
    )
    command = [sys.executable, "-S", "-c", program]
    taken = []
    for _ in range(5):
        before = _child_ms()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(_child_ms() - before)
    assert min(taken) < START_LIMIT_MS, taken


def _child_ms():
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


def test_times_are_local():
    from hearth.cli.output import clock

    now = time.time()
    assert clock(int(now * 1000)) == time.strftime("%H:%M:%S", time.localtime(now))
    assert clock(86_400_000).startswith("1970-01-0")
