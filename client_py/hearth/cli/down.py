"""Drain the service and end it.

Open requests may end; those that have not by --timeout end with an error that says that they may be
sent again. A service that systemd runs is drained, then stopped through systemd. Only a hearthd of
this user is ever ended, and none is killed.
"""

from __future__ import annotations

import argparse
import os

from .. import client, errors
from . import background, user_units
from .output import print_done
from .values import seconds

EXAMPLES = (("hearth down", "when it returns, the process is gone"),)
JSON = '`{"text": what happened}`'
_SPARE_S = 10.0  # for what comes after draining


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long open requests may take."""
    parser.add_argument(
        "--timeout", type=seconds, default=45.0, metavar="S", help="for open requests (default: 45)"
    )


def run(options: argparse.Namespace) -> int:
    """Ends when the process has."""
    chosen = options.socket or os.environ.get("HEARTH_SOCKET")
    if not chosen and user_units.are_installed() and user_units.is_active():
        if user_units.is_running():
            _drain(background.place_of(None).socket, options.timeout)
        user_units.stop()
        return print_done("Stopped by systemd: `hearth up` starts it again.", options.json)
    place = background.place_of(options.socket)
    pid = background.running(place)
    if pid is None:
        if background.peer_of(place.socket) is not None:
            raise errors.Denied(
                f"What listens at {place.socket} is no hearthd of yours.",
                "If systemd runs it: systemctl stop hearthd.socket hearthd.service. Any service, "
                "if you administer it: hearth drain --stop",
            )
        return print_done(f"No service runs at {place.socket}.", options.json)
    _ask_to_stop(place.socket, pid, options.timeout)
    if not background.wait_gone(pid, options.timeout + _SPARE_S):
        raise errors.TimedOut(
            f"hearthd, process {pid}, is still there after {options.timeout + _SPARE_S:.0f} s.",
            "`hearth jobs` shows what it waits for; allow more --timeout. If it does not answer at "
            f"all: kill -9 {pid}",
        )
    place.note.unlink(missing_ok=True)
    return print_done(f"hearthd, process {pid}, has ended.", options.json)


def _drain(socket: str, limit_s: float) -> None:
    """Before systemd stops it, which leaves requests only the time that server.drain names. It
    stays drained until then: one that ends by itself would be started by the next client."""
    try:
        with client.connect(socket) as service:
            service.drain(limit_s, "stay")
    except (errors.NotReachable, errors.ShuttingDown):
        pass  # it has just ended, or does not answer: systemd ends it
    except errors.HearthError as error:
        _pass_over_older_service(error)


def _ask_to_stop(socket: str, pid: int, limit_s: float) -> None:
    """By its own message; by SIGTERM where it does not know or hear that."""
    try:
        with client.connect(socket) as service:
            service.drain(limit_s, "stop")
    except (errors.NotReachable, errors.ShuttingDown):
        background.terminate(pid)  # or it has just ended
    except errors.HearthError as error:
        _pass_over_older_service(error)
        background.terminate(pid)


def _pass_over_older_service(error: errors.HearthError) -> None:
    """One that cannot drain is ended without. Raises all other errors again."""
    if error.code not in ("unknown_message", "bad_request"):
        raise error
