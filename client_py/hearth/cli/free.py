"""Have idle models leave the device for another program.

They come back by themselves with their next request.
"""

from __future__ import annotations

import argparse
import re

from .. import client
from ..units import size
from .output import answers, print_json

EXAMPLES = (("hearth free 8GiB", "before another program needs it"),)
JSON = "`memory_freed`"
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much."""
    parser.add_argument(
        "size",
        nargs="?",
        type=_bytes,
        default=0,
        metavar="SIZE",
        help="how much to give back: 8GiB, 500M; default: all that is idle",
    )


def run(options: argparse.Namespace) -> int:
    """One request; ends when the models have left."""
    with client.connect(options.socket) as service:
        freed = service.free_memory(options.size)
    if options.json:
        print_json(freed)
        return 0
    left = f" ({', '.join(freed.models)})" if freed.models else ""
    answers().print(
        f"{size(freed.freed_bytes)} given back{left}; {size(freed.resident_bytes)} still in use",
        markup=False,
    )
    return 0


def _bytes(text: str) -> int:
    """8G, 8GiB, 8 gb: all of them times 2^30."""
    read = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", text.strip().upper())
    if read is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 8GiB or 500M")
    return int(float(read[1]) * (1 << _UNITS[read[2]]))
