"""Checks of folders: caches and their disks, and the node packs that ComfyUIs have."""

from __future__ import annotations

import os
import re

from ..comfy_places import COMFY_PACKS, find_comfys, packs_of
from ..units import size
from ..version import VERSION
from . import NOTE, OK, SKIPPED, WARNING, Finding, Named, Seen
from .machine import Machine

_ROOM_BYTES = 5 << 30
_COMPUTE_CACHE_BYTES = 1 << 30


def check_compute_cache(machine: Machine, seen: Seen) -> Finding:
    """Where the driver keeps what it compiled for this GPU."""
    if not seen.gpus:
        return Finding(SKIPPED, "no GPU")
    env = _environment(machine, seen)
    if env.get("CUDA_CACHE_DISABLE") == "1":
        return Finding(
            WARNING, "switched off: what has to be compiled is compiled at every start",
            "Unset CUDA_CACHE_DISABLE for the service.",
        )  # fmt: skip
    path = env.get("CUDA_CACHE_PATH") or f"{env.get('HOME', machine.home)}/.nv/ComputeCache"
    most = env.get("CUDA_CACHE_MAXSIZE", "")
    if most.isdigit() and int(most) < _COMPUTE_CACHE_BYTES:
        return Finding(
            WARNING, f"it may hold {size(int(most))}, less than libtorch's kernels can take",
            "CUDA_CACHE_MAXSIZE=4294967296 in the service's environment",
        )  # fmt: skip
    nearest = path
    while machine.state(nearest) is None and nearest not in ("/", ""):
        nearest = os.path.dirname(nearest)
    if machine.uid != 0 and _is_own_service(machine, seen) and not machine.may(nearest, True):
        return Finding(
            WARNING, f"{path} cannot be written: it is compiled again at every start",
            "CUDA_CACHE_PATH=a folder of the service's own, in its environment",
        )  # fmt: skip
    return Finding(OK, path)


def check_room(machine: Machine, seen: Seen) -> Finding:
    """Room on the disk of hearth's own cache."""
    base = machine.env.get("XDG_CACHE_HOME") or f"{machine.home}/.cache"
    is_system = seen.socket.startswith("/run/hearth/")
    folder = "/var/cache/hearth" if is_system else f"{base}/hearth"
    free = machine.free_bytes(folder)
    if free is not None and free < _ROOM_BYTES:
        return Finding(
            WARNING, f"{size(free)} left on the disk of {folder}: rounded weights are not kept",
            "Make room, or put the cache elsewhere (docs/config.md).",
        )  # fmt: skip
    left = "unknown" if free is None else f"{size(free)} left"
    return Finding(OK, f"{folder}: {left}")


def check_packs(machine: Machine, seen: Seen) -> Finding:
    """ComfyUIs of this user, and which version of our nodes each has."""
    comfys = find_comfys(machine)
    if not comfys:
        return Finding(SKIPPED, "no ComfyUI was found")
    others: list[str] = []
    ours: list[str] = []
    for comfy in comfys:
        for path, version in packs_of(machine, comfy):
            (ours if version == VERSION else others).append(f"{path}: {version or 'unknown'}")
    if others:
        return Finding(
            WARNING, f"nodes of another version than {VERSION}: {', '.join(others)}",
            "`hearth install-nodes FOLDER` brings them up to date; then restart ComfyUI.",
        )  # fmt: skip
    if not ours:
        found = ", ".join(comfys)
        return Finding(NOTE, f"no nodes of ours in {found}", f"hearth install-nodes {comfys[0]}")
    return Finding(OK, f"{len(ours)} of version {VERSION} in {COMFY_PACKS}")


def _environment(machine: Machine, seen: Seen) -> dict[str, str]:
    """Of the engine, where it may be read; else this command's."""
    pid = seen.report.worker_pid if seen.report else 0
    raw = machine.read(f"/proc/{pid}/environ") if pid else None
    if not raw:
        return machine.env
    return dict(entry.partition("=")[::2] for entry in raw.split("\0") if "=" in entry)


def _is_own_service(machine: Machine, seen: Seen) -> bool:
    pid = seen.report.worker_pid if seen.report else 0
    found = re.search(r"^Uid:\s+(\d+)", machine.read(f"/proc/{pid}/status") or "", re.M)
    return bool(found) and int(found[1]) == machine.uid if found else False


CHECKS = [
    Named("folders", "compute cache", check_compute_cache),
    Named("folders", "cache's disk", check_room),
    Named("folders", "ComfyUI's nodes", check_packs),
]
