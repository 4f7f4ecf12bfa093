"""Where the service's log is, and its lines as entries, whatever their format.

Three formats: systemd's journal, one JSON object a line, and plain text. The service says where it
writes; when it is down, the log of `hearth up` for this socket is looked for, then the journal.
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
from . import background

LEVELS = ("debug", "info", "warning", "error")
UNIT = "hearthd.service"
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


def find(log: str | None, socket: str) -> str:
    """ "journal" or a file's path. Raises BadRequest where there is none."""
    if log:
        return log
    own = background.place_of(socket).log
    if log is None or own.exists():  # the service does not answer, or says that it has a pipe
        if own.exists():
            return str(own)
        if journal_scope() is not None:
            return "journal"
    raise errors.BadRequest(
        "The service writes to a terminal or a pipe: there is no log to read."
        if log == "" else f"No log of a service at {socket} was found.",
        "Start it with `hearth up` or systemd, or name a file with --file.",
    )  # fmt: skip


def journal_scope() -> list[str] | None:
    """--user where the user's own unit is there, [] for the system's, None for neither."""
    if not shutil.which("journalctl") or not shutil.which("systemctl"):
        return None
    for scope in (["--user"], []):
        done = subprocess.run(["systemctl", *scope, "cat", UNIT], capture_output=True)
        if done.returncode == 0:
            return scope
    return None


def lines_of_file(path: str, last: int | None, follow: bool) -> Iterator[Entry]:
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


def lines_of_journal(last: int | None, follow: bool, since: float | None) -> Iterator[Entry]:
    """The same of the journal."""
    scope = journal_scope() or []
    words = ["journalctl", *scope, "-u", UNIT, "-o", "json", "--no-pager", "-q"]
    words += ["-n", "all" if last is None else str(last)]
    words += ["--since", f"@{since:.0f}"] if since else []
    words += ["-f"] if follow else []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                try:
                    record = json.loads(line)
                except ValueError:  # cut off
                    continue
                if isinstance(record, dict):
                    yield of_journal(record)
        finally:
            process.terminate()


def last_lines(log: str | None, socket: str, count: int) -> list[str]:
    """For a bundle: text lines, or why there are none."""
    try:
        where = find(log, socket)
        if where == "journal":
            entries = lines_of_journal(count, False, None)
            return [f"{entry.level}: {entry.text}" for entry in entries]
        return Path(where).read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except (errors.HearthError, OSError) as error:
        return [str(error)]


def _of_json(line: dict[str, Any]) -> Entry:
    at = datetime.datetime.fromisoformat(str(line.pop("ts")).replace("Z", "+00:00")).timestamp()
    level, program, text = line.pop("level"), line.pop("program", ""), line.pop("msg", "")
    return Entry(at, str(level), str(program), str(text), line)


def _is_another(path: str, inode: int, position: int) -> bool:
    """Whether the file was replaced or begun anew."""
    try:
        now = os.stat(path)
    except OSError:
        return False
    return now.st_ino != inode or now.st_size < position
