"""What the service computes on and how that is doing, in lines for people.

Pure. Every number has its place: one that is not known is said to be.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import messages
from .units import amount, size

UNKNOWN = "unknown"  # in throttled_by: the driver would not say
_FULL = 0.95


def device_named(devices: Iterable[messages.Device], name: str) -> messages.Device | None:
    """The one that answered, of those in the service's status or welcome."""
    return next((device for device in devices if device.name == name), None)


def device_lines(device: messages.Device) -> list[str]:
    """A device in full: its name, what it has, and for a GPU what the build was made for."""
    return [device.name or "a device without a name", *further_lines(device)]


def further_lines(device: messages.Device) -> list[str]:
    """What a receipt does not say of it."""
    what = [device.kind, size(device.memory_bytes) if device.memory_bytes else "memory not known"]
    if device.threads:
        what.append(f"{device.threads} thread{'' if device.threads == 1 else 's'}")
    rate = device.bandwidth_bytes_per_s
    what.append(f"{amount(rate)}/s" if rate else "bandwidth not known")
    lines = [", ".join(what)]
    if device.kind == "cuda":
        made_for = " ".join(device.built_for) or "none"
        capability = device.compute_capability or "not known"
        lines.append(f"compute capability {capability}; this build has code for {made_for}")
    return lines


def state_lines(state: messages.DeviceState) -> list[str]:
    """Clocks, power, temperature, what holds the clock down, and where these are from."""
    clock, memory_clock = _known(state.clock_mhz, "MHz"), _known(state.memory_clock_mhz, "MHz")
    power, limit = _known(state.power_w, "W"), _known(state.power_limit_w, "W")
    return [
        f"clock {clock}, memory clock {memory_clock}",
        f"power {power}, limit {limit}, temperature {_known(state.temperature_c, '°C')}",
        f"{_throttling(state)} ({state.source or 'the service says nothing of the device'})",
    ]


def memory_text(state: messages.DeviceState) -> str:
    """Who has the device's memory."""
    used, total = state.memory_used_bytes, state.memory_total_bytes
    if used is not None and total is not None:
        parts = [f"{size(used)} of {size(total)} used by all programs"]
    else:
        parts = ["use by all programs not known"]
    parts.append(f"hearth's models hold {size(state.held_bytes)}")
    if state.torch_used_bytes is not None and state.torch_kept_bytes is not None:
        kept = size(state.torch_kept_bytes)
        parts.append(f"libtorch uses {size(state.torch_used_bytes)} of the {kept} it keeps")
    return ", ".join(parts)


def is_memory_full(state: messages.DeviceState) -> bool:
    """Whether programs together take nearly all of it."""
    used, total = state.memory_used_bytes, state.memory_total_bytes
    return used is not None and total is not None and 0 < _FULL * total <= used


def throttles(state: messages.DeviceState) -> list[str]:
    """What is known to hold the clock down."""
    return [reason for reason in state.throttled_by if reason != UNKNOWN]


def _throttling(state: messages.DeviceState) -> str:
    if reasons := throttles(state):
        return f"throttled by {', '.join(reasons)}"
    is_known = state.source == "nvml" and not state.throttled_by
    return "not throttled" if is_known else "throttling not known"


def _known(number: float | None, unit: str) -> str:
    return "not known" if number is None else f"{number:.0f} {unit}"
