"""Show what is at work and what waits, or cancel it.

Administrators see and cancel everybody's requests, others those of their own user.
"""

from __future__ import annotations

import argparse

from rich.table import Table

from .. import client, messages
from ..units import duration
from .ending import add_ending
from .output import answers, print_done, print_json, program_of
from .tables import table

EXAMPLES = (
    ("hearth jobs", "running ones first, then in the order in which they will be served"),
    ("hearth jobs cancel 17", "ends one; its program is told that it was cancelled"),
)
JSON = '`{"jobs": [job_entry, …]}`; `cancel`: `{"text": what happened}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`cancel ID`."""
    add_ending(parser, "cancel", "end a request", "jobs")


def run(options: argparse.Namespace) -> int:
    """The listing, or a cancellation."""
    with client.connect(options.socket) as service:
        if options.ended is not None:
            return print_done(service.cancel_job(options.ended), options.json)
        jobs = service.jobs()
    if options.json:
        print_json({"jobs": [job.to_fields() for job in jobs]})
    elif jobs:
        answers().print(_listing(jobs))
    else:
        answers().print("Nothing is at work and nothing waits.")
    return 0


def _listing(jobs: list[messages.JobEntry]) -> Table:
    made = table(
        "", ">ID", "STATE", "WHAT", "MODEL", "CLIENT", ">PID", ">UID", ">WAITED", ">RAN", ">TOKENS"
    )
    for column in made.columns:
        column.no_wrap = True
        column.overflow = "ellipsis"
    for job in jobs:
        state = f"queued, {job.place} before it" if job.state == "queued" else job.state
        made.add_row(
            str(job.job), state, job.kind, job.name, program_of(job.client), str(job.pid),
            str(job.uid), duration(job.waited_ms), duration(job.running_ms),
            str(job.tokens) if job.tokens else "",
        )  # fmt: skip
    return made
