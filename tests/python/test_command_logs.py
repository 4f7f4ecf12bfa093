"""`hearth logs`: files of three formats, and the journal."""
# ruff: noqa: E501  (lines of logs)

import json
import os
import socket
import tarfile
import threading
import time

import pytest

from hearth import dialling, messages
from hearth.cli import log_sources, logs
from server import replies, wait_until

LINES = """2026-11-22T03:00:00.250 hearthd[17] info: loading ember (bcd2)
2026-11-22T03:00:01.000 hearthd[17] warning: the engine is slow
a line of a library
{"ts":"2026-11-22T03:00:02.500Z","level":"error","event":"served","program":"hearthd","process":17,"msg":"request 41 failed","request":41,"model":"Qwen"}
{"ts":"2026-11-22T03:00:03.000Z","level":"info","program":"hearthd","process":17,"msg":"request 42 done","request":42}
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    path = tmp_path / "hearthd.log"
    path.write_text(LINES)
    return path


def texts(out):
    return [json.loads(line)["text"] for line in out.splitlines()]


@pytest.mark.parametrize(
    "words, wanted",
    [
        ((), ["loading ember (bcd2)", "the engine is slow", "a line of a library",
              "request 41 failed", "request 42 done"]),
        (("-n", 2), ["request 41 failed", "request 42 done"]),
        (("--level", "warning"), ["the engine is slow", "request 41 failed"]),
        (("--request", 42), ["request 42 done"]),
        (("--model", "Qwen"), ["request 41 failed"]),
        (("--model", "ember"), ["loading ember (bcd2)"]),
        (("--since", "2026-11-22 03:00:01"), ["the engine is slow", "a line of a library",
                                               "request 41 failed", "request 42 done"]),
        (("--level", "warning", "-n", 1), ["request 41 failed"]),
        (("-n", 0), []),
        (("--level", "warning", "-n", 0), []),
    ],
)  # fmt: skip
def test_lines_of_all_formats_are_chosen(command, log, words, wanted):
    code, out, err = command("logs", "--file", log, "--json", *words)
    assert code == 0, err
    assert texts(out) == wanted


def test_entries_are_shown_with_time_and_gravity(command, log):
    _, out, _ = command("logs", "--file", log)
    assert "11-22 03:00:00 loading ember" in out
    assert "11-22 03:00:02 error: request 41 failed" in out


def test_the_service_says_where_its_log_is(service, command, log, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    said = {"server": "t", "boot_id": "b", "uptime_ms": 1, "worker_state": "ready"}
    service.on[messages.Status] = replies(messages.StatusReport(**said, log=str(log)))
    _, out, _ = command("logs", "-n", 1, "--socket", service.path)
    assert "request 42" in out
    service.on[messages.Status] = replies(messages.StatusReport(**said))
    code, _, err = command("logs", "--socket", service.path)
    assert code == 1 and "terminal or a pipe" in err


def test_the_log_of_a_service_that_is_down_is_found(command, log, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(log_sources, "journal_of_stopped", lambda socket: None)
    socket = tmp_path / "none.sock"
    code, _, err = command("logs", "--socket", socket)
    assert code == 1 and "No log of a service" in err
    place = log_sources.background.place_of(str(socket))
    place.log.parent.mkdir(parents=True)
    log.rename(place.log)
    assert "request 42" in command("logs", "--socket", socket)[1]


# Both units are installed, as the package does it; the files `user` and `system` say which states
# are true of them, and `user.log` and `system.log` are their journals.
SYSTEMCTL = """#!/bin/sh
whose=system
if [ "$1" = --user ]; then whose=user; shift; fi
case "$1" in
  cat) exit 0 ;;
  *) grep -qsx -- "$1" {folder}/$whose ;;
esac
"""
JOURNALCTL = """#!/bin/sh
echo "$@" >> {folder}/asked
whose=system
if [ "$1" = --user ]; then whose=user; fi
cat {folder}/$whose.log
"""


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A folder with programs that play systemd's."""
    folder = tmp_path / "systemd"
    folder.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    for whose in ("user", "system"):
        line = {"MESSAGE": f"the {whose}'s", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "hearthd"}
        (folder / f"{whose}.log").write_text(json.dumps(line) + "\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return folder


@pytest.fixture
def system_service(service, systemd, monkeypatch):
    """Listens at the system's socket and writes to the journal; the user's socket is dead."""
    monkeypatch.setattr(dialling, "SYSTEM_SOCKET", service.path)
    monkeypatch.setattr(log_sources, "SYSTEM_SOCKET", service.path)
    said = {"server": "t", "boot_id": "b", "uptime_ms": 1, "worker_state": "ready"}
    service.on[messages.Status] = replies(messages.StatusReport(**said, log="journal"))
    users = systemd.parent / "run/hearth/hearth.sock"
    users.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(users))
    return service


def test_the_journal_is_the_one_of_the_service_that_answers(command, system_service, systemd):
    assert texts(command("logs", "--json")[1]) == ["the system's"]
    words = ("--socket", system_service.path)
    assert texts(command("logs", "--json", *words)[1]) == ["the system's"]


def test_a_users_own_service_has_the_users_journal(command, system_service, systemd, monkeypatch):
    monkeypatch.setattr(dialling, "SYSTEM_SOCKET", "/run/hearth/hearth.sock")
    monkeypatch.setattr(log_sources, "SYSTEM_SOCKET", "/run/hearth/hearth.sock")
    (systemd / "system").write_text("is-active\n")
    words = ("--socket", system_service.path)
    assert texts(command("logs", "--json", *words)[1]) == ["the user's"]


