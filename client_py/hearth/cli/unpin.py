"""Let a pinned model leave the device again.

When it has been idle for long, or another one needs the room. For administrators.
"""

from __future__ import annotations

import argparse

from .. import client
from .models import MODEL_HELP, add_numerics, asked_model
from .output import print_done
from .tree import completes

EXAMPLES = (("hearth unpin ember", "it may leave"),)
JSON = '`{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model."""
    model = parser.add_argument("model", metavar="DIR|NAME", help=MODEL_HELP)
    completes(model, "models")
    add_numerics(parser)


def run(options: argparse.Namespace) -> int:
    """One request."""
    with client.connect(options.socket) as service:
        text = service.pin(asked_model(service, options), False)
    return print_done(text, options.json)
