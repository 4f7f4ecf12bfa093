"""Write requests as a trace for ui.perfetto.dev.

The file is in Chrome's trace format: a track for each program that asked, and on it every request
with its phases.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..traces import trace_of
from .output import answers, print_json
from .records import add_request, kept, picked
from .tree import completes

EXAMPLES = (
    ("hearth trace all --out trace.json", "all that the service remembers"),
    ("hearth trace slow --out slow.json", "the request that took longest for its kind"),
)
JSON = "`requests` (how many), `out`; without --out the trace itself"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which requests, and where to."""
    add_request(parser, ", or all")
    out = parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="default: to standard output"
    )
    completes(out, "files")


def run(options: argparse.Namespace) -> int:
    """Reads the records, writes the trace."""
    records = kept(options)
    chosen = records if options.request == "all" else [picked(options.request, records)]
    trace = trace_of(chosen)
    if options.out is None:
        print(json.dumps(trace, ensure_ascii=False))
        return 0
    options.out.write_text(json.dumps(trace, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.json:
        print_json({"requests": len(chosen), "out": str(options.out)})
    else:
        answers().print(f"{len(chosen)} in {options.out}; open it in ui.perfetto.dev", markup=False)
    return 0
