"""Show, check and reload the service's settings.

They come from hearth.toml and conf.d/*.toml, the environment and hearthd's command line;
docs/config.md explains all of them. Reloading is for administrators, and so are settings that name
paths, people or models.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rich.table import Table

from .. import client, errors, messages
from .background import find_program
from .output import answers, print_json, problems
from .tables import table
from .tree import completes

EXAMPLES = (
    ("hearth config show --changed", "what differs from the defaults, and where that was said"),
    ("hearth config check", "after hearth.toml was changed, before a reload"),
    ("hearth config diff", "what a reload would change"),
)
JSON = (
    "`show`: a config_list, with `limited`; `diff`, `reload`: a config_report; `check`: "
    '`{"problems": [text, …]}`; `schema`: the schema'
)

_HEARTHD_LIMIT_S = 30
_LIMITED = (
    "You are no administrator: not shown are paths, users and groups, what is set for one model or "
    "one user, and the files that were read."
)
_WHEN = {"live": "at once", "next_load": "next load", "restart": "restart"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`show`, `check`, `diff`, `schema` and `reload`."""
    parser.set_defaults(action="show", changed=False)
    below = parser.add_subparsers(metavar="COMMAND")
    show = below.add_parser(
        "show", help="what counts (default)", description="The settings of the running service."
    )
    show.set_defaults(action="show")
    show.add_argument("--changed", action="store_true", help="only what is not the default")
    check = below.add_parser(
        "check",
        help="look for mistakes in the files",
        description="Look for mistakes, with hearthd itself; the service need not run. Where there"
        " is no hearthd, the running service is asked.",
    )
    check.set_defaults(action="check")
    file = check.add_argument("file", nargs="?", metavar="FILE", help="instead of the usual files")
    completes(file, "files")
    check.add_argument("--program", metavar="PATH", help="of hearthd")
    diff = below.add_parser(
        "diff",
        help="what a reload would change",
        description="What the files say otherwise than the service runs.",
    )
    diff.set_defaults(action="diff")
    schema = below.add_parser(
        "schema",
        help="the JSON schema of hearth.toml",
        description="The JSON schema of hearth.toml, for editors.",
    )
    schema.set_defaults(action="schema")
    schema.add_argument("--program", metavar="PATH", help="of hearthd")
    reload = below.add_parser(
        "reload",
        help="read the files again",
        description="Read the files again. All that takes effect live counts or, if anything is"
        " wrong, nothing.",
    )
    reload.set_defaults(action="reload")


def run(options: argparse.Namespace) -> int:
    """One of the five."""
    if options.action == "check":
        return _check(options)
    if options.action == "schema":
        return _schema(options)
    with client.connect(options.socket) as service:
        if options.action == "show":
            return _show(service.show_config(), service.status().may_administer, options)
        report = service.reload_config(apply=options.action == "reload")
    return _told(report, options)


def _show(found: messages.ConfigList, is_all: bool, options: argparse.Namespace) -> int:
    values = found.values
    if options.changed:
        values = [one for one in values if one.value != one.usual_value]
    if options.json:
        shown = messages.ConfigList(values=values, files=found.files)
        print_json({**shown.to_fields(), "limited": not is_all})
        return 0
    if values:
        answers().print(_settings(values))
    else:
        which = "All settings" if is_all else "All settings that you see"
        answers().print(f"{which} have their defaults.")
    files = ", ".join(found.files) or "none"
    problems().print(f"files: {files}" if is_all else _LIMITED, markup=False)
    return 0


def _settings(values: list[messages.ConfigValue]) -> Table:
    made = table("", "SETTING", "VALUE", "SAID IN", "A CHANGE COUNTS")
    made.columns[0].min_width = max(len(one.key) for one in values)
    for one in values:
        made.add_row(one.key, one.value, one.origin, _WHEN[one.takes_effect])
    return made


def _check(options: argparse.Namespace) -> int:
    """hearthd's own check; without one, what the running service thinks of its files."""
    try:
        program = find_program(options.program)
    except errors.BadRequest:
        if options.program or options.file:
            raise
        with client.connect(options.socket) as service:
            return _checked(service.reload_config(apply=False).problems, options)
    named = ["--config", str(options.file)] if options.file else []
    ran = _hearthd(program, "--check-config", *named)
    found = ran.stderr.splitlines()
    if ran.returncode != 0 and not found:
        found = [f"{program} --check-config ended with {ran.returncode}"]
    return _checked(found if ran.returncode != 0 else [], options)


def _checked(found: list[str], options: argparse.Namespace) -> int:
    if options.json:
        print_json({"problems": found})
    elif found:
        _tell(found)
    else:
        answers().print("The settings are right.")
    return 1 if found else 0


def _schema(options: argparse.Namespace) -> int:
    ran = _hearthd(find_program(options.program), "--print-config-schema")
    sys.stderr.write(ran.stderr)
    sys.stdout.write(ran.stdout)
    return 1 if ran.returncode else 0


def _hearthd(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=dict(os.environ),
            timeout=_HEARTHD_LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise errors.TimedOut(
            f"{' '.join(command)} did not end within {_HEARTHD_LIMIT_S} s.",
            "Is it hearthd? Name another one with --program.",
        ) from error


def _told(report: messages.ConfigReport, options: argparse.Namespace) -> int:
    if options.json:
        print_json(report)
        return 1 if report.problems else 0
    if report.problems:
        _tell(report.problems)
        problems().print("Nothing was changed.")
        return 1
    if not report.changes:
        answers().print("The files say what runs.")
        return 0
    answers().print(_changes(report.changes))
    waiting = sum(one.takes_effect == "restart" for one in report.changes)
    if waiting:
        problems().print(f"{waiting} of {len(report.changes)} count after a restart.")
    return 0


def _changes(changes: list[messages.ConfigChange]) -> Table:
    made = table("", "SETTING", "RUNS", "FILES SAY", "SAID IN", "COUNTS")
    for one in changes:
        made.add_row(
            one.key, one.before or "-", one.after or "-", one.origin, _WHEN[one.takes_effect]
        )
    return made


def _tell(found: list[str]) -> None:
    for line in found:
        problems().print(line, markup=False)
