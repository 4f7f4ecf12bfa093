"""Have a model leave the device.

It comes back by itself with its next request. Who holds it may ask; administrators for any model. A
model that is at work is busy: --wait waits for it.
"""

from __future__ import annotations

import argparse

from .. import client, messages
from .leaving import leave, told
from .tree import completes
from .values import seconds

EXAMPLES = (
    ("hearth unload Qwen3-VL-8B-Instruct --wait", "when its requests have ended"),
    ("hearth unload --all", "all that are idle"),
)
JSON = "`memory_freed`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and for how long to wait."""
    model = parser.add_argument("model", nargs="?", metavar="NAME", help="its name or id")
    completes(model, "models")
    parser.add_argument("-a", "--all", action="store_true", help="all that are idle")
    parser.add_argument("--wait", action="store_true", help="until it is no longer at work")
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="S", help="with --wait at most so long: 60"
    )


def run(options: argparse.Namespace) -> int:
    """One eviction, or all."""
    if options.all == bool(options.model):
        options.usage_error("name a model, or say --all")
    limit_s = options.timeout if options.wait else 0.0
    with client.connect(options.socket) as service:
        freed = leave_all(service, limit_s) if options.all else leave(
            service, options.model, "cold", limit_s
        )  # fmt: skip
    return told(freed, options)


def leave_all(service: client.Client, limit_s: float) -> messages.MemoryFreed:
    """All idle ones; with a limit, then each that was at work."""
    freed = service.free_memory()
    if limit_s and freed.resident_bytes:
        for model in service.status().models:
            if model.state == "hot" and not model.pinned:
                more = leave(service, model.model, "cold", limit_s)
                freed.freed_bytes += more.freed_bytes
                freed.models += more.models
                freed.resident_bytes = more.resident_bytes
    return freed
