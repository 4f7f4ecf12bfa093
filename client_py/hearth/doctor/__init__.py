"""What may be wrong with a machine, looked at without changing anything.

A check is a function of a Machine (machine.py) and of what the service said (Seen); it returns a
Finding and touches nothing else, so that every outcome is tested with a machine made of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from .. import messages
from .machine import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence

SKIPPED, OK, NOTE, WARNING, PROBLEM = "skipped", "ok", "note", "warning", "problem"
LEVELS = (SKIPPED, OK, NOTE, WARNING, PROBLEM)


@dataclass(frozen=True)
class Finding:
    """What a check found. Warnings and problems have a `fix`: a line that a user can act on.

    skipped: there is nothing here that the check is about
    """

    level: str
    said: str
    fix: str = ""


@dataclass(frozen=True)
class Seen:
    """What the service said, or why it did not."""

    report: messages.StatusReport | None = None
    unreachable: str = ""
    socket: str = ""
    is_silent: bool = False  # whoever listens there, if anybody does, said nothing

    @property
    def gpus(self) -> list[messages.Device]:
        """What the engine computes on, of GPUs."""
        return [one for one in (self.report.devices if self.report else []) if one.kind == "cuda"]


Check = Callable[[Machine, Seen], Finding]


@dataclass(frozen=True)
class Named:
    """A check, what people call it, and which part of the report it stands in."""

    part: str
    name: str
    check: Check


def all_checks() -> Sequence[Named]:
    """In the order of the report."""
    from . import cards, driver, host, places, service

    return [*service.CHECKS, *driver.CHECKS, *cards.CHECKS, *host.CHECKS, *places.CHECKS]


def examine(machine: Machine, seen: Seen) -> list[tuple[Named, Finding]]:
    """All of them. A check that fails itself is a finding too: the others go on."""
    found = []
    for named in all_checks():
        try:
            finding = named.check(machine, seen)
        except Exception as error:
            finding = Finding(
                WARNING, f"cannot be looked at: {type(error).__name__}: {error}",
                "Please report this with `hearth doctor --bundle`.",
            )  # fmt: skip
        found.append((named, finding))
    return found
