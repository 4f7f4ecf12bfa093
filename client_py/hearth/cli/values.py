"""What words of the command line mean."""

from __future__ import annotations

import argparse
import math

_LONGEST_S = 86_400.0  # a day, as the service has it
_MOST_DIGITS = 9  # of numbers that the service gives


def seconds(text: str) -> float:
    """A time that can be waited for."""
    found = _number(text)
    if not 0 <= found <= _LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write seconds, 0 to {_LONGEST_S:.0f}"
        )
    return found


def number(text: str) -> int:
    """Of something that a listing names."""
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of one of them")
    return int(text)


def per_cent(text: str) -> float:
    """0 or more of them."""
    found = _number(text)
    if not 0 <= found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage: write 10")
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
