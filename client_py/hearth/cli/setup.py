"""Fetch libtorch, with which the engine computes.

The packages of hearth are without it. As root it is for every user of the machine and lies beside
the engine, in lib/hearth/torch; otherwise it is your own, in ~/.local/share/hearth/torch. Every
file is pinned by its digest. It can be interrupted: what was fetched is kept. It is in place only
once the engine has proved that it loads it; a service that runs finds it within half a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from .. import libtorch
from ..libtorch import bring
from ..units import amount
from .output import answers, problems

EXAMPLES = (
    ("sudo hearth setup", "say what it would fetch and where to, and ask"),
    ("hearth setup --for cpu --yes", "for your own use, without a GPU, without asking"),
)
JSON = "{version, variant, folder, download_bytes, unpacked_bytes, done, engine}"
_SHOW_EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which one, and without asking."""
    parser.add_argument(
        "--for",
        dest="variant",
        choices=libtorch.VARIANTS,
        help="what it shall compute on; default: cuda where there is an NVIDIA driver, else cpu",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--again", action="store_true", help="even if there is one that works")
    parser.add_argument(
        "--mirror", metavar="URL", help="where the files lie by their names, instead of PyPI"
    )
    parser.add_argument("--worker", metavar="PATH", help="the engine; default: beside this command")


def run(options: argparse.Namespace) -> int:
    """What would be done; done when it is wished."""
    os.umask(0o022)  # what root brings is for everybody
    engine = libtorch.engine_program(options.worker)
    variant = options.variant or libtorch.variant_for_this_machine()
    plan = libtorch.plan(variant, libtorch.root_for(engine))
    told = {
        "version": plan.version,
        "variant": variant,
        "folder": str(plan.folder),
        "download_bytes": plan.download_bytes,
        "unpacked_bytes": plan.unpacked_bytes,
    }
    checked = libtorch.check(engine, "auto" if variant == "cuda" else "cpu")
    is_done = checked.works and not options.again
    if not is_done:
        _announce(plan, options.json)
        if not (options.yes or _agrees()):
            problems().print("Nothing was fetched. --yes does it without asking.", markup=False)
            return 1
        checked = bring.bring(plan, engine, options.mirror, _Progress())
    _tell({**told, "done": not is_done, "engine": checked.says.splitlines()}, options.json)
    return 0


def _announce(plan: libtorch.Plan, as_json: bool) -> None:
    kind = "an NVIDIA GPU" if plan.variant == "cuda" else "the CPU alone"
    lines = (
        f"libtorch {plan.version} for {kind}, into {plan.folder}",
        f"  {amount(plan.download_bytes)} to fetch, {amount(plan.unpacked_bytes)} on disk",
    )
    out = problems() if as_json else answers()
    out.print("\n".join(lines), markup=False)


def _agrees() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _tell(told: dict[str, object], as_json: bool) -> None:
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
        return
    lines = told["engine"]
    assert isinstance(lines, list)
    if told["done"]:
        place = Path(str(told["folder"]))
        answers().print(f"In place: {place}", markup=False)
        lines = [*lines, "A service that runs finds it within half a minute."]
    else:
        lines = ["The engine has all that it needs; --again fetches libtorch all the same.", *lines]
    answers().print("\n".join(lines), markup=False)


class _Progress:
    """A line a second on the error output."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + _SHOW_EVERY_S
        share = f"{amount(done)} of {amount(total)}  " if total else ""
        problems().print(f"{share}{what}", markup=False)