def test_a_bundle_has_the_journal_of_the_service_that_answers(command, system_service, tmp_path):
    service = system_service
    service.on[messages.ShowConfig] = replies(messages.ConfigList(values=[]))
    service.on[messages.ListRequests] = replies(messages.RequestList(requests=[]))
    _, _, err = command("doctor", "--bundle", tmp_path / "report.tar.gz")
    assert (tmp_path / "report.tar.gz").exists(), err
    with tarfile.open(tmp_path / "report.tar.gz") as bundle:
        inside = b"".join(
            file.read() for one in bundle if (file := bundle.extractfile(one)) is not None
        )
    assert b"the system's" in inside and b"the user's" not in inside


@pytest.mark.parametrize(
    "states, journals, wanted",
    [
        ({"user": "is-active"}, "both", "the user's"),
        ({"system": "is-active"}, "both", "the system's"),
        ({"system": "is-enabled"}, "both", "the system's"),
        ({"user": "is-enabled", "system": "is-active"}, "both", "the system's"),
        ({"user": "is-enabled", "system": "is-enabled"}, "both", "the user's"),
        ({}, "both", "the user's"),
        ({}, "system", "the system's"),
    ],
)
def test_of_a_service_that_is_down_counts_what_systemd_runs_or_would_start(
    command, systemd, states, journals, wanted
):
    for whose, state in states.items():
        (systemd / whose).write_text(f"{state}\n")
    if journals == "system":
        (systemd / "user.log").write_text("")
    code, out, err = command("logs", "--json")
    assert code == 0, err
    assert texts(out) == [wanted]


def test_units_that_are_only_installed_are_no_log(command, systemd):
    for whose in ("user", "system"):
        (systemd / f"{whose}.log").write_text("")
    code, _, err = command("logs")
    assert code == 1 and "No log of a service" in err


def test_the_systems_socket_never_means_the_users_journal(systemd):
    (systemd / "user").write_text("is-active\n")
    found = log_sources.find(None, "/run/hearth/hearth.sock")
    assert found == log_sources.OF_SYSTEM


def test_an_empty_journal_is_said_to_be_one(command, system_service, systemd):
    (systemd / "system.log").write_text("-- No entries --\n")
    code, out, err = command("logs")
    assert (code, out) == (0, "") and "shows you no line" in err
    assert command("logs", "--level", "error")[2] == "", "nothing is wrong, which is no news"


def test_a_journal_that_cannot_be_read_is_an_error(command, system_service, systemd):
    (systemd / "journalctl").write_text("#!/bin/sh\nexit 1\n")
    code, _, err = command("logs")
    assert code == 1 and "journalctl ended with exit code 1" in err and "systemd-journal" in err


def test_the_journals_entries_are_shown(command, system_service, systemd):
    entries = [
        {"MESSAGE": "hello", "PRIORITY": "4", "__REALTIME_TIMESTAMP": "1763780400000000",
         "SYSLOG_IDENTIFIER": "hearthd", "HEARTH_MODEL": "ember", "HEARTH_REQUEST": "7"},
        {"MESSAGE": "2026-11-22T03:00:01.000 hearthd[17] error: by stderr", "PRIORITY": "6"},
        {"MESSAGE": [104, 105], "PRIORITY": "3", "SYSLOG_IDENTIFIER": "systemd"},
    ]  # fmt: skip
    (systemd / "system.log").write_text("\n".join(json.dumps(entry) for entry in entries))
    _, out, _ = command("logs", "--json", "-n", 9)
    told = [json.loads(line) for line in out.splitlines()]
    assert [one["level"] for one in told] == ["warning", "error", "error"]
    assert [one["text"] for one in told] == ["hello", "by stderr", "hi"]
    assert told[0]["fields"] == {"model": "ember", "request": "7"}
    asked = (systemd / "asked").read_text()
    assert "-u hearthd.service" in asked and "-n 9" in asked
    _, out, _ = command("logs", "--json", "--request", 7)
    assert texts(out) == ["hello"]


def test_lines_that_make_no_sense_are_survived(command, log, systemd):
    odd = "2026-02-31T03:00:00.250 hearthd[17] info: never"
    entry = log_sources.of_line(odd)
    assert (entry.at, entry.text) == (None, odd)
    assert command("logs", "--file", log, "-n", -1)[0] == 2
    (systemd / "user.log").write_text('{half\n[1]\n{"MESSAGE": "whole"}\n')
    entries = log_sources.lines_of_journal(log_sources.OF_USER, 9, False, None)
    assert [entry.text for entry in entries] == ["whole"]


def test_following_goes_on_in_a_file_that_was_begun_anew(log, watchdog):
    found = []

    def follow():
        for entry in log_sources.lines_of_file(str(log), 1, True):
            found.append(entry.text)
            if entry.text == "the end":
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    wait_until(lambda: found == ["request 42 done"])
    with log.open("a") as file:
        file.write("half a ")
        file.flush()
        file.write("line\n")
    wait_until(lambda: "half a line" in found)
    log.rename(log.with_suffix(".1"))
    log.write_text("another\nthe end\n")
    thread.join(10)
    assert found == ["request 42 done", "half a line", "another", "the end"]


def test_moments_are_read_as_people_write_them():
    now = time.time()
    assert abs(logs.since("10m") - (now - 600)) < 5 and abs(logs.since("1 d") - (now - 86400)) < 5
    assert logs.since("2026-11-22 03:00") == time.mktime((2026, 11, 22, 3, 0, 0, 0, 0, -1))
    assert time.localtime(logs.since("14:30"))[3:5] == (14, 30)
    assert logs.since("yesterday") < logs.since("today") <= now
    with pytest.raises(Exception, match="is no time"):
        logs.since("soon")
