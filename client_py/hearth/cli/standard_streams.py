"""The command's standard streams, as its caller left them: closed, full, without all letters.

A failed write of an answer is an error like any other. A pipe whose reader has left is none: there
nobody is to be told.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

# for a locale without these letters
_POOR = {
    "·": "-", "●": "*", "█": "#", "░": ".", "✓": "+", "✗": "x", "→": "->", "…": "...", "’": "'",
}  # fmt: skip


def settle() -> None:
    """Letters that the locale lacks are replaced by others like them. A stream that is closed is
    opened, lest a socket get its number: standard output so that whatever is written to it fails.
    """
    if sys.stdin is None:
        sys.stdin = _null(os.O_RDONLY, "r")
    if sys.stdout is None:
        sys.stdout = _null(os.O_RDONLY, "w")
    if sys.stderr is None:
        sys.stderr = _null(os.O_WRONLY, "w")
    codecs.register_error("hearth", _poorer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="hearth")


def drop_unwritten() -> None:
    """What still waits and cannot be written, lest the interpreter's own last flush complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):  # a test's streams have no number
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _poorer(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(_POOR.get(one, "?") for one in letters), error.end


def _null(flags: int, mode: str) -> io.TextIOWrapper:
    stream = os.fdopen(os.open(os.devnull, flags), mode)
    assert isinstance(stream, io.TextIOWrapper)
    return stream
