"""How trace and explain name a request."""

from __future__ import annotations

import argparse

from .. import client, errors, messages
from ..explain import pick

MOST = 4096  # that the service keeps
REQUEST_HELP = "number of a request (it is in the receipt), last, or slow"


def add_request(parser: argparse.ArgumentParser, words: str = "") -> None:
    """The positional argument."""
    parser.add_argument(
        "request", nargs="?", default="last", metavar="REQUEST",
        help=f"{REQUEST_HELP}{words}; default: last",
    )  # fmt: skip


def kept(options: argparse.Namespace) -> list[messages.RequestRecord]:
    """All that the service keeps of what the asker may see, latest first."""
    with client.connect(options.socket) as service:
        return service.requests(limit=MOST)


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def picked(word: str, records: list[messages.RequestRecord]) -> messages.RequestRecord:
    """Raises BadRequest where there is none."""
    if not records:
        raise errors.BadRequest(
            "No request that you may see has ended since the service started.",
            "`hearth caption PICTURE` makes one.",
        )
    found = pick(word, records)
    if found is None:
        raise errors.BadRequest(
            f"No request {word!r} is kept; there {_are(len(records))} that you may see.",
            "The service keeps the last 4096 that ended. Name one by its number, last or slow.",
        )
    return found
