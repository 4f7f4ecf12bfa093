"""Where the commands write: answers to stdout, all else to stderr. Colours only on a terminal, and
not where NO_COLOR is set or TERM is dumb.

Names, logs and answers are others' words: on a terminal, what would command it is shown as a
question mark.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from .. import messages
from .tables import plain

BAR_CELLS = 24


class _Screen(Console):
    """rich's, with plain text on a terminal, and no smileys made of words between colons."""

    def __init__(self, **more: Any) -> None:
        super().__init__(highlight=False, emoji=False, **more)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """rich's own commands are segments of their own."""
        for segment in super().render(renderable, options):
            is_ours = segment.control or not self.is_terminal
            text = segment.text if is_ours else plain(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)


def answers() -> Console:
    """For what was asked for. Never cut to a width but on a terminal or where $COLUMNS says one: a
    program may read it."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 240
    return _Screen(file=sys.stdout, soft_wrap=True, width=width)


def screen() -> Console:
    """For what is laid out to a width: the terminal's, $COLUMNS, or 80."""
    return _Screen(file=sys.stdout)


def problems() -> Console:
    """For errors, receipts and remarks."""
    return _Screen(file=sys.stderr, soft_wrap=True)


def print_json(told: messages.Struct | dict[str, Any]) -> None:
    """One object, one line."""
    fields = told.to_fields() if isinstance(told, messages.Struct) else told
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def bar(part: float, whole: float, cells: int = BAR_CELLS) -> Text:
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
    return plain(client.partition(" (hearth ")[0])


def clock(at_ms: int) -> str:
    """A moment as people write it: the time, with its day where that is not today."""
    moment = time.localtime(at_ms / 1000)
    is_today = moment[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", moment)
