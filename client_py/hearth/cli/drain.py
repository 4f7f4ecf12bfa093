"""Take no new requests and let the open ones end.

Clients are told, and their retries wait. Afterwards the service stays drained until `hearth
resume`, or ends with --stop. Requests still open when the time is over end with an error that says
that they may be sent again. For administrators.
"""

from __future__ import annotations

import argparse

from .. import client
from .output import print_done
from .values import seconds

EXAMPLES = (("hearth drain --timeout 120 --stop", "before the machine goes down"),)
JSON = '`{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long, and what then."""
    parser.add_argument(
        "--timeout", type=seconds, default=45.0, metavar="S", help="for open requests (default: 45)"
    )
    parser.add_argument("--stop", action="store_true", help="end the service then")


def run(options: argparse.Namespace) -> int:
    """Ends when nothing is open."""
    with client.connect(options.socket) as service:
        text = service.drain(options.timeout, "stop" if options.stop else "stay")
    return print_done(text, options.json)
