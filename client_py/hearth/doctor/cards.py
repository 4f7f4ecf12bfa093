"""Checks of the GPUs themselves, as nvidia-smi describes them: what makes them slow or ill."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..units import size
from . import NOTE, OK, PROBLEM, SKIPPED, WARNING, Finding, Named, Seen
from .machine import Machine

_FIELDS = (
    "name", "persistence_mode", "pcie.link.width.current", "pcie.link.width.max",
    "pcie.link.gen.current", "pcie.link.gen.max", "power.limit", "power.default_limit",
    "clocks_throttle_reasons.active", "ecc.errors.uncorrected.volatile.total", "memory.total",
    "temperature.gpu",
)  # fmt: skip
_NOT_KNOWN = Finding(SKIPPED, "no NVIDIA GPU")
# bits of NVML's clocks event reasons that hold a busy GPU back, and what helps
_THROTTLES = {
    0x4: ("power cap", "more power: `nvidia-smi -pl`, or a better supply"),
    0x8: ("hardware slowdown", "check cooling and the power cables"),
    0x20: ("thermal, by software", "better cooling"),
    0x40: ("thermal, by hardware", "better cooling; check the fans"),
    0x80: ("power brake", "check the power supply and its cables"),
}


def cards(machine: Machine) -> list[dict[str, str]]:
    """A line of nvidia-smi for each GPU, by field; a value that is not known is missing."""
    query = ",".join(_FIELDS)
    said = machine.run("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits")
    found = []
    for line in (said or "").splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == len(_FIELDS):
            known = zip(_FIELDS, values)
            found.append({field: value for field, value in known if not value.startswith("[")})
    return found


def check_persistence(machine: Machine, seen: Seen) -> Finding:
    """Without it the driver is set up again for every program that comes first."""
    found = cards(machine)
    off = [card["name"] for card in found if card.get("persistence_mode") == "Disabled"]
    if off:
        return Finding(
            NOTE, f"off: {', '.join(off)}: the first program after a pause waits a second longer",
            "sudo systemctl enable --now nvidia-persistenced",
        )  # fmt: skip
    return Finding(OK, "on") if found else _NOT_KNOWN


def check_bar(machine: Machine, seen: Seen) -> Finding:
    """Resizable BAR: whether the processor sees all of the GPU's memory."""
    said = machine.run("nvidia-smi", "-q", "-d", "MEMORY") or ""
    totals = [int(one) for one in re.findall(r"Total\s*:\s*(\d+) MiB", said)]
    if len(totals) < 2:
        return _NOT_KNOWN
    memory, window = totals[0], totals[1]
    if 2 * window < memory:
        return Finding(
            NOTE, f"off: a window of {window} MiB onto {memory} MiB: loading may be slower",
            "Switch on Above 4G Decoding and Resizable BAR in the machine's firmware.",
        )  # fmt: skip
    return Finding(OK, f"on: a window of {window} MiB onto {memory} MiB")


def check_link(machine: Machine, seen: Seen) -> Finding:
    """PCIe: lanes that are missing. An idle GPU lowers the generation, but never the lanes."""
    said = []
    for card in cards(machine):
        width, most = _number(card, "pcie.link.width.current"), _number(card, "pcie.link.width.max")
        now, gen = (card.get(f"pcie.link.gen.{one}", "?") for one in ("current", "max"))
        if width and most and width < most:
            return Finding(
                WARNING, f"{card['name']} has {width:.0f} of {most:.0f} PCIe lanes: models load "
                "more slowly",
                "Put it into the first slot, check the riser; other cards may share its lanes.",
            )  # fmt: skip
        said.append(f"{width:.0f} lanes, generation {now} of {gen}")
    return Finding(OK, "; ".join(said)) if said else _NOT_KNOWN


def check_power(machine: Machine, seen: Seen) -> Finding:
    """A limit below the usual one."""
    said = []
    for card in cards(machine):
        limit, usual = _number(card, "power.limit"), _number(card, "power.default_limit")
        if limit and usual and limit < 0.97 * usual:
            return Finding(
                NOTE, f"{card['name']} may draw {limit:.0f} W of its usual {usual:.0f} W: slower, "
                "if you did not mean it",
                f"sudo nvidia-smi -pl {usual:.0f}",
            )  # fmt: skip
        said.append(f"{limit:.0f} W")
    return Finding(OK, "; ".join(said)) if said else _NOT_KNOWN


def check_throttle(machine: Machine, seen: Seen) -> Finding:
    """What holds the clock down at this moment."""
    found = cards(machine)
    for card in found:
        active = int(card.get("clocks_throttle_reasons.active", "0x0"), 16)
        for bit, (what, help_) in _THROTTLES.items():
            if active & bit:
                heat = card.get("temperature.gpu", "?")
                return Finding(
                    WARNING, f"{card['name']} is held back now: {what}, at {heat} °C",
                    f"{help_[0].upper()}{help_[1:]}.",
                )  # fmt: skip
    return Finding(OK, "none now") if found else _NOT_KNOWN


def check_ecc(machine: Machine, seen: Seen) -> Finding:
    """Memory errors that could not be corrected."""
    found = cards(machine)
    for card in found:
        errors = _number(card, "ecc.errors.uncorrected.volatile.total")
        if errors:
            return Finding(
                PROBLEM, f"{card['name']}: {errors:.0f} uncorrectable memory errors",
                "Restart the machine; if they come back, have the card replaced.",
            )  # fmt: skip
    return Finding(OK, "no uncorrectable errors") if found else _NOT_KNOWN


def check_others(machine: Machine, seen: Seen) -> Finding:
    """Whose memory on the GPU is not ours."""
    if not cards(machine):
        return _NOT_KNOWN
    ours = seen.report.worker_pid if seen.report else 0
    users = [(pid, name, used) for pid, name, used in _users(machine) if pid != ours]
    taken = sum(used for _, _, used in users)
    total = sum(_number(card, "memory.total") for card in cards(machine)) * (1 << 20)
    shown = ", ".join(f"{name} ({pid}) {size(used)}" for pid, name, used in users[:4])
    if total and taken > total / 2:
        return Finding(
            WARNING, f"other programs hold {size(taken)} of {size(total)}: {shown}",
            "End them or give their memory back; `hearth load M --dry-run` says what still fits.",
        )  # fmt: skip
    return Finding(OK, shown or "no other program")


def _users(machine: Machine) -> Iterator[tuple[int, str, int]]:
    said = machine.run(
        "nvidia-smi", "--query-compute-apps=pid,process_name,used_memory",
        "--format=csv,noheader,nounits",
    )  # fmt: skip
    for line in (said or "").splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == 3 and words[0].isdigit() and words[2].isdigit():
            yield int(words[0]), words[1].rpartition("/")[2], int(words[2]) << 20


def _number(card: dict[str, str], field: str) -> float:
    try:
        return float(card.get(field, "0"))
    except ValueError:
        return 0.0


CHECKS = [
    Named("GPU", "memory errors", check_ecc),
    Named("GPU", "clock", check_throttle),
    Named("GPU", "power limit", check_power),
    Named("GPU", "PCIe link", check_link),
    Named("GPU", "resizable BAR", check_bar),
    Named("GPU", "persistence mode", check_persistence),
    Named("GPU", "other programs", check_others),
]
