"""Where the commands write: answers to stdout, all else to stderr. Colours only on a terminal, and
not where NO_COLOR is set or TERM is dumb."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import messages

_BAR_CELLS = 24


def answers() -> Console:
    """For what was asked for. Never cut to a width but on a terminal or where $COLUMNS says one: a
    program may read it."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 240
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)


def screen() -> Console:
    """For what is laid out to a width: the terminal's, $COLUMNS, or 80."""
    return Console(file=sys.stdout, highlight=False)


def problems() -> Console:
    """For errors, receipts and remarks."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_json(told: messages.Struct | dict[str, Any]) -> None:
    """One object, one line."""
    fields = told.to_fields() if isinstance(told, messages.Struct) else told
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def table(title: str, *columns: str) -> Table:
    """A plain table; columns whose name begins with > hold numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        is_number = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if is_number else "left")
    return made


def bar(part: float, whole: float, cells: int = _BAR_CELLS) -> Text:
    """How much of it is taken: green, from 75 % on yellow, from 95 % on red."""
    share = min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0
    filled = round(share * cells)
    style = "red" if share >= 0.95 else "yellow" if share >= 0.75 else "green"
    return Text.assemble(("█" * filled, style), ("░" * (cells - filled), "dim"))


def print_done(text: str, as_json: bool) -> int:
    """What there is to say about something that was done, and exit code 0."""
    if as_json:
        print_json({"text": text})
    else:
        answers().print(text or "Done.", markup=False)
    return 0


def program_of(client: str) -> str:
    """A connection's program, without the client library's version."""
    return client.partition(" (hearth ")[0]


def clock(at_ms: int) -> str:
    """A moment as people write it: the time, with its day where that is not today."""
    moment = time.localtime(at_ms / 1000)
    is_today = moment[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", moment)
