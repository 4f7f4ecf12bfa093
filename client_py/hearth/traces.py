"""Requests as Chrome's trace JSON, for ui.perfetto.dev or chrome://tracing.

Pure. One process of the trace for each program that asked, one track below it for each request that
it had open at the same time, and on a track a request with its phases inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import messages
from .receipts import PHASES

Record = messages.RequestRecord


def trace_of(records: Iterable[Record]) -> dict[str, Any]:
    """The trace of all of them. Microseconds from the first arrival, whose Unix time in
    milliseconds is `otherData.began_ms`."""
    ordered = sorted(records, key=lambda record: (record.at_ms, record.request))
    began_ms = ordered[0].at_ms if ordered else 0
    lanes: dict[int, list[float]] = {}  # of each connection: when its tracks are free again
    names: dict[int, str] = {}
    events: list[dict[str, Any]] = []
    for record in ordered:
        at_us = (record.at_ms - began_ms) * 1000.0
        end_us = at_us + record.receipt.total_ms * 1000
        track = _free_track(lanes.setdefault(record.connection, []), at_us, end_us)
        names.setdefault(record.connection, f"{record.client} (process {record.pid})")
        events += _events(record, at_us, end_us, track)
    return {
        "traceEvents": [*_headings(names, lanes), *events],
        "displayTimeUnit": "ms",
        "otherData": {"began_ms": began_ms},
    }


def _free_track(free_us: list[float], at_us: float, end_us: float) -> int:
    """Requests of one track do not overlap."""
    for track, since in enumerate(free_us):
        if since <= at_us:
            free_us[track] = end_us
            return track
    free_us.append(end_us)
    return len(free_us) - 1


def _headings(names: dict[int, str], lanes: dict[int, list[float]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for connection, name in names.items():
        found.append(_heading("process_name", connection, 0, name))
        for track in range(len(lanes[connection])):
            found.append(_heading("thread_name", connection, track, f"request {track + 1}"))
    return found


def _heading(kind: str, connection: int, track: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": connection, "tid": track, "args": {"name": name}}


def _events(record: Record, at_us: float, end_us: float, track: int) -> list[dict[str, Any]]:
    """The request and its phases, which never reach beyond it."""
    what = f"{record.kind} {record.name}".strip() + (f": {record.code}" if record.code else "")
    fields = record.to_fields()
    made = [_event(what, "request", at_us, end_us, record, track, fields)]
    if record.receipt.replayed:
        return made
    for name in PHASES:
        us = float(getattr(record.receipt, f"{name}_ms")) * 1000
        phase_end_us = min(end_us, at_us + us)
        if phase_end_us > at_us:
            made.append(_event(name, "phase", at_us, phase_end_us, record, track, {}))
        at_us = phase_end_us
    return made


def _event(
    name: str,
    kind: str,
    at_us: float,
    end_us: float,
    record: Record,
    track: int,
    args: dict[str, Any],
) -> dict[str, Any]:
    made = {"name": name, "cat": kind, "ph": "X", "ts": at_us, "dur": end_us - at_us}
    return {**made, "pid": record.connection, "tid": track, "args": args}
