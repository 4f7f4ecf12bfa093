"""Have the installed program take over, clients connected.

After a new hearthd was installed at the old one's path: it is asked first whether it starts and
understands what it would be handed; if not, nothing changes and the command says why. Clients stay
connected, the engine goes on, and answers under way continue where they were. For administrators.
"""

from __future__ import annotations

import argparse

from .. import client
from .output import print_done

EXAMPLES = (("hearth upgrade", "after a package was installed"),)
JSON = '`{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> int:
    """Ends when the new program has answered."""
    with client.connect(options.socket) as service:
        text = service.upgrade()
    return print_done(text, options.json)
