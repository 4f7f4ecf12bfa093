"""Show how the service is doing."""

from __future__ import annotations

import argparse
import json

from rich.table import Table

from .. import client, messages
from ..devices import device_lines
from ..models import names_of
from ..units import duration, size
from .output import answers, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> int:
    """One status request, printed."""
    with client.connect(options.socket) as service:
        report = service.status()
    if options.json:
        print(json.dumps(report.to_fields(), ensure_ascii=False))
        return 0
    out = answers()
    for section in (_service(report), _models(report), _caches(report), _clients(report)):
        out.print(section)
        out.print()
    return 0


def _service(report: messages.StatusReport) -> Table:
    made = table(report.server, "", "")
    made.show_header = False
    worker = report.worker_state
    if report.worker_pid:
        worker += f", process {report.worker_pid}"
    if report.worker_restarts:
        worker += f", lost {report.worker_restarts} times"
    made.add_row("up for", duration(report.uptime_ms))
    made.add_row("worker", worker)
    for device in report.devices:
        for number, line in enumerate(device_lines(device)):
            made.add_row("" if number else "device", line)
    made.add_row("requests", f"{report.running} of {report.slots} running, {report.queued} waiting")
    made.add_row("since start", f"{report.served} answered, {report.failed} failed")
    if report.memory_bytes or report.memory_budget_bytes:
        made.add_row("model memory", _share(report.memory_bytes, report.memory_budget_bytes))
    if report.warm_bytes:
        made.add_row("warm memory", _share(report.warm_bytes, report.warm_budget_bytes))
    made.add_row("shared memory", f"{size(report.arena_bytes)} in {report.arenas} arenas")
    made.add_row("broker", f"{size(report.rss_bytes)}, {report.descriptors} descriptors")
    return made


def _models(report: messages.StatusReport) -> Table:
    made = table(
        "Models", "name", "id", "family", "dtype", "state", ">memory", ">warm", ">loads", ">held by"
    )
    for model in report.models:
        memory = size(model.resident_bytes) if model.resident_bytes else ""
        image = size(model.image_bytes) if model.image_bytes else ""
        held = f"{model.holders}{' (public)' if model.is_public else ''}"
        made.add_row(model.name, model.model, model.family, model.dtype, model.state,
                     memory, image, str(model.loads), held)  # fmt: skip
    return made


def _share(nbytes: int, budget_bytes: int) -> str:
    """9.1 GiB of 18 GiB (51 %); a budget of 0 is not known."""
    if budget_bytes == 0:
        return size(nbytes)
    return f"{size(nbytes)} of {size(budget_bytes)} ({100 * nbytes / budget_bytes:.0f} %)"


def _caches(report: messages.StatusReport) -> Table:
    made = table("Caches", "of", "cache", ">entries", ">memory", ">hits", ">misses")
    names = names_of(report.models)
    for cache in report.caches:
        owner = names.get(cache.model, cache.model) if cache.model else "the service"
        made.add_row(owner, cache.name, str(cache.entries), _share(cache.bytes, cache.budget_bytes),
                     str(cache.hits), str(cache.misses))  # fmt: skip
    return made


def _clients(report: messages.StatusReport) -> Table:
    made = table("Clients", ">id", "program", ">process", ">requests", ">shared memory")
    for one in report.clients:
        made.add_row(str(one.connection), one.client, str(one.pid), str(one.open_requests),
                     size(one.arena_bytes))  # fmt: skip
    return made
