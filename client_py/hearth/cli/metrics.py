"""Print the service's metrics, or watch them change.

They are in Prometheus' text format; docs/metrics.md says what each one means.
"""

from __future__ import annotations

import argparse
import time

from .. import client
from ..exposition import samples_of
from .output import answers, print_json
from .values import seconds

EXAMPLES = (
    ("hearth metrics", "all of them, as a collector reads them"),
    ("hearth metrics --watch", "what changes, every two seconds"),
)
JSON = "an object: each sample's name with its labels, and its value; --watch: one a line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Once or again and again."""
    parser.add_argument("-w", "--watch", action="store_true", help="go on with what changes")
    parser.add_argument(
        "--every", type=seconds, default=2.0, metavar="SECONDS", help="with --watch; default: 2"
    )


def run(options: argparse.Namespace) -> int:
    """The text, or its changes until it is interrupted."""
    if not options.every:
        options.usage_error("--every: more than 0")
    with client.connect(options.socket) as service:
        text = service.metrics()
        if options.json:
            print_json(dict(samples_of(text)))
        elif not options.watch:
            print(text, end="")
        while options.watch:
            before = samples_of(text)
            time.sleep(options.every)
            text = service.metrics()
            _show(before, samples_of(text), options.json)
    return 0


def _show(before: dict[str, float], now: dict[str, float], as_json: bool) -> None:
    """What differs; buckets of histograms are left to collectors."""
    changed = {
        name: value
        for name, value in now.items()
        if value != before.get(name) and "_bucket{" not in name and name.split("{")[0] not in _NOISE
    }
    if as_json:
        print_json(dict(changed))
        return
    for name, value in changed.items():
        grown = f"  ({_digits(_difference(before[name], value), '+')})" if name in before else ""
        shown = f"{name} {_digits(value)}{grown}"
        answers().print(f"{time.strftime('%H:%M:%S')}  {shown}", markup=False)


def _difference(before: float, now: float) -> float:
    """To a billionth: below that, sums of seconds have nothing but what rounding left."""
    return round(now - before, 9)


def _digits(value: float, sign: str = "") -> str:
    """All that tell something: of a count, every one. sign: "+" marks what is not negative."""
    return f"{value:{sign}.0f}" if value.is_integer() else f"{value:{sign}.12g}"


_NOISE = {"hearth_process_resident_bytes"}  # changes at every look
