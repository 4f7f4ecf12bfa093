"""What `hearth top` shows: rows made of two looks at the service, and their layout. Pure.

A row is a request, or a client that has none. S: R running, L its model is being loaded, Q queued,
I idle, ! does not answer. TOK/S is over the time between the two looks. SHM and ERR, its failed
requests since it connected, stand in a client's first row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .. import messages
from ..devices import throttles
from ..units import duration, size
from .output import BAR_CELLS, bar, program_of
from .status import health_text
from .tables import Fitting, FittingTable

SORTS = ("busy", "wait", "tok/s", "shm", "client")
_STATES = {"running": "R", "loading": "L", "queued": "Q"}
_STYLES = {"R": "green", "L": "cyan", "Q": "yellow", "I": "dim", "!": "bold red"}
_OPERATIONS = {"count_tokens": "count"}
_NAME_CELLS = 9  # of a client's and of a model's name at least
_KEYS = "q quit   space pause   s sort   1-9 interval"


@dataclass(frozen=True)
class Look:
    """The service at one moment of the monotonic clock, in seconds."""

    at: float
    status: messages.StatusReport
    jobs: list[messages.JobEntry]


@dataclass
class Row:
    """One line. Times in milliseconds; rates in tokens per second."""

    state: str
    client: str
    uid: int
    model: str = ""
    operation: str = ""
    wait_ms: float = 0.0
    busy_ms: float = 0.0
    rate: float = 0.0
    shared_bytes: int | None = None
    failed: int | None = None


@dataclass(frozen=True)
class View:
    """How it is looked at."""

    sort: str = "busy"
    paused: bool = False
    gone: str = ""  # why there is no newer look
    interval_s: float = 1.0
    with_keys: bool = False


def rows_of(now: Look, before: Look | None) -> list[Row]:
    """A row for each request, and for each client without one."""
    if before is not None and before.status.boot_id != now.status.boot_id:
        before = None  # it was started again: its counters begin anew
    jobs: dict[int, list[messages.JobEntry]] = {}
    for job in now.jobs:
        jobs.setdefault(job.connection, []).append(job)
    rows = []
    for client in now.status.clients:
        own = [_job_row(job, now, before) for job in jobs.pop(client.connection, [])]
        rate = _client_rate(client, now, before)
        for row in own or [Row("I", program_of(client.client), client.uid, rate=rate)]:
            row.state = "!" if client.stalled else row.state
            rows.append(row)
        first = rows[-max(len(own), 1)]
        first.shared_bytes, first.failed = client.arena_bytes, client.failed
    orphans = [job for left in jobs.values() for job in left]
    return rows + [_job_row(job, now, before) for job in orphans]


def sorted_rows(rows: list[Row], sort: str) -> list[Row]:
    """The most of it first; clients by name."""
    if sort == "client":
        return sorted(rows, key=lambda row: row.client)
    keys = {
        "busy": lambda row: ("RLQ!I".index(row.state), -row.busy_ms),
        "wait": lambda row: (-row.wait_ms,),
        "tok/s": lambda row: (-row.rate,),
        "shm": lambda row: (-(row.shared_bytes or 0),),
    }
    return sorted(rows, key=keys[sort])


def screen(now: Look, before: Look | None, view: View) -> RenderableType:
    """All of it, from top to bottom; with keys, as many rows as the screen holds."""
    head: list[RenderableType] = [_title(now.status), *_devices(now.status), Text()]
    if view.gone:
        text = f"The service does not answer since {view.gone}; asking again every second."
        head.append(Text(text, "bold red"))
    rows = sorted_rows(rows_of(now, before), view.sort)
    if not view.with_keys:
        return Group(*head, _table(rows, view.sort))
    paused = "PAUSED   " if view.paused else ""
    keys = f"{paused}{_KEYS}   sorted by {view.sort}, every {view.interval_s:g} s"
    return _Page(Group(*head), rows, view.sort, Group(Text(), Text(keys, "dim")))


@dataclass(frozen=True)
class _Page:
    """As high as the screen at most: rows between what is there however many they are."""

    head: Group
    rows: list[Row]
    sort: str
    foot: Group

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        others = (self.head, _table([], self.sort), self.foot)
        heights = [len(console.render_lines(part, options.reset_height())) for part in others]
        shown, room = self.rows, options.max_height - sum(heights)
        if len(shown) > room:
            shown = shown[: max(room - 1, 0)]
        yield self.head
        yield _table(shown, self.sort)
        if left := len(self.rows) - len(shown):
            yield Text(f"{left} more", "dim")
        yield self.foot


def _job_row(job: messages.JobEntry, now: Look, before: Look | None) -> Row:
    earlier = next((one for one in before.jobs if one.job == job.job), None) if before else None
    if before and earlier:
        rate = (job.tokens - earlier.tokens) / max(now.at - before.at, 1e-3)
    else:
        rate = 1000 * job.tokens / job.running_ms if job.running_ms else 0.0
    return Row(
        _STATES.get(job.state, "?"), program_of(job.client), job.uid, job.name,
        _OPERATIONS.get(job.kind, job.kind), job.waited_ms, job.running_ms, max(rate, 0.0),
    )  # fmt: skip


def _client_rate(client: messages.ClientEntry, now: Look, before: Look | None) -> float:
    if before is None:
        return 0.0
    for one in before.status.clients:
        if one.connection == client.connection:
            made = client.generated_tokens - one.generated_tokens
            return max(made, 0) / max(now.at - before.at, 1e-3)
    return 0.0


def _title(report: messages.StatusReport) -> RenderableType:
    left = Text.assemble((report.server or "hearth", "bold"), "  ", health_text(report))
    rate = f"{report.tokens_per_second:.0f} tok/s"
    right = (
        f"{report.running}/{report.slots} running  {report.queued} waiting  {rate}  "
        f"up {duration(report.uptime_ms)}  {time.strftime('%H:%M:%S')}"
    )

    def made(width: int) -> RenderableType:
        if width < left.cell_len + 1 + len(right):
            return Group(left, Text(right, no_wrap=True, overflow="ellipsis"))
        line = Table.grid(expand=True)
        line.add_column(ratio=1, no_wrap=True)
        line.add_column(justify="right", no_wrap=True)
        line.add_row(left, right)
        return line

    return Fitting(made)


def _devices(report: messages.StatusReport) -> list[RenderableType]:
    """A line a device with how it is, and a bar of the memory that models take."""
    lines: list[RenderableType] = []
    for number, device in enumerate(report.devices):
        state = report.device_state if number == 0 else messages.DeviceState()
        kind = "GPU" if device.kind == "cuda" else device.kind.upper()
        text = Text.assemble((f"{kind} ", "bold"), f"{device.name}  ", _state_text(state))
        text.no_wrap, text.overflow = True, "ellipsis"
        lines.append(text)
    state = report.device_state
    if state.memory_used_bytes is not None and state.memory_total_bytes:
        lines.append(_memory("device", state.memory_used_bytes, state.memory_total_bytes))
    if report.memory_budget_bytes:
        lines.append(_memory("models", report.memory_bytes, report.memory_budget_bytes))
    if report.warm_bytes and report.warm_budget_bytes:
        lines.append(_memory("warm", report.warm_bytes, report.warm_budget_bytes))
    return lines


def _memory(what: str, part: int, whole: int) -> RenderableType:
    said = f" {size(part)} of {size(whole)}"

    def made(width: int) -> Text:
        cells = min(max(width - 7 - len(said), 4), BAR_CELLS)
        return Text.assemble((f"{what:<7}", "bold"), bar(part, whole, cells), said)

    return Fitting(made)


def _state_text(state: messages.DeviceState) -> Text:
    parts = []
    if state.clock_mhz is not None:
        parts.append(f"{state.clock_mhz} MHz")
    if state.power_w is not None:
        limit = "" if state.power_limit_w is None else f"/{state.power_limit_w:.0f}"
        parts.append(f"{state.power_w:.0f}{limit} W")
    if state.temperature_c is not None:
        parts.append(f"{state.temperature_c} °C")
    text = Text("  ".join(parts))
    if reasons := throttles(state):
        text.append(f"  throttled: {', '.join(reasons)}", "bold yellow")
    return text


def _table(rows: list[Row], sort: str) -> Table:
    made = FittingTable(
        box=None, pad_edge=False, padding=(0, 1, 0, 0), expand=True, header_style="bold"
    )
    made.kept = {0, 1, 3, 6, 7}
    marks = {"BUSY": "busy", "WAIT": "wait", "TOK/S": "tok/s", "SHM": "shm", "CLIENT": "client"}
    for name, width in (
        ("S", 1), ("CLIENT", 0), ("UID", 5), ("MODEL", 0), ("OP", 8), ("WAIT", 6), ("BUSY", 6),
        ("TOK/S", 5), ("SHM", 6), ("ERR", 3),
    ):  # fmt: skip
        made.add_column(
            Text(name, "bold reverse" if marks.get(name) == sort else "bold"),
            no_wrap=True,
            overflow="ellipsis",
            justify="left" if name in ("S", "CLIENT", "MODEL", "OP") else "right",
            width=width or None,
            min_width=None if width else _NAME_CELLS,
            ratio=None if width else 1,
        )
    for row in rows:
        made.add_row(
            Text(row.state, _STYLES.get(row.state, "")), row.client, str(row.uid), row.model,
            row.operation, _short_time(row.wait_ms), _short_time(row.busy_ms),
            f"{row.rate:.0f}" if row.rate else "",
            "" if row.shared_bytes is None else _short_size(row.shared_bytes),
            Text(str(row.failed), "red") if row.failed else "",
        )  # fmt: skip
    return made


def _short_time(milliseconds: float) -> str:
    """Five characters at most: 0.3s, 34s, 12m, 3h."""
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.1f}s" if seconds else ""
    if seconds < 100:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 6000 else f"{seconds / 3600:.0f}h"


def _short_size(nbytes: int) -> str:
    return size(nbytes).replace("iB", "").replace(" ", "") if nbytes else ""
