"""`hearth logs`: files of three formats, and the journal."""
# ruff: noqa: E501  (lines of logs)

import json
import os
import threading
import time

import pytest

from hearth import messages
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
    monkeypatch.setattr(log_sources, "journal_scope", lambda: None)
    socket = tmp_path / "none.sock"
    code, _, err = command("logs", "--socket", socket)
    assert code == 1 and "No log of a service" in err
    place = log_sources.background.place_of(str(socket))
    place.log.parent.mkdir(parents=True)
    log.rename(place.log)
    assert "request 42" in command("logs", "--socket", socket)[1]


def test_the_journal_is_asked_when_the_service_writes_there(command, monkeypatch, tmp_path):
    entries = [
        {"MESSAGE": "hello", "PRIORITY": "4", "__REALTIME_TIMESTAMP": "1763780400000000",
         "SYSLOG_IDENTIFIER": "hearthd", "HEARTH_MODEL": "ember", "HEARTH_REQUEST": "7"},
        {"MESSAGE": "2026-11-22T03:00:01.000 hearthd[17] error: by stderr", "PRIORITY": "6"},
        {"MESSAGE": [104, 105], "PRIORITY": "3", "SYSLOG_IDENTIFIER": "systemd"},
    ]  # fmt: skip
    journal = tmp_path / "journalctl"
    lines = "\n".join(json.dumps(entry) for entry in entries)
    journal.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\ncat <<'END'\n{lines}\nEND\n")
    journal.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(log_sources, "journal_scope", lambda: ["--user"])
    monkeypatch.setattr(logs, "_where", lambda socket: "journal")
    _, out, _ = command("logs", "--json", "-n", 9)
    told = [json.loads(line) for line in out.splitlines()]
    assert [one["level"] for one in told] == ["warning", "error", "error"]
    assert [one["text"] for one in told] == ["hello", "by stderr", "hi"]
    assert told[0]["fields"] == {"model": "ember", "request": "7"}
    asked = (tmp_path / "asked").read_text()
    assert "--user -u hearthd.service" in asked and "-n 9" in asked
    _, out, _ = command("logs", "--json", "--request", 7)
    assert texts(out) == ["hello"]


def test_lines_that_make_no_sense_are_survived(command, log, monkeypatch, tmp_path):
    odd = "2026-02-31T03:00:00.250 hearthd[17] info: never"
    entry = log_sources.of_line(odd)
    assert (entry.at, entry.text) == (None, odd)
    assert command("logs", "--file", log, "-n", -1)[0] == 2
    journal = tmp_path / "journalctl"
    journal.write_text('#!/bin/sh\necho "{half"; echo "[1]"; echo \'{"MESSAGE": "whole"}\'\n')
    journal.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [entry.text for entry in log_sources.lines_of_journal(9, False, None)] == ["whole"]


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
