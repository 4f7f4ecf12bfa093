"""Find out what is wrong with this machine or the service.

Looks at the service, the driver, each GPU, the kernel's abilities and limits, systemd, caches and
the nodes in ComfyUIs, and says for each fault what to do. Nothing is changed, and no service is
needed. --bundle writes a file for a report of a fault: without prompts, tokens, names of people and
hosts, or anything below home directories. Exit code 1: there is a problem; 5: it is the GPU's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from .. import client, errors, messages
from ..dialling import socket_paths
from ..doctor import LEVELS, OK, PROBLEM, SKIPPED, Finding, Named, Seen, examine
from ..doctor.machine import Machine
from . import EXIT_DEVICE, EXIT_ERROR
from .background import path_of
from .output import print_json, screen
from .tree import completes

EXAMPLES = (
    ("hearth doctor", "all checks"),
    ("hearth doctor --bundle report.tar.gz", "for an issue; look into it before you send it"),
)
JSON = '`{"findings": [{"part", "check", "level", "said", "fix"}, …], "bundle": path or null}`'
_MARKS = {
    "ok": "[green]✓[/]",
    "note": "[cyan]i[/]",
    "warning": "[yellow]![/]",
    "problem": "[red]✗[/]",
}
_LOG_LINES = 500
_NAME_CELLS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much, and where to."""
    file = parser.add_argument(
        "--bundle", type=Path, metavar="FILE.tar.gz", help="also write all of it, redacted"
    )
    completes(file, "files")
    parser.add_argument("-q", "--quiet", action="store_true", help="only what is not in order")


def run(options: argparse.Namespace) -> int:
    """All checks, in the order of the report."""
    machine = Machine()
    seen, service = _seen(options.socket)
    try:
        found = examine(machine, seen)
        told = [_told(named, finding) for named, finding in found]
        if options.bundle:
            _write_bundle(options.bundle, machine, told, service, seen)
    finally:
        if service is not None:
            service.close()
    bundle = str(options.bundle) if options.bundle else None
    if options.json:
        print_json({"findings": told, "bundle": bundle})
    else:
        show(found, options.quiet)
        if bundle:
            said = f"\n{bundle} is written. Look into it before you send it to anybody."
            screen().print(said, markup=False)
    return _exit_code(found)


def show(found: list[tuple[Named, Finding]], quiet: bool) -> None:
    """The report: a mark, what was looked at, what was found, and below it what to do."""
    out = screen()
    hidden = (SKIPPED, OK) if quiet else (SKIPPED,)
    shown = [(named, finding) for named, finding in found if finding.level not in hidden]
    for part in dict.fromkeys(named.part for named, _ in shown):
        made = Table.grid(padding=(0, 1))
        made.add_column(width=1)
        made.add_column(min_width=_NAME_CELLS, no_wrap=True)
        made.add_column(overflow="fold")
        for named, finding in shown:
            if named.part == part:
                made.add_row(_MARKS[finding.level], named.name, Text(finding.said))
                if finding.fix:
                    made.add_row("", "", Text(f"→ {finding.fix}", "bold"))
        out.print(Text(part, "bold"))
        out.print(made)
    counts = {level: sum(one.level == level for _, one in found) for level in LEVELS}
    words = [f"{counts[one]} {one}{'s' * (counts[one] > 1)}" for one in LEVELS[2:] if counts[one]]
    looked = len(found) - counts[SKIPPED]
    out.print(f"\n{looked} checks: {', '.join(words) or 'all is well'}.")


def _exit_code(found: list[tuple[Named, Finding]]) -> int:
    problems = {named.part for named, finding in found if finding.level == PROBLEM}
    return 0 if not problems else EXIT_DEVICE if "GPU" in problems else EXIT_ERROR


def _seen(socket: str | None) -> tuple[Seen, client.Client | None]:
    paths = socket_paths(socket)
    existing = [path for path in paths if Path(path).exists()]
    path = (existing or paths)[0]
    try:
        service = client.connect(socket)
        return Seen(service.status(), "", path_of(service)), service
    except errors.HearthError as error:
        return Seen(None, error.what, path, error.code == "not_reachable"), None


def _told(named: Named, finding: Finding) -> dict[str, str]:
    return {
        "part": named.part, "check": named.name, "level": finding.level, "said": finding.said,
        "fix": finding.fix,
    }  # fmt: skip


def _write_bundle(
    path: Path,
    machine: Machine,
    told: list[dict[str, str]],
    service: client.Client | None,
    seen: Seen,
) -> None:
    from ..doctor import bundle
    from .log_sources import last_lines

    said: dict[str, Any] = {"findings": told}
    if seen.report is not None and service is not None:
        said["status"] = seen.report.to_fields()
        for name, message, kind in (
            ("config", messages.ShowConfig(), messages.ConfigList),
            ("requests", messages.ListRequests(), messages.RequestList),
        ):
            try:
                said[name] = service.ask(message, kind).to_fields()
            except errors.HearthError as error:
                said[name] = {"error": error.code}
    log = "\n".join(last_lines(seen.report.log if seen.report else None, seen.socket, _LOG_LINES))
    bundle.write(path, bundle.gather(machine, said, log), bundle.redactor_of_this_machine(said))
