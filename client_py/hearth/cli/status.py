"""Show how the service is doing, on one screen.

Health is one of listening (clients are served, the engine is not there), gpu_ok (the engine can
take work), loaded (a model is on the device), warm (it has answered: nothing cold is left) and
failed (the engine does not start again by itself; exit code 5). --all adds caches and clients.
"""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from .. import client, messages
from ..devices import device_lines, state_lines
from ..models import names_of
from ..units import duration, size, times
from . import EXIT_DEVICE, clients, ps
from .output import answers, bar, clock, print_json, program_of
from .tables import table

EXAMPLES = (
    ("hearth status", "everything at a glance"),
    ("hearth status --json | jq -r .health", "for a script"),
)
JSON = "`status_report`, with `protocol`"
HEALTH_STYLES = {
    "listening": "yellow", "gpu_ok": "green", "loaded": "green", "warm": "bold green",
    "failed": "bold red",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much."""
    parser.add_argument("-a", "--all", action="store_true", help="also caches, clients and numbers")


def run(options: argparse.Namespace) -> int:
    """One status request, printed."""
    with client.connect(options.socket) as service:
        report = service.status()
        welcome = service.welcome
    protocol = welcome.version if welcome else 0
    if options.json:
        print_json({**report.to_fields(), "protocol": protocol})
    else:
        out = answers()
        for part in screen_of(report, protocol, options.all):
            out.print(part)
    return EXIT_DEVICE if report.health == "failed" else 0


def screen_of(report: messages.StatusReport, protocol: int, in_full: bool) -> list[object]:
    """The parts of the screen from its top to its end."""
    parts: list[object] = [_title(report, protocol), _service(report, in_full)]
    loaded = [model for model in report.models if in_full or model.state != "cold"]
    if loaded:
        parts += ["", ps.models_table(loaded, "Models", in_full)]
    if in_full and report.caches:
        parts += ["", _caches(report)]
    if in_full and report.clients:
        parts += ["", clients.listing(report.clients)]
    return parts


def health_text(report: messages.StatusReport) -> Text:
    """Marked by a colour and a dot, so that it is found at once."""
    style = HEALTH_STYLES.get(report.health, "")
    mode = "" if report.mode == "serving" else f", {report.mode}"
    return Text.assemble(("● ", style), (report.health, style), (mode, "bold yellow"))


def _title(report: messages.StatusReport, protocol: int) -> Text:
    return Text.assemble(
        (report.server or "hearth", "bold"),
        f" · protocol {protocol} · up {duration(report.uptime_ms)} · ",
        health_text(report),
    )


def _service(report: messages.StatusReport, in_full: bool) -> Table:
    made = table("", "", "")
    made.show_header = False
    for reason in report.health_reasons:
        made.add_row("why", Text(reason, "yellow"))
    for device in report.devices:
        for number, line in enumerate(device_lines(device)):
            made.add_row("" if number else "device", Text(line))
    state = report.device_state
    if any(one is not None for one in (state.clock_mhz, state.power_w, state.temperature_c)):
        for line in state_lines(state):
            made.add_row("", Text(line))
    made.add_row("you", "an administrator" if report.may_administer else "no administrator")
    made.add_row("worker", _worker(report))
    made.add_row("requests", _requests(report))
    rate = f"{report.tokens_per_second:.0f} tokens/s, " if report.tokens_per_second else ""
    made.add_row("tokens", f"{rate}{report.generated_tokens} since start")
    if report.memory_bytes or report.memory_budget_bytes:
        made.add_row("model memory", _bar(report.memory_bytes, report.memory_budget_bytes))
    if report.warm_bytes:
        made.add_row("warm memory", _bar(report.warm_bytes, report.warm_budget_bytes))
    made.add_row("shared memory", f"{size(report.arena_bytes)} in {report.arenas} arenas")
    if in_full:
        made.add_row("broker", f"{size(report.rss_bytes)}, {report.descriptors} descriptors")
        made.add_row("log", report.log or "a terminal or a pipe")
    for one in report.quarantined:
        again = f"refused for {duration(one.left_ms)}: it ended the engine {times(one.deaths)}"
        made.add_row("quarantine", Text(f"{one.name or one.model} {again}", "red"))
    for entry in report.last_errors[: None if in_full else 1]:
        made.add_row("last error", Text(_error(entry), "red"))
    return made


def _worker(report: messages.StatusReport) -> str:
    worker = report.worker_state
    if report.worker_pid:
        worker += f", process {report.worker_pid}"
    if report.worker_restarts:
        worker += f", lost {times(report.worker_restarts)}"
    if report.upgrades:
        worker += f"; broker upgraded {times(report.upgrades)}"
    return worker


def _requests(report: messages.StatusReport) -> str:
    return (
        f"{report.running} of {report.slots} running, {report.queued} waiting; "
        f"{report.served} answered, {report.failed} failed"
    )


def _error(entry: messages.ErrorEntry) -> str:
    about = ", ".join(part for part in (entry.model, program_of(entry.client)) if part)
    return f"{clock(entry.at_ms)} {entry.code}: {entry.what}" + (f" ({about})" if about else "")


def _bar(nbytes: int, budget_bytes: int) -> Text:
    """████░░░░ 9.1 GiB of 18 GiB (51 %)"""
    if not budget_bytes:
        return Text(share(nbytes, 0))
    return Text.assemble(bar(nbytes, budget_bytes), " ", share(nbytes, budget_bytes))


def share(nbytes: int, budget_bytes: int) -> str:
    """9.1 GiB of 18 GiB (51 %); a budget of 0 is not known."""
    if budget_bytes == 0:
        return size(nbytes)
    return f"{size(nbytes)} of {size(budget_bytes)} ({100 * nbytes / budget_bytes:.0f} %)"


def _caches(report: messages.StatusReport) -> Table:
    made = table("Caches", "OF", "CACHE", ">ENTRIES", ">MEMORY", ">HITS", ">MISSES")
    names = names_of(report.models)
    for cache in report.caches:
        owner = names.get(cache.model, cache.model) if cache.model else "the service"
        made.add_row(owner, cache.name, str(cache.entries), share(cache.bytes, cache.budget_bytes),
                     str(cache.hits), str(cache.misses))  # fmt: skip
    return made
