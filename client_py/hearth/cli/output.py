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
