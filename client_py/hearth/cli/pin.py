"""Keep a model on the device.

It does not leave to make room or for being idle until `hearth unpin`. Nothing is loaded by this;
`hearth load --pin` does both. For administrators.
"""

from __future__ import annotations

import argparse

from .. import client
from .models import MODEL_HELP, add_numerics, asked_model
from .output import print_done
from .tree import completes

EXAMPLES = (("hearth pin ember", "it stays"),)
JSON = '`{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model."""
    model = parser.add_argument("model", metavar="DIR|NAME", help=MODEL_HELP)
    completes(model, "models")
    add_numerics(parser)


def run(options: argparse.Namespace) -> int:
    """One request."""
    return pinned(options, True)


def pinned(options: argparse.Namespace, pin: bool) -> int:
    """Asks for it, or with False for its end."""
    with client.connect(options.socket) as service:
        text = service.pin(asked_model(service, options), pin)
    return print_done(text, options.json)
