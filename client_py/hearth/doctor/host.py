"""Checks of the kernel, its limits, and the service manager."""

from __future__ import annotations

import re

from ..units import size, times
from . import NOTE, OK, PROBLEM, SKIPPED, WARNING, Finding, Named, Seen
from .machine import Machine

_UNIT = "hearthd.service"
_SLEEP_UNIT = "hearth-sleep.service"
_MEMLOCK_BYTES = 64 << 20
_SHM_BYTES = 256 << 20


def check_seals(machine: Machine, seen: Seen) -> Finding:
    """Shared memory that neither side can shrink below the other."""
    if machine.can_seal_memory():
        return Finding(OK, "memfd with seals")
    return Finding(
        PROBLEM, "the kernel makes no sealed memory (memfd_create, F_SEAL_FUTURE_WRITE)",
        "hearth needs Linux 5.1; in a container, allow memfd_create in its seccomp profile.",
    )  # fmt: skip


def check_pidfd(machine: Machine, seen: Seen) -> Finding:
    """Handles of processes, and of peers."""
    if not machine.can_watch_processes():
        return Finding(
            WARNING, "no pidfd: processes are watched by their number, which another may get",
            "Linux 5.3 or newer has it; in a container, allow pidfd_open in its seccomp profile.",
        )  # fmt: skip
    if not machine.can_name_peers():
        return Finding(OK, "pidfd; no SO_PEERPIDFD, which Linux 6.5 has: peers are known by number")
    return Finding(OK, "pidfd and SO_PEERPIDFD")


def check_memlock(machine: Machine, seen: Seen) -> Finding:
    """What the engine may lock: warm models and staging rest in pinned memory."""
    if not seen.gpus:
        return Finding(SKIPPED, "no GPU to pin memory for")
    pid = seen.report.worker_pid if seen.report else 0
    limits = machine.read(f"/proc/{pid}/limits") if pid else None
    found = re.search(r"^Max locked memory\s+(\S+)", limits or "", re.M)
    limit = machine.memlock_bytes()
    if found:
        limit = -1 if found[1] == "unlimited" else int(found[1])
    whose = "of the engine" if found else "of this user"
    if 0 <= limit < _MEMLOCK_BYTES:
        return Finding(
            NOTE, f"{size(limit)} {whose}; CUDA's own pinning does not count, mlock does",
            "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited` before `hearth up`",
        )  # fmt: skip
    return Finding(OK, f"{'no limit' if limit < 0 else size(limit)} {whose}")


def check_shm(machine: Machine, seen: Seen) -> Finding:
    """/dev/shm, which hearth does not use, but ComfyUI's own workers do."""
    total = machine.total_bytes("/dev/shm")
    if total is None:
        return Finding(
            WARNING, "/dev/shm is missing: other programs beside hearth may fail",
            "Mount a tmpfs there: sudo mount -t tmpfs tmpfs /dev/shm",
        )  # fmt: skip
    if total < _SHM_BYTES:
        return Finding(
            NOTE, f"{size(total)}: hearth does not need it, programs beside it may",
            "docker run --shm-size=2g, or remount it: sudo mount -o remount,size=50% /dev/shm",
        )  # fmt: skip
    return Finding(OK, f"{size(total)}; hearth's own memory is not part of it")


def check_memory(machine: Machine, seen: Seen) -> Finding:
    """A container's limit, which counts shared memory too."""
    limit = (machine.read("/sys/fs/cgroup/memory.max") or "").strip()
    if not limit.isdigit():
        return Finding(OK, "no limit by a control group")
    if int(limit) < 4 << 30:
        return Finding(
            WARNING, f"this container may use {size(int(limit))}; models and pictures count",
            "Allow it more: docker run --memory",
        )  # fmt: skip
    return Finding(OK, f"{size(int(limit))} by the control group")


def check_unit(machine: Machine, seen: Seen) -> Finding:
    """What systemd thinks of the service."""
    known = []
    for scope, words in (("user", ("--user",)), ("system", ())):
        shown = machine.run(
            "systemctl", *words, "show", _UNIT, "-p", "LoadState,ActiveState,Result,NRestarts"
        )
        fields = dict(line.partition("=")[::2] for line in (shown or "").splitlines())
        if fields.get("LoadState") != "loaded":
            continue
        state = fields.get("ActiveState", "")
        known.append(f"{scope} unit {state}")
        if state == "failed":
            return Finding(
                PROBLEM, f"the {scope} unit has failed ({fields.get('Result')}): "
                f"{_last_words(machine, words)}",
                f"systemctl {' '.join([*words, 'reset-failed', _UNIT])}; then start it again",
            )  # fmt: skip
        if again := int(fields.get("NRestarts") or 0):
            return Finding(
                WARNING, f"systemd has started the {scope} unit again {times(again)}: "
                f"{_last_words(machine, words)}",
                "`hearth logs --since yesterday --level error` says why it ended.",
            )  # fmt: skip
    return Finding(OK, "; ".join(known) or "no unit is installed: `hearth up` needs none")


def check_sleep(machine: Machine, seen: Seen) -> Finding:
    """Whether the service lets go of the GPU before the machine sleeps."""
    if not seen.gpus:
        return Finding(SKIPPED, "no GPU to let go of")
    if (machine.run("systemctl", "is-enabled", _SLEEP_UNIT) or "").strip() == "enabled":
        return Finding(OK, f"{_SLEEP_UNIT} is enabled")
    return Finding(
        NOTE, "nothing tells the service before the machine sleeps: what the GPU holds may be lost",
        f"`sudo systemctl enable {_SLEEP_UNIT}`, or `hearth suspend` before it sleeps",
    )  # fmt: skip


def _last_words(machine: Machine, scope: tuple[str, ...]) -> str:
    said = machine.run(
        "journalctl",
        *scope,
        "-u",
        _UNIT,
        "-p",
        "warning",
        "-n",
        "1",
        "-q",
        "--no-pager",
        "-o",
        "cat",
    )
    lines = (said or "").strip().splitlines()
    return lines[-1] if lines else "its log says nothing"


CHECKS = [
    Named("kernel", "sealed memory", check_seals),
    Named("kernel", "process handles", check_pidfd),
    Named("kernel", "locked memory", check_memlock),
    Named("kernel", "/dev/shm", check_shm),
    Named("kernel", "memory limit", check_memory),
    Named("systemd", "unit", check_unit),
    Named("systemd", "sleep", check_sleep),
]
