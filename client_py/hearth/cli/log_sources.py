"""Where the service's log is, and its lines as entries, whatever their format.

Three formats: systemd's journal, one JSON object a line, and plain text. The service says where it
writes; when it is down, the log of `hearth up` for this socket is looked for, then the journal. A
package installs the units of users and of the system: which one counts is known by the socket, and
of a service that is down by what systemd runs or would start.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import errors
from ..dialling import SYSTEM_SOCKET
from . import background

LEVELS = ("debug", "info", "warning", "error")
UNIT, _SOCKET_UNIT = "hearthd.service", "hearthd.socket"
_TEXT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+) (\S+)\[(\d+)\] (\w+): (.*)")
_OF_PRIORITY = {0: "error", 1: "error", 2: "error", 3: "error", 4: "warning", 7: "debug"}
_POLL_S = 0.2


@dataclass
class Entry:
    """One line. at: Unix seconds, None where it says none; fields: request, model, event, …"""

    at: float | None
    level: str
    program: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Journal:
    """systemd's. scope: what chooses it, for systemctl and journalctl."""

    scope: tuple[str, ...]


OF_USER, OF_SYSTEM = Journal(("--user",)), Journal(())


def of_line(line: str) -> Entry:
    """A line of a file: JSON, our text, or anything else, which counts as info."""
    line = line.rstrip("\n")
    if line.startswith("{"):
        try:
            return _of_json(json.loads(line))
        except (ValueError, KeyError, TypeError):
            pass
    found = _TEXT.match(line)
    if found:
        at, program, process, level, text = found.groups()
        try:
            second = datetime.datetime.fromisoformat(at[:19]).timestamp()
        except ValueError:  # the 31st of February
            return Entry(None, "info", "", line)
        return Entry(second + float(f"0{at[19:]}"), level, program, text, {"process": int(process)})
    return Entry(None, "info", "", line)


def of_journal(record: dict[str, Any]) -> Entry:
    """An entry as `journalctl -o json` has it."""
    text = record.get("MESSAGE", "")
    if isinstance(text, list):  # bytes that are no text
        text = bytes(text).decode(errors="replace")
    level = _OF_PRIORITY.get(int(record.get("PRIORITY", 6)), "info")
    at = int(record.get("__REALTIME_TIMESTAMP", 0)) / 1e6
    own = {k[7:].lower(): v for k, v in record.items() if k.startswith("HEARTH_")}
    if "SYSLOG_IDENTIFIER" not in record or not own:
        plain = of_line(str(text))
        if plain.at is not None:  # our text, that the journal took from standard error
            return plain
    return Entry(at or None, level, str(record.get("SYSLOG_IDENTIFIER", "")), str(text or ""), own)


def find(log: str | None, socket: str) -> Path | Journal:
    """Where the log of the service at a socket is. log: what it says itself, None: it is down.
    Raises BadRequest where there is none."""
    if log == "journal":
        return OF_SYSTEM if _is_systems(socket) else OF_USER
    if log:
        return Path(log)
    own = background.place_of(socket).log
    if own.exists():  # also of one that says that it has a pipe
        return own
    journal = None if log == "" else journal_of_stopped(socket)
    if journal is not None:
        return journal
    raise errors.BadRequest(
        "The service writes to a terminal or a pipe: there is no log to read."
        if log == "" else f"No log of a service at {socket} was found.",
        "Start it with `hearth up` or systemd, or name a file with --file.",
    )  # fmt: skip


def journal_of_stopped(socket: str) -> Journal | None:
    """Of the unit that systemd has started or would start; else the one that has lines. A user's
    counts before the system's."""
    if not shutil.which("journalctl") or not shutil.which("systemctl"):
        return None
    journals = [OF_SYSTEM] if _is_systems(socket) else [OF_USER, OF_SYSTEM]
    for state in ("is-active", "is-enabled"):
        for journal in journals:
            words = ["systemctl", *journal.scope, state, _SOCKET_UNIT, UNIT]
            if subprocess.run(words, capture_output=True).returncode == 0:  # at least one is
                return journal
    return next((journal for journal in journals if _has_lines(journal)), None)


def _is_systems(socket: str) -> bool:
    return os.path.realpath(socket) == os.path.realpath(SYSTEM_SOCKET)


def _has_lines(journal: Journal) -> bool:
    words = ["journalctl", *journal.scope, "-u", UNIT, "-o", "json", "--no-pager", "-q", "-n", "1"]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace")
    return done.stdout.startswith("{")


def lines_of_file(path: str | Path, last: int | None, follow: bool) -> Iterator[Entry]:
    """The last lines of a file, None: all of them; and with `follow` what comes, also after it was
    begun anew."""
    with open(path, encoding="utf-8", errors="replace") as file:
        yield from (of_line(line) for line in deque(file, maxlen=last))
        inode = os.fstat(file.fileno()).st_ino
        partial = ""
        while follow:
            partial += file.readline()
            if partial.endswith("\n"):
                yield of_line(partial)
                partial = ""
            elif _is_another(path, inode, file.tell()):
                break
            else:
                time.sleep(_POLL_S)
    if follow:
        yield from lines_of_file(path, None, True)


def lines_of_journal(
    journal: Journal, last: int | None, follow: bool, since: float | None
) -> Iterator[Entry]:
    """The same of a journal. Raises HearthError where journalctl fails; it says why itself, on
    standard error."""
    words = ["journalctl", *journal.scope, "-u", UNIT, "-o", "json", "--no-pager"]
    words += ["-q"] if journal == OF_USER else []  # else it says what this user may not see
    words += ["-n", "all" if last is None else str(last)]
    words += ["--since", f"@{since:.0f}"] if since else []
    words += ["-f"] if follow else []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                try:
                    record = json.loads(line)
                except ValueError:  # cut off, or a remark
                    continue
                if isinstance(record, dict):
                    yield of_journal(record)
            code = process.wait()
        finally:
            process.terminate()
    if code != 0:
        raise errors.HearthError(
            f"journalctl ended with exit code {code}.",
            "The system's journal is for root and members of the groups systemd-journal and adm.",
        )


def last_lines(log: str | None, socket: str, count: int) -> list[str]:
    """For a bundle: text lines, or why there are none."""
    try:
        where = find(log, socket)
        if isinstance(where, Journal):
            entries = lines_of_journal(where, count, False, None)
            lines = [f"{entry.level}: {entry.text}" for entry in entries]
            return lines or [f"The journal shows no line of {UNIT} to who made this."]
        return where.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except (errors.HearthError, OSError) as error:
        return [str(error)]


def _of_json(line: dict[str, Any]) -> Entry:
    at = datetime.datetime.fromisoformat(str(line.pop("ts")).replace("Z", "+00:00")).timestamp()
    level, program, text = line.pop("level"), line.pop("program", ""), line.pop("msg", "")
    return Entry(at, str(level), str(program), str(text), line)


def _is_another(path: str | Path, inode: int, position: int) -> bool:
    """Whether the file was replaced or begun anew."""
    try:
        now = os.stat(path)
    except OSError:
        return False
    return now.st_ino != inode or now.st_size < position
