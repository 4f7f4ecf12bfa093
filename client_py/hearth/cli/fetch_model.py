"""Fetch a model from the Hugging Face hub.

Only what is missing of it comes, and is compared with the hub's digests. The service takes no part
in it. HF_ENDPOINT and HF_TOKEN count.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .. import hub
from ..units import amount
from .output import answers, print_json, problems

EXAMPLES = (
    ("hearth fetch-model Qwen/Qwen3-VL-2B-Instruct --into ComfyUI/models/LLM", "size and licence"),
    ("hearth fetch-model Qwen/Qwen3-VL-2B-Instruct --into ComfyUI/models/LLM --yes", "the model"),
)
JSON = '`{"repository", "revision", "bytes", "licence", "page"}`, with --yes also `"folder"`'
_SHOW_EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What, and where it goes."""
    parser.add_argument("repository", metavar="OWNER/NAME", help="as the hub calls it")
    parser.add_argument(
        "--into", type=Path, required=True, metavar="DIR", help="its folder NAME comes in here"
    )
    parser.add_argument("--revision", default="main", help="branch, tag or commit")
    parser.add_argument(
        "--yes", action="store_true", help="fetch; without it, size and licence are all you get"
    )


def run(options: argparse.Namespace) -> int:
    """The listing, and with --yes the model."""
    listing = hub.look_up(options.repository, options.revision)
    told = {
        "repository": listing.repository,
        "revision": listing.revision,
        "bytes": listing.nbytes,
        "licence": listing.licence,
        "page": listing.page,
    }
    if options.yes:
        options.into.mkdir(parents=True, exist_ok=True)
        told["folder"] = str(hub.fetch(listing, options.into, _Progress()))
    if options.json:
        print_json(told)
        return 0
    size = f"{amount(listing.nbytes)} in {len(listing.files)} files"
    answers().print(f"{listing.repository}: {size}, licence {listing.licence}", markup=False)
    answers().print(told.get("folder") or f"{listing.page}\n--yes fetches it.", markup=False)
    return 0


class _Progress:
    """A line a second on the error output."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, progress: hub.Progress) -> None:
        if progress.is_waiting:
            problems().print("Waiting for another download of it …", markup=False)
            return
        now = time.monotonic()
        if now >= self._next or progress.done == progress.total:
            self._next = now + _SHOW_EVERY_S
            done = f"{amount(progress.done)} of {amount(progress.total)}"
            problems().print(f"{done}  {progress.file}", markup=False)
