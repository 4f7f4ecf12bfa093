"""Say why a request was slow, compared with others like it.

Alike are the requests of the same model and kind, about as long, that the service still remembers.
"""

from __future__ import annotations

import argparse

from .. import explain
from .output import answers, print_json
from .records import add_request, kept, picked

EXAMPLES = (
    ("hearth explain", "the last request that ended"),
    ("hearth explain slow", "the one that took longest for its kind"),
    ("hearth explain 4711", "one of them; the number is in its receipt and in the log"),
)
JSON = "`request` (a request_record), `verdict`, `alike`, `usual_ms`, `phases`, `causes`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which request."""
    add_request(parser)


def run(options: argparse.Namespace) -> int:
    """The request against its own history."""
    records = kept(options)
    found = explain.explain(picked(options.request, records), records)
    if options.json:
        print_json(explain.as_fields(found))
    else:
        answers().print(explain.describe(found), markup=False)
    return 0
