"""Take requests again after drain or suspend.

For administrators.
"""

from __future__ import annotations

import argparse

from .. import client
from .output import print_done

EXAMPLES = (("hearth resume", "what waits is served"),)
JSON = '`{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> int:
    """One request."""
    with client.connect(options.socket) as service:
        return print_done(service.resume(), options.json)
