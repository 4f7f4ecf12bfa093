"""Have a model leave the device, its weights kept warm or not.

Warm, they rest in pinned memory, if there is room, and come back by a copy; cold, all of it goes.
Who holds it may ask; administrators for any model, pinned ones too.
"""

from __future__ import annotations

import argparse

from .. import client
from .leaving import leave, told
from .tree import completes

EXAMPLES = (("hearth evict Qwen3-VL-8B-Instruct --to warm", "makes room, quick to come back"),)
JSON = "`memory_freed`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and where to."""
    completes(parser.add_argument("model", metavar="NAME", help="its name or id"), "models")
    parser.add_argument(
        "--to", choices=["warm", "cold"], default="warm", help="where to (default: warm)"
    )


def run(options: argparse.Namespace) -> int:
    """One eviction."""
    with client.connect(options.socket) as service:
        freed = leave(service, options.model, options.to, 0.0)
    return told(freed, options)
