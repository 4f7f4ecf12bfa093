"""Tables, and what else is laid out to the width there is.

Cells are shown as they are, whatever rich takes for markup: names are others' words. Where a table
does not fit, whole columns are left out, those at the right first, and a line says so: half of a
number would be worse than none.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabs and ends of lines
_LEAST_CELLS = 12  # of a text, which can be wrapped or cut


def plain(text: str) -> str:
    """Without what would command a terminal."""
    return _COMMANDS.sub("?", text)


def table(title: str, *columns: str) -> FittingTable:
    """A plain table. Columns whose name begins with > hold numbers, with * are never left out; nor
    is the first."""
    made = FittingTable(box=None, pad_edge=False, title_justify="left", title_style="bold")
    made.title = Text(plain(title), "bold") if title else None
    for number, name in enumerate(columns):
        is_number = name.startswith(">")
        made.add_column(name.lstrip(">*"), justify="right" if is_number else "left")
        if number == 0 or name.startswith("*"):
            made.kept.add(number)
    return made


class FittingTable(Table):
    """kept: the numbers of columns that are never left out."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.kept: set[int] = set()

    def add_row(self, *cells: RenderableType | None, **more: Any) -> None:
        """A text is a cell of just these letters."""
        texts = (Text(plain(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*texts, **more)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As Table's, of the columns that fit."""
        shown = copy.copy(self)
        least = [self._least(console, options, column) for column in self.columns]
        numbers = self._fitting(least, options.max_width)
        shown.columns = [
            dataclasses.replace(self.columns[number], _index=place, min_width=least[number])
            for place, number in enumerate(numbers)
        ]
        yield from Table.__rich_console__(shown, console, options)
        if missing := len(self.columns) - len(numbers):
            more = "1 more column" if missing == 1 else f"{missing} more columns"
            yield Text(f"({more} in a wider window)", "dim")

    def _fitting(self, least: list[int], width: int) -> list[int]:
        """The numbers of the columns that are shown."""
        between = self.padding[1] + self.padding[3]
        shown = list(range(len(self.columns)))
        for number in reversed(range(len(self.columns))):
            if sum(least[one] + between for one in shown) - between <= width:
                break
            if number not in self.kept:
                shown.remove(number)
        return shown

    def _least(self, console: Console, options: ConsoleOptions, column: Column) -> int:
        """The cells that it needs: a number all of them, a text some; set widths count."""
        if column.width is not None:
            return column.width
        shown = [column.header, *column.cells] if self.show_header else list(column.cells)
        wide = options.update(width=_WIDE)
        most = max((Measurement.get(console, wide, one).maximum for one in shown), default=0)
        is_number = column.justify == "right"
        return most if is_number else min(most, column.min_width or _LEAST_CELLS)


_WIDE = 10_000


class Fitting:
    """Something that is made once the width is known."""

    def __init__(self, make: Callable[[int], RenderableType]) -> None:
        self._make = make

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._make(options.max_width)
