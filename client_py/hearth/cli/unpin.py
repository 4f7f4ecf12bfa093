"""Let a pinned model leave the device again.

When it has been idle for long, or another one needs the room. For administrators.
"""

from __future__ import annotations

import argparse

from .pin import JSON as JSON
from .pin import add_arguments as add_arguments
from .pin import pinned

EXAMPLES = (("hearth unpin ember", "it may leave"),)


def run(options: argparse.Namespace) -> int:
    """One request."""
    return pinned(options, False)
