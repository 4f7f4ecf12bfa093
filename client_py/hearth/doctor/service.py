"""Checks of the service itself: does it answer, is it well, does it fit to this command."""

from __future__ import annotations

import re

from ..units import duration, times
from ..version import VERSION
from . import NOTE, OK, PROBLEM, SKIPPED, WARNING, Finding, Named, Seen
from .machine import Machine


def check_socket(machine: Machine, seen: Seen) -> Finding:
    """Its mode, its group, and whether the caller is in it."""
    state = machine.state(seen.socket)
    if state is None:
        return Finding(
            WARNING, f"there is no {seen.socket}: the service does not run",
            "hearth up; or name its socket in HEARTH_SOCKET",
        )  # fmt: skip
    if not state.is_socket:
        return Finding(PROBLEM, f"{seen.socket} is no socket", f"Remove it: rm {seen.socket}")
    mode = f"{state.mode & 0o777:04o}"
    group = machine.group_name(state.gid)
    is_open = machine.may(seen.socket, writing=True)
    if not is_open and (state.gid == 0 or state.mode & 0o060 != 0o060):
        return Finding(
            PROBLEM, f"it is another user's own (mode {mode}, user {machine.user_name(state.uid)})",
            "`hearth up` starts a service of yours; or name another's socket in HEARTH_SOCKET",
        )  # fmt: skip
    if not is_open:
        return Finding(
            PROBLEM, f"you may not open it (mode {mode}, group {group})",
            f"sudo usermod -aG {group} $USER, then log in again (or: newgrp {group})",
        )  # fmt: skip
    return Finding(OK, f"mode {mode}, group {group}")


def check_answer(machine: Machine, seen: Seen) -> Finding:
    """Whether somebody answers, and is of our age."""
    if seen.report is None:
        if machine.state(seen.socket) is None or not machine.may(seen.socket, writing=True):
            return Finding(SKIPPED, "not known: no service that you may ask")
        listener = machine.listener(seen.socket) if seen.is_silent else None
        if listener is not None:
            return _silent(machine, listener)
        return Finding(WARNING, seen.unreachable or "nobody answers", "hearth up")
    found = re.search(r"(\d+\.\d+\.\d+\S*)", seen.report.server)
    if found and found[1] != VERSION:
        return Finding(
            WARNING, f"the service is {found[1]}, this command {VERSION}",
            "Update the older one; a running service takes its new program by `hearth upgrade`.",
        )  # fmt: skip
    return Finding(OK, f"{seen.report.server}, up for {duration(seen.report.uptime_ms)}")


def _silent(machine: Machine, process: int) -> Finding:
    """Only hearthd itself is to be killed: of a socket unit, systemd is who listens."""
    name = (machine.read(f"/proc/{process}/comm") or "").strip()
    kill = f", or kill -9 {process}" if name == "hearthd" else ""
    return Finding(
        PROBLEM, f"process {process} ({name or 'unknown'}) takes connections and does not answer",
        f"systemctl --user restart hearthd{kill}",
    )  # fmt: skip


def check_health(machine: Machine, seen: Seen) -> Finding:
    """The level that it gives itself, and the engine's deaths."""
    report = seen.report
    if report is None:
        return Finding(SKIPPED, "not known: no service")
    why = "; ".join(report.health_reasons)
    if report.health == "failed" or report.worker_state == "failed":
        return Finding(
            PROBLEM, f"failed: {why or 'the engine does not start'}",
            "`hearth logs --level error`, then `hearth down` and `hearth up`",
        )  # fmt: skip
    if report.worker_restarts:
        return Finding(
            WARNING, f"{report.health}; the engine was lost {times(report.worker_restarts)}"
            f"{': ' + report.last_errors[0].what if report.last_errors else ''}",
            "`hearth logs --level warning` says what ended it.",
        )  # fmt: skip
    if report.mode != "serving":
        return Finding(WARNING, f"it is {report.mode}: requests are not served", "hearth resume")
    return Finding(OK, report.health + (f": {why}" if why else ""))


def check_quarantine(machine: Machine, seen: Seen) -> Finding:
    """Models that it refuses."""
    if seen.report is None:
        return Finding(SKIPPED, "not known: no service")
    if refused := seen.report.quarantined:
        names = ", ".join(one.name or one.model for one in refused)
        return Finding(
            WARNING, f"refused because they ended the engine: {names}",
            "`hearth verify FOLDER` looks at its files; `hearth quarantine clear` tries it again.",
        )  # fmt: skip
    return Finding(OK, "no model is refused")


def check_engine(machine: Machine, seen: Seen) -> Finding:
    """The engine's libtorch, and that a GPU which is there is used."""
    report = seen.report
    if report is None:
        return Finding(SKIPPED, "not known: no service")
    if report.worker_state == "failed":
        return Finding(
            PROBLEM, "it does not start",
            "`hearth logs` says why; where libtorch is missing: hearth setup",
        )  # fmt: skip
    kinds = {device.kind for device in report.devices}
    if kinds == {"none"}:
        return Finding(
            PROBLEM, "this build has no engine: it was made without libtorch",
            "Install the package, or build with HEARTH_TORCH=ON.",
        )  # fmt: skip
    if kinds == {"cpu"} and machine.read("/proc/driver/nvidia/version"):
        return Finding(
            WARNING, "it computes on the processor, although there is an NVIDIA driver",
            "`hearth logs` names the reason at its start; --device cuda makes it an error.",
        )  # fmt: skip
    maps = machine.read(f"/proc/{report.worker_pid}/maps") if report.worker_pid else None
    found = re.search(r"(/\S*libtorch_cpu\.so)", maps or "")
    if found and machine.state(found[1]) is None:
        return Finding(
            WARNING, "its libtorch was replaced or removed while it runs",
            "Restart the service: hearth down && hearth up",
        )  # fmt: skip
    where = found[1] if found else "its libtorch cannot be seen from here"
    return Finding(OK, where) if kinds else Finding(NOTE, "it has not said what it computes on")


CHECKS = [
    Named("service", "socket", check_socket),
    Named("service", "answer", check_answer),
    Named("service", "health", check_health),
    Named("service", "quarantine", check_quarantine),
    Named("service", "engine", check_engine),
]
