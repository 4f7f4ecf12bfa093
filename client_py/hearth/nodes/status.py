"""*Hearth Status*: what the service holds and does, as text."""

from __future__ import annotations

from .. import errors, messages
from ..units import size, times
from ._answer import show
from ._columns import table
from ._schema import Input, Node, Output, Shown
from ._service import connected


async def run(trigger: object = None) -> Shown:
    """Asks the service. When it is down, the text says so and how to start it."""
    try:
        async with connected() as service:
            text = report(await service.status())
    except errors.NotReachable as error:
        text = f"hearth does not answer.\n{error}"
    except errors.HearthError as error:
        text = str(error)
    show(text)
    return Shown((text,), text)


def report(status: messages.StatusReport) -> str:
    """The service's report as lines that a person can read."""
    lines = [
        f"{status.server}, up {_duration(status.uptime_ms)}",
        f"engine    {_engine(status)}",
        *(line for device in status.devices for line in _device(device)),
        f"requests  {status.running} running, {status.queued} waiting, {status.served} answered,"
        f" {status.failed} failed ({status.slots} at once)",
        f"memory    service {size(status.rss_bytes)},"
        f" {status.arenas} shared areas of {size(status.arena_bytes)} in all",
        *([f"models    {_memory(status)}"] if status.memory_budget_bytes else []),
        *([f"warm      {_warm(status)}"] if status.warm_bytes else []),
    ]
    models = [
        (m.name, m.family, m.dtype, m.state, size(m.resident_bytes), m.loads, m.holders)
        for m in status.models
    ]
    from ..models import names_of  # not while ComfyUI starts

    names = names_of(status.models)
    caches = [
        (
            names.get(c.model, c.model) or "service",
            c.name,
            c.entries,
            size(c.bytes),
            c.hits,
            c.misses,
        )
        for c in status.caches
    ]
    clients = [(c.client, c.pid, c.open_requests, size(c.arena_bytes)) for c in status.clients]
    lines += table(("model", "family", "type", "state", "memory", "loads", "holders"), models)
    lines += table(("cache of", "kind", "entries", "memory", "hits", "misses"), caches)
    lines += table(("client", "process", "requests", "shared"), clients)
    return "\n".join(lines)


def _memory(status: messages.StatusReport) -> str:
    return f"{size(status.memory_bytes)} of {size(status.memory_budget_bytes)}"


def _warm(status: messages.StatusReport) -> str:
    return f"{size(status.warm_bytes)} of {size(status.warm_budget_bytes)}, pinned"


def _engine(status: messages.StatusReport) -> str:
    process = f", process {status.worker_pid}" if status.worker_pid else ""
    lost = f", restarted {times(status.worker_restarts)}" if status.worker_restarts else ""
    return status.worker_state + process + lost


def _device(device: messages.Device) -> list[str]:
    from ..devices import device_lines  # not while ComfyUI starts

    labels = ["device", "", ""]
    return [f"{label:<10}{line}" for label, line in zip(labels, device_lines(device))]


def _duration(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


NODE = Node(
    node_id="HearthStatus",
    display_name="Hearth Status",
    category="Hearth/diagnostics",
    description="Shows what the hearth service holds and does: engine, models, memory, clients."
    " Runs every time; when the service is down, the text says how to start it.",
    inputs=(
        Input(
            "trigger",
            "*",
            "Anything: the status is taken after the node connected here has run.",
            optional=True,
        ),
    ),
    outputs=(Output("status", "STRING", "The same text that the node shows."),),
    run=run,
    always_runs=True,
    search_aliases=("hearth", "diagnostics", "daemon"),
)
