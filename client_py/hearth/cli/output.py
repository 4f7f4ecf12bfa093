"""Where the commands write: answers to stdout, all else to stderr. Colours only on a terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table


def answers() -> Console:
    """For what was asked for. Never cut to a width but on a terminal: a program may read it."""
    width = None if sys.stdout.isatty() else 240
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)


def problems() -> Console:
    """For errors, receipts and remarks."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def table(title: str, *columns: str) -> Table:
    """A plain table; columns whose name begins with > hold numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        is_number = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if is_number else "left")
    return made


def size(nbytes: int) -> str:
    """1.5 GiB."""
    amount, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"


def duration(milliseconds: float) -> str:
    """320 ms, 4.2 s, 3 h 12 min."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(seconds // 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
