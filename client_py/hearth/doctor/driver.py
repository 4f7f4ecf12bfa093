"""Checks of the NVIDIA driver: is it there, is it new enough, can a program open the device."""

from __future__ import annotations

import re

from . import NOTE, OK, PROBLEM, SKIPPED, WARNING, Finding, Named, Seen
from .machine import Machine

_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+)\.(\d+)")
_CUDART = re.compile(r"libcudart\.so\.(\d+)")
# CUDA's table of minor version compatibility: the oldest driver for each major version on Linux
NEEDED = {11: (450, 80), 12: (525, 60), 13: (580, 65)}
_USUAL_CUDA = 13  # what this source pins
_NODES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm")
_DRIVERS_IN_PROC = {"nvidia", "nvidia-frontend", "nvidia-uvm", "nvidiactl", "nvidia-modeset"}
_XIDS = {
    13: "a program read or wrote where it may not", 31: "a page fault: a program's error",
    43: "the GPU stopped a program", 48: "an uncorrectable memory error: the GPU needs a reset",
    63: "a memory row was replaced", 64: "a memory row could not be replaced",
    74: "an NVLink error", 79: "the GPU has fallen off the bus: power, riser or slot",
    94: "a contained memory error", 95: "an uncontained memory error: the GPU needs a reset",
    119: "the GPU's firmware does not answer: the machine needs a restart",
}  # fmt: skip
_HARMLESS_XIDS = {13, 31, 43}


def version_of(machine: Machine) -> tuple[int, int] | None:
    """The driver's, as the kernel knows it."""
    found = _VERSION.search(machine.read("/proc/driver/nvidia/version") or "")
    return (int(found[1]), int(found[2])) if found else None


def cuda_of(machine: Machine, seen: Seen) -> int:
    """Major version of the CUDA runtime that the engine has loaded, else the usual one."""
    pid = seen.report.worker_pid if seen.report else 0
    found = _CUDART.search(machine.read(f"/proc/{pid}/maps") or "") if pid else None
    return int(found[1]) if found else _USUAL_CUDA


def check_driver(machine: Machine, seen: Seen) -> Finding:
    """Driver against runtime."""
    version = version_of(machine)
    if version is None:
        if _has_nvidia_card(machine):
            return Finding(
                PROBLEM, "there is an NVIDIA GPU, but its driver is not loaded",
                "Install the driver (`nvidia-driver` on Debian, `ubuntu-drivers install` on "
                "Ubuntu), then restart the machine.",
            )  # fmt: skip
        return Finding(NOTE, "none, and no NVIDIA GPU: hearth computes on the processor")
    cuda = cuda_of(machine, seen)
    shown = f"{version[0]}.{version[1]:02d}"
    oldest = NEEDED.get(cuda)
    if oldest and version < oldest:
        return Finding(
            PROBLEM, f"driver {shown} is too old: CUDA {cuda} needs {oldest[0]}.{oldest[1]:02d}",
            f"Update the driver to {oldest[0]} or newer, then restart the machine.",
        )  # fmt: skip
    return Finding(OK, f"driver {shown}, enough for CUDA {cuda}")


def check_nodes(machine: Machine, seen: Seen) -> Finding:
    """Device nodes: there, of the right major number, and ours to open."""
    if version_of(machine) is None:
        return Finding(SKIPPED, "not needed without a driver")
    missing = [path for path in _NODES if machine.state(path) is None]
    if missing:
        return Finding(
            PROBLEM, f"missing: {', '.join(missing)}",
            "Run `sudo nvidia-modprobe -u -c=0`; in a container, give it the GPU's device nodes.",
        )  # fmt: skip
    majors = _majors(machine)
    for path in _NODES:
        state = machine.state(path)
        if state is not None and majors and state.major not in majors:
            return Finding(
                PROBLEM, f"{path} has major number {state.major}, which no NVIDIA driver has",
                f"Remove the stale node and make it again: sudo rm {path}; sudo nvidia-modprobe "
                "-u -c=0",
            )  # fmt: skip
    closed = [path for path in _NODES if not machine.may(path, writing=True)]
    if closed:
        group = machine.state(closed[0])
        name = machine.group_name(group.gid) if group else "video"
        return Finding(
            PROBLEM, f"you may not open {', '.join(closed)}",
            f"Join the group that owns it: sudo usermod -aG {name} $USER, then log in again.",
        )  # fmt: skip
    return Finding(OK, ", ".join(_NODES))


