"""Start the service in the background.

With systemd where the user units are installed, else as a process of its own that outlives this
terminal and logs to $XDG_STATE_HOME/hearth. Ends when the engine can take work, or says why it
cannot. What stands behind -- goes to hearthd.
"""

from __future__ import annotations

import argparse
import os

from .. import client, errors, messages
from ..units import duration
from . import background, user_units
from .output import answers, print_json
from .values import seconds

EXAMPLES = (
    ("hearth up", "ready when it returns"),
    ("hearth up -- --device cpu --memory 8GiB", "with options of hearthd"),
)
JSON = '`{"started": by this command, "by": "systemd" or "hearth", "status": status_report}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which program, and for how long to wait."""
    parser.add_argument(
        "--program", metavar="FILE", help="hearthd; default: beside this or on PATH"
    )
    parser.add_argument("--no-systemd", action="store_true", help="even where units are installed")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="S",
        help="for it to be ready (default: 60)",
    )
    parser.add_argument("arguments", nargs="*", metavar="-- OPTION", help="options of hearthd")


def run(options: argparse.Namespace) -> int:
    """Starts it unless it runs."""
    try:
        return _run(options)
    except errors.DeviceFailed as error:
        runs_on = "The service runs on without it: `hearth down` ends it."
        raise error.reworded(error.what, f"{runs_on}\n{error.hint}".rstrip()) from error


def _run(options: argparse.Namespace) -> int:
    try:
        with client.connect(options.socket) as service:
            service.status()
        report = background.wait_ready(options.socket, None, options.timeout)
        return _told(options, False, "", report)
    except errors.NotReachable:
        pass
    chosen = options.socket or os.environ.get("HEARTH_SOCKET")
    own = chosen or options.program or options.arguments or options.no_systemd
    if not own and user_units.are_installed():
        user_units.start()
        report = background.wait_ready(background.place_of(None).socket, None, options.timeout)
        return _told(options, True, "systemd", report)
    place = background.place_of(options.socket)
    begin = background.size_of(place.log)
    process = background.start(background.find_program(options.program), place, options.arguments)
    report = background.wait_ready(place.socket, process, options.timeout, place.log, begin)
    # else another `hearth up` was faster
    started = background.peer_of(place.socket) in (None, process.pid) and process.poll() is None
    if started:
        background.write_note(place, process.pid)
    return _told(options, started, "hearth" if started else "", report, place)


def _told(
    options: argparse.Namespace,
    started: bool,
    by: str,
    report: messages.StatusReport,
    place: background.Place | None = None,
) -> int:
    if options.json:
        print_json({"started": started, "by": by, "status": report.to_fields()})
        return 0
    out = answers()
    if not started:
        out.print(f"It runs already: {report.server}, up for {duration(report.uptime_ms)}, "
                  f"{report.health}.", markup=False)  # fmt: skip
        return 0
    device = report.devices[0].name if report.devices else "no device"
    how = (
        "by systemd: `systemctl --user status hearthd`" if by == "systemd" else "in the background"
    )
    out.print(f"{report.server} is ready on {device}; started {how}.", markup=False)
    if place is not None:
        out.print(f"socket {place.socket}\nlog    {place.log}", style="dim", markup=False)
    return 0
