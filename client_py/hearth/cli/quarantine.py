"""Show models that are refused because they ended the engine.

Each is tried again by itself after a while, or at once when an administrator clears it.
"""

from __future__ import annotations

import argparse

from rich.table import Table

from .. import client, messages
from ..units import duration
from .output import answers, print_done, print_json
from .tables import table
from .tree import completes

EXAMPLES = (
    ("hearth quarantine list", "which, why, and for how long"),
    ("hearth quarantine clear", "another chance for all of them"),
)
JSON = '`{"quarantined": [quarantine_entry, …]}`; `clear`: `{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`list` and `clear`."""
    parser.set_defaults(action="list")
    below = parser.add_subparsers(metavar="COMMAND")
    below.add_parser("list", help="what is refused (default)", description="What is refused.")
    clear = below.add_parser("clear", help="another chance", description="Give another chance.")
    clear.set_defaults(action="clear")
    model = clear.add_argument("model", nargs="?", default="", metavar="NAME", help="default: all")
    completes(model, "models")


def run(options: argparse.Namespace) -> int:
    """The listing, or the end of it."""
    with client.connect(options.socket) as service:
        if options.action == "clear":
            return print_done(service.clear_quarantine(options.model), options.json)
        found = service.status().quarantined
    if options.json:
        print_json({"quarantined": [one.to_fields() for one in found]})
    elif found:
        answers().print(_listing(found))
    else:
        answers().print("No model is refused.")
    return 0


def _listing(found: list[messages.QuarantineEntry]) -> Table:
    made = table("", "MODEL", "ID", "ENDED THE ENGINE AT", ">TIMES", ">TRIED AGAIN IN")
    for one in found:
        made.add_row(one.name, one.model, one.operation, str(one.deaths), duration(one.left_ms))
    return made
