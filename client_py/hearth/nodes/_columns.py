"""Columns of text, as the diagnostics nodes show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns as wide as their widest cell, below an empty line; nothing for no rows."""
    cells = [tuple(str(cell) for cell in row) for row in rows]
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(head, *cells)]
    padded = ("  ".join(map(str.ljust, row, widths)) for row in [tuple(head), *cells])
    return ["", *(line.rstrip() for line in padded)]
