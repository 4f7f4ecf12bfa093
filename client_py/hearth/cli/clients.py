"""Show who is connected, or end a connection.

Kicking takes back all that a connection holds; its program may connect again. For administrators.
"""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from .. import client, messages
from ..units import duration, size
from .ending import add_ending
from .output import answers, print_done, print_json, program_of
from .tables import table

EXAMPLES = (
    ("hearth clients", "who is connected, and what each holds"),
    ("hearth clients kick 4", "ends a connection"),
)
JSON = '`{"clients": [client_entry, …]}`; `kick`: `{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`kick ID`."""
    add_ending(parser, "kick", "end a connection", "clients")


def run(options: argparse.Namespace) -> int:
    """The listing, or a kick."""
    with client.connect(options.socket) as service:
        if options.ended is not None:
            return print_done(service.kick(options.ended), options.json)
        found = service.status().clients
        welcome = service.welcome
    if options.json:
        print_json({"clients": [one.to_fields() for one in found]})
    else:
        answers().print(listing(found, welcome.connection if welcome else 0))
    return 0


def listing(found: list[messages.ClientEntry], ours: int = 0) -> Table:
    """One line a connection; `ours` is this command's."""
    made = table(
        "", ">ID", "CLIENT", ">PID", ">UID", ">SINCE", ">OPEN", ">SHARED", ">SERVED", ">FAILED",
        ">TOKENS",
    )  # fmt: skip
    for one in found:
        program = "this command" if one.connection == ours else program_of(one.client)
        made.add_row(
            str(one.connection), Text.assemble(program, (" stalled" * one.stalled, "red")),
            str(one.pid), str(one.uid), duration(one.connected_ms), str(one.open_requests),
            size(one.arena_bytes), str(one.served), str(one.failed), str(one.generated_tokens),
        )  # fmt: skip
    return made
