"""hearthd as a process of this user's, without systemd: found, started, waited for, ended.

What is kept of one lies in the state folder, named after its socket: the log and a note with its
process id. A process is ours only while id, start time and program of the note still agree.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import socket as sockets
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import client, errors, messages
from ..dialling import socket_paths

PROGRAM = "hearthd"
_POLL_S = 0.05
_LOG_LIMIT_BYTES = 16 << 20
_TAIL_LINES = 12


@dataclass(frozen=True)
class Place:
    """Where one service lives: its socket, its log and the note of its process."""

    socket: str
    log: Path
    note: Path


def place_of(socket: str | None) -> Place:
    """For this socket, or the user's own. Raises BadRequest where the user has no folder for it."""
    path = socket or os.environ.get("HEARTH_SOCKET") or ""
    if not path:
        path = socket_paths(None)[0]
        if not os.environ.get("XDG_RUNTIME_DIR") and os.geteuid() != 0:
            raise errors.BadRequest(
                "There is no place for the socket: XDG_RUNTIME_DIR is not set.",
                "Say where with --socket PATH, and the same in HEARTH_SOCKET for the clients.",
            )
    path = os.path.abspath(path)
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    state = state_folder()
    return Place(path, state / f"hearthd-{digest}.log", state / f"hearthd-{digest}.json")


def state_folder() -> Path:
    """$XDG_STATE_HOME/hearth."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "hearth"


def find_program(explicit: str | None) -> Path:
    """hearthd: as named, in $HEARTH_BIN, beside this command, on PATH, or in this source tree.
    Raises BadRequest, naming where it was looked for."""
    if explicit:
        tried = [Path(explicit)]
    else:
        beside = Path(os.path.realpath(sys.argv[0] or ".")).parent
        on_path = shutil.which(PROGRAM)
        tree = Path(__file__).resolve().parents[3]
        tried = [
            *([Path(os.environ["HEARTH_BIN"]) / PROGRAM] if os.environ.get("HEARTH_BIN") else []),
            beside / PROGRAM,
            *([Path(on_path)] if on_path else []),
            Path("/usr/lib/hearth/bin") / PROGRAM,
            tree / "build/release/bin" / PROGRAM,
        ]
    for path in tried:
        if path.is_file() and os.access(path, os.X_OK):
            return path.absolute()
    raise errors.BadRequest(
        f"{PROGRAM} was not found: {', '.join(map(str, tried))}.",
        "Install the package, build it with ./quickstart, or name it with --program.",
    )


def start(program: Path, place: Place, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts it detached from this terminal."""
    os.makedirs(os.path.dirname(place.socket), mode=0o700, exist_ok=True)
    place.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(OSError):
        if place.log.stat().st_size > _LOG_LIMIT_BYTES:
            place.log.replace(place.log.with_suffix(".log.1"))
    command = [str(program), "--socket", place.socket, *arguments]
    with place.log.open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            start_new_session=True,
        )  # fmt: skip


def write_note(place: Place, pid: int) -> None:
    """Says whose process it is that is ready."""
    note = {"pid": pid, "started": _started(pid), "socket": place.socket}
    place.note.write_text(json.dumps(note), encoding="utf-8")


