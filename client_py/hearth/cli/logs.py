"""Show what the service wrote to its log.

From systemd's journal or a file, whichever the service writes to, also when it is down. --since
takes a time (14:30, 2026-11-22 14:30) or how long ago (10m, 2h, 1d).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import client, errors
from ..dialling import socket_paths
from .background import path_of
from .log_sources import LEVELS, UNIT, Entry, Journal, find, lines_of_file, lines_of_journal
from .output import answers, problems
from .tree import completes

EXAMPLES = (
    ("hearth logs -f", "what comes"),
    ("hearth logs --since 1h --level warning", "what went wrong"),
    ("hearth logs --request 4711", "one request; its number is in the receipt"),
)
JSON = 'a line for each entry: `{"at_ms", "level", "program", "text", "fields": {…}}`'
_AGO = re.compile(r"(\d{1,9})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_STYLES = {"error": "red", "warning": "yellow", "debug": "dim"}
_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%H:%M:%S", "%H:%M")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which lines."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("-n", "--lines", type=int, metavar="N", help="the last N; default: 100")
    parser.add_argument("--since", type=since, metavar="TIME", help="not what is older: 10m, 14:30")
    parser.add_argument("--level", choices=LEVELS, default="debug", help="at least so grave")
    parser.add_argument("--request", type=int, metavar="ID", help="of this request")
    model = parser.add_argument("--model", metavar="NAME", help="that are about this model")
    completes(model, "models")
    file = parser.add_argument("--file", type=Path, metavar="FILE", help="of this file")
    completes(file, "files")


def run(options: argparse.Namespace) -> int:
    """Reads, chooses, prints."""
    if options.lines is not None and options.lines < 0:
        options.usage_error(f"-n {options.lines}: at least 0")
    where = options.file or _where(options.socket)
    searches = any((options.since, options.request, options.model, options.level != "debug"))
    last = options.lines if options.lines is not None else None if searches else 100
    # what is chosen from must be more than what is shown
    read = None if searches else last
    if isinstance(where, Journal):
        entries = lines_of_journal(where, read, options.follow, options.since)
    else:
        entries = lines_of_file(where, read, options.follow)
    chosen = wanted(entries, options)
    if last is not None and searches and not options.follow:
        chosen = iter(deque(chosen, maxlen=last))
    is_empty = True
    for entry in chosen:
        is_empty = False
        _print(entry, options.json)
    if is_empty and isinstance(where, Journal) and last and not searches:
        problems().print(f"The journal shows you no line of {UNIT}.", markup=False)
    return 0


def since(text: str) -> float:
    """A moment, in Unix seconds."""
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    named = {"today": 0, "yesterday": 1}.get(text)
    midnight = datetime.datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
    if named is not None:
        return (midnight - datetime.timedelta(days=named)).timestamp()
    for form in _FORMATS:
        try:
            moment = datetime.datetime.strptime(text, form)
        except ValueError:
            continue
        if moment.year == 1900:  # a time of today
            moment = datetime.datetime.combine(midnight.date(), moment.time())
        return moment.timestamp()
    raise argparse.ArgumentTypeError(f"{text!r} is no time: write 10m, 2h, 14:30 or 2026-11-22")


def wanted(entries: Iterable[Entry], options: argparse.Namespace) -> Iterator[Entry]:
    """Those that the options choose. What has no time belongs to the entry before it."""
    at: float | None = None
    for entry in entries:
        at = entry.at if entry.at is not None else at
        if options.since and (at is None or at < options.since):
            continue
        if entry.level in LEVELS and LEVELS.index(entry.level) < LEVELS.index(options.level):
            continue
        if options.request is not None and not _is_of(entry, options.request):
            continue
        if options.model and not _is_about(entry, options.model):
            continue
        yield entry


def _is_of(entry: Entry, request: int) -> bool:
    if "request" in entry.fields:
        return str(entry.fields["request"]) == str(request)
    return re.search(rf"\brequest {request}\b", entry.text) is not None


def _is_about(entry: Entry, model: str) -> bool:
    named = str(entry.fields.get("model", ""))
    return named == model or bool(re.search(rf"(?<!\w){re.escape(model)}(?!\w)", entry.text))


def _where(socket: str | None) -> Path | Journal:
    log: str | None = None
    path = socket_paths(socket)[0]
    try:
        with client.connect(socket) as service:
            log, path = service.status().log, path_of(service)
    except errors.NotReachable:
        pass  # find() knows where the log of a service that is down may be
    return find(log, os.path.abspath(path))


def _print(entry: Entry, as_json: bool) -> None:
    if as_json:
        at_ms = None if entry.at is None else round(entry.at * 1000)
        told = {"at_ms": at_ms, "level": entry.level, "program": entry.program,
                "text": entry.text, "fields": entry.fields}  # fmt: skip
        print(json.dumps(told, ensure_ascii=False), flush=True)
        return
    stamp = "" if entry.at is None else time.strftime("%m-%d %H:%M:%S ", time.localtime(entry.at))
    mark = f"{entry.level}: " if entry.level in ("warning", "error") else ""
    style = _STYLES.get(entry.level, "")
    answers().print(f"{stamp}{mark}{entry.text}", style=style or None, markup=False)