def check_uvm(machine: Machine, seen: Seen) -> Finding:
    """The module without which CUDA cannot start."""
    if version_of(machine) is None:
        return Finding(SKIPPED, "not needed without a driver")
    modules = machine.read("/proc/modules")
    if modules is None or re.search(r"^nvidia_uvm ", modules, re.M):
        return Finding(OK, "loaded" if modules else "the kernel does not list its modules")
    return Finding(
        PROBLEM, "the kernel module nvidia_uvm is not loaded: CUDA cannot start",
        "Run `sudo modprobe nvidia_uvm`, and put nvidia_uvm into /etc/modules-load.d/nvidia.conf.",
    )  # fmt: skip


def check_code(machine: Machine, seen: Seen) -> Finding:
    """Whether the engine has machine code for each GPU."""
    if not seen.gpus:
        return Finding(SKIPPED, "the engine uses no GPU")
    for gpu in seen.gpus:
        if not gpu.compute_capability or not gpu.built_for:
            return Finding(NOTE, f"{gpu.name}: the service does not say what it was built for")
        if not any(_runs(code, gpu.compute_capability) for code in gpu.built_for):
            return Finding(
                PROBLEM, f"{gpu.name} has compute capability {gpu.compute_capability}; this build "
                f"has code for {' '.join(gpu.built_for)}",
                "Build for it: cmake --preset release "
                f"-DHEARTH_CUDA_ARCHITECTURES={gpu.compute_capability.replace('.', '')}",
            )  # fmt: skip
    exact = all(gpu.compute_capability in gpu.built_for for gpu in seen.gpus)
    shown = ", ".join(f"{gpu.name} {gpu.compute_capability}" for gpu in seen.gpus)
    return Finding(OK, f"{shown}: {'exact' if exact else 'of the same generation'}")


def check_xids(machine: Machine, seen: Seen) -> Finding:
    """The driver's own errors since the machine was started."""
    if version_of(machine) is None:
        return Finding(SKIPPED, "not needed without a driver")
    log = machine.run("journalctl", "-k", "-b", "-q", "--no-pager", "-o", "cat", "-g", "NVRM: Xid")
    if log is None:
        return Finding(NOTE, "the kernel's log cannot be searched, or names no error")
    numbers = [int(one) for one in re.findall(r"NVRM: Xid \([^)]*\): (\d+)", log)]
    if not numbers:
        return Finding(OK, "none since the machine was started")
    last = numbers[-1]
    what = f"{len(numbers)} since the start, the last: Xid {last}, {_XIDS.get(last, 'see NVIDIA')}"
    if set(numbers) <= _HARMLESS_XIDS:
        return Finding(
            WARNING, what, "hearth starts its engine again; `hearth logs --level warning`"
        )
    return Finding(PROBLEM, what, "`journalctl -k -g Xid` shows them; NVIDIA's list explains.")


def _runs(code: str, capability: str) -> bool:
    """Machine code runs on GPUs of the same generation that are not older: 8.0 on 8.6."""
    made, has = (_number(text) for text in (code, capability))
    return made[0] == has[0] and made[1] <= has[1]


def _number(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    digits = re.match(r"\d+", minor)
    return int(major), int(digits[0]) if digits else 0


def _majors(machine: Machine) -> set[int]:
    devices = machine.read("/proc/devices") or ""
    lines = (line.split() for line in devices.splitlines())
    return {int(words[0]) for words in lines if len(words) == 2 and words[1] in _DRIVERS_IN_PROC}


def _has_nvidia_card(machine: Machine) -> bool:
    folder = "/sys/bus/pci/devices"
    for name in machine.names(folder):
        if (machine.read(f"{folder}/{name}/vendor") or "").strip() == "0x10de" and (
            machine.read(f"{folder}/{name}/class") or ""
        ).startswith("0x03"):
            return True
    return False


CHECKS = [
    Named("GPU", "driver", check_driver),
    Named("GPU", "device nodes", check_nodes),
    Named("GPU", "nvidia_uvm", check_uvm),
    Named("GPU", "machine code", check_code),
    Named("GPU", "driver errors", check_xids),
]
