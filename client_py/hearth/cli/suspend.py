"""Release the device before the machine sleeps.

Requests at work end, new ones wait; models leave the device and are cold afterwards, and the engine
process ends. `hearth resume` goes on. For administrators; the sleep hook of the systemd units does
it by itself.
"""

from __future__ import annotations

import argparse

from .. import client
from .output import print_done
from .values import seconds

EXAMPLES = (("hearth suspend --timeout 5", "at most five seconds for what is at work"),)
JSON = '`{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long requests at work may take."""
    parser.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="S", help="for requests at work: 10"
    )


def run(options: argparse.Namespace) -> int:
    """Ends when the device is released."""
    with client.connect(options.socket) as service:
        return print_done(service.suspend(options.timeout), options.json)