def wait_ready(
    socket: str | None,
    process: subprocess.Popen[bytes] | None,
    limit_s: float,
    log: Path | None = None,
    log_begin: int = 0,
) -> messages.StatusReport:
    """Until the engine can take work. Raises with the log's last lines, of those from `log_begin`
    on, when the process has ended, DeviceFailed when the engine cannot start, Busy when the service
    takes no requests until it is told to, TimedOut when the time is over."""
    deadline = time.monotonic() + limit_s
    report, unreachable = None, "nobody answers"
    while True:
        has_ended = process is not None and process.poll() is not None
        try:
            with client.connect(socket) as service:
                report = service.status()
        except errors.NotReachable as error:
            unreachable = error.what.rstrip(".")
        if report is not None and report.mode != "serving":
            raise _resting(report.mode)
        if report is not None and report.worker_state == "ready":
            return report
        if process is not None and has_ended and report is None:
            raise errors.HearthError(
                f"{PROGRAM} ended with exit code {process.returncode} before it was ready.",
                tail(log, log_begin),
            )
        if report is not None and (report.worker_state == "failed" or report.health == "failed"):
            why, said = _why_failed(report), tail(log, log_begin)
            is_torch = "libtorch" in why + said
            setup = "Run `hearth setup`, which fetches libtorch.\n" if is_torch else ""
            raise errors.DeviceFailed(why, (setup + said).rstrip())
        if time.monotonic() > deadline:
            state = f"the engine is {report.worker_state}" if report else unreachable
            said = tail(log, log_begin)
            raise errors.TimedOut(f"Not ready within {limit_s:.0f} s: {state}.", said or None)
        time.sleep(_POLL_S)


def _resting(mode: str) -> errors.HearthError:
    hint = "`hearth resume` has it take them again."
    if mode == "stopping":
        hint = "Run `hearth up` again when it has ended."
    return errors.Busy(f"A service runs, but takes no requests now: it is {mode}.", hint)


def _why_failed(report: messages.StatusReport) -> str:
    why = "; ".join(report.health_reasons).rstrip(".") or "the log says why"
    first = "" if why.startswith("The engine") else "The engine does not start: "
    return f"{first}{why}."


def tail(log: Path | None, begin: int = 0) -> str:
    """The last lines of a log, of those from a place on, headed by its name."""
    if log is None or not log.exists():
        return ""
    raw = log.read_bytes()
    since = raw[begin:] if begin <= len(raw) else raw  # it was begun anew
    lines = since.decode(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join([f"{log} says:", *(f"  {line}" for line in lines or ["(nothing)"])])


def size_of(log: Path) -> int:
    """Where what comes will begin."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def running(place: Place) -> int | None:
    """The process that answers at the socket, else that of the note; None: neither is there."""
    pid = peer_of(place.socket)
    if pid is None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(place.note.read_text(encoding="utf-8"))
            if note["started"] and _started(int(note["pid"])) == note["started"]:
                pid = int(note["pid"])
    return pid if pid is not None and is_ours(pid) else None


def peer_of(socket: str) -> int | None:
    """Who listens there, as the kernel knows it: whoever called listen(). Raises Denied where this
    user may not ask."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as dialled:
        dialled.settimeout(1.0)
        try:
            dialled.connect(socket)
            raw = dialled.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12)
        except PermissionError as error:
            raise errors.Denied(
                f"You may not open {socket}, so who listens there cannot be known.",
                f"Run it as the user whose service it is; `ls -l {socket}` names them.",
            ) from error
        except OSError:
            return None
    return int(struct.unpack("3i", raw)[0]) or None


def path_of(service: client.Client) -> str:
    """The socket at which it answers: of those that it tries, the first where anybody listens."""
    for path in service.paths[:-1]:
        with contextlib.suppress(errors.Denied):  # then it has gone on to the next, too
            if peer_of(path) is not None:
                return path
    return service.paths[-1]


def is_ours(pid: int) -> bool:
    """Whether it is hearthd, of this user or for root of anybody."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return False
    return name == PROGRAM and os.geteuid() in (0, owner)


def wait_gone(pid: int, limit_s: float) -> bool:
    """Whether the process has ended within the time. Signals nobody."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([watched], [], [], limit_s)
        return bool(ready)
    finally:
        os.close(watched)


def terminate(pid: int) -> None:
    """Asks it to end; it drains by itself. Checked once more, through a handle that no other
    process can take over."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if is_ours(pid):
                signal.pidfd_send_signal(handle, signal.SIGTERM)
        finally:
            os.close(handle)


def _started(pid: int) -> str:
    """When it was started, in ticks since boot; "" when there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]
