"""Watch clients, requests and devices at work.

A row is a request, or a client that has none. S: R running, L its model is being loaded, Q queued,
I idle, ! does not answer. WAIT and BUSY are times, TOK/S tokens a second since the last look, SHM
the client's shared memory, ERR its failed requests. Keys: q quit, space pause, s sort, 1 to 9
seconds between looks. A service that is started again is waited for.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from typing import Callable

from rich.console import RenderableType

from .. import client, errors
from .output import print_json, screen
from .top_view import SORTS, Look, View
from .top_view import screen as view_of

EXAMPLES = (
    ("hearth top", "live, until q"),
    ("hearth top --once", "one look, for a script or a report"),
)
JSON = 'a line for each look: `{"at_ms", "status": status_report, "jobs": [job_entry, …]}`'
_AGAIN_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often."""
    parser.add_argument("--once", action="store_true", help="one look; no keys")
    parser.add_argument(
        "-i", "--interval", type=float, default=1.0, metavar="S", help="between looks (default: 1)"
    )
    parser.add_argument("--sort", choices=SORTS, default="busy", help="by what (default: busy)")


def run(options: argparse.Namespace) -> int:
    """Looks again and again; once where nobody watches."""
    if not 0.1 <= options.interval <= 3600:
        options.usage_error("--interval is between 0.1 and 3600 seconds")
    out = screen()
    live = out.is_terminal and not out.is_dumb_terminal and sys.stdin.isatty()
    with client.connect(options.socket) as service:
        if options.json:
            return _stream(service, options)
        if options.once or not live:
            out.print(view_of(look_at(service), None, View(options.sort)))
            return 0
        from .keys import Keys

        with Keys() as keys:
            return Live(service, View(options.sort, interval_s=options.interval), keys.wait).run()


def look_at(service: client.Client) -> Look:
    """Status and jobs at one moment."""
    report = service.status()
    try:
        jobs = service.jobs()
    except errors.HearthError as error:
        if error.code not in ("unknown_message", "bad_request"):  # of an older service
            raise
        jobs = []
    return Look(time.monotonic(), report, jobs)


def _stream(service: client.Client, options: argparse.Namespace) -> int:
    while True:
        look = look_at(service)
        print_json(
            {
                "at_ms": int(time.time() * 1000),
                "status": look.status.to_fields(),
                "jobs": [job.to_fields() for job in look.jobs],
            }
        )
        if options.once:
            return 0
        time.sleep(options.interval)


class Live:
    """The screen that is drawn again and again. `wait(seconds)` gives a key or None."""

    def __init__(
        self, service: client.Client, view: View, wait: Callable[[float], str | None]
    ) -> None:
        self._service, self._view, self._wait = service, view, wait
        self._before: Look | None = None
        self._now = look_at(service)

    def run(self) -> int:
        """Until somebody says q."""
        from rich.live import Live as Painter

        self._view = dataclasses.replace(self._view, with_keys=True)
        with Painter(self.drawn(), screen=True, auto_refresh=False, console=screen()) as painter:
            while True:
                if not self.pressed(self._wait(_AGAIN_S if self._view.gone else self.interval_s)):
                    return 0
                self.look()
                painter.update(self.drawn(), refresh=True)

    @property
    def interval_s(self) -> float:
        """Between looks."""
        return self._view.interval_s

    def drawn(self) -> RenderableType:
        """The screen as it is."""
        return view_of(self._now, self._before, self._view)

    def pressed(self, key: str | None) -> bool:
        """Follows a key; False ends."""
        if key in ("q", "Q", "\x1b"):
            return False
        view = self._view
        if key == " ":
            self._view = dataclasses.replace(view, paused=not view.paused)
        elif key == "s":
            following = SORTS[(SORTS.index(view.sort) + 1) % len(SORTS)]
            self._view = dataclasses.replace(view, sort=following)
        elif key and key in "123456789":
            self._view = dataclasses.replace(view, interval_s=float(key))
        return True

    def look(self) -> None:
        """Once more; what was seen last stays on the screen while the service is away."""
        if self._view.paused:
            return
        try:
            now = look_at(self._service)
        except (errors.NotReachable, errors.ShuttingDown):
            if not self._view.gone:
                self._view = dataclasses.replace(self._view, gone=time.strftime("%H:%M:%S"))
            return
        if now.at - self._now.at >= 0.05:  # a key asked for nothing but another layout
            self._before = self._now
        self._now = now
        self._view = dataclasses.replace(self._view, gone="")
