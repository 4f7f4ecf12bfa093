"""What unload and evict have in common."""

from __future__ import annotations

import argparse
import time

from .. import client, errors, messages
from ..units import size
from .output import answers, print_json

_ASK_AGAIN_S = 0.2


def leave(service: client.Client, model: str, to: str, limit_s: float) -> messages.MemoryFreed:
    """Evicts a model; while it is at work asks again for `limit_s`. Raises TimedOut, Busy."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return service.evict(model, to)
        except errors.HearthError as error:
            if error.code != "busy" or not limit_s:
                raise
            if time.monotonic() >= deadline:
                raise errors.TimedOut(
                    f"{model} is still at work after {limit_s:.0f} s.",
                    "`hearth jobs` shows what it does; allow more --timeout.",
                ) from error
            time.sleep(max(_ASK_AGAIN_S, error.retry_after_ms / 1000))


def told(freed: messages.MemoryFreed, options: argparse.Namespace) -> int:
    """What left, in words or as JSON."""
    if options.json:
        print_json(freed)
        return 0
    left = f" ({', '.join(freed.models)})" if freed.models else ""
    answers().print(
        f"{size(freed.freed_bytes)} given back{left}; {size(freed.resident_bytes)} still in use",
        markup=False,
    )
    return 0
