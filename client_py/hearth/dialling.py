"""Where the service listens, and a socket to it."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Sequence

from . import errors

SYSTEM_SOCKET = "/run/hearth/hearth.sock"  # of the system service
_ELSEWHERE = "If it listens elsewhere, set HEARTH_SOCKET to the path of its socket."


def socket_paths(explicit: str | os.PathLike[str] | None) -> list[str]:
    """Where to look for the service, in order."""
    chosen = explicit if explicit is not None else os.environ.get("HEARTH_SOCKET")
    if chosen:
        return [os.fspath(chosen)]
    user = os.environ.get("XDG_RUNTIME_DIR")
    return [
        *([os.path.join(user, "hearth", "hearth.sock")] if user else []),
        SYSTEM_SOCKET,
    ]


def dial(paths: Sequence[str], may_retry: bool) -> socket.socket:
    """A connected socket. Raises NotReachable, naming all `paths` that were tried; BlockingIOError
    when too many are connecting and the caller may try again."""
    if not hasattr(socket, "AF_UNIX"):
        raise errors.Unsupported("hearth's client needs Unix sockets, which this Python lacks.")
    reasons = []
    hint = None
    for path in paths:
        dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            dialled.setblocking(False)
            dialled.connect(path)
            return dialled
        except OSError as error:
            dialled.close()
            reason = (error.strerror or str(error)).lower()
            if isinstance(error, BlockingIOError):
                if may_retry:
                    raise
                reason, hint = "overloaded: it takes no connections", hint or "Try again."
            elif isinstance(error, PermissionError):
                hint = _how_to_be_let_in(path)
            reasons.append(f"{path} ({reason})")
    raise errors.NotReachable(
        f"No hearth service answers at {' or at '.join(reasons)}.",
        f"{hint or _how_to_start(paths)} {_ELSEWHERE}",
    )


def _how_to_be_let_in(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:  # its folder is closed to us
        found = None
    if found is not None and (found.st_gid == 0 or found.st_mode & 0o060 != 0o060):
        return "It is another user's own service: `hearth up` starts one of yours."
    return f"Join the group that owns the socket; `ls -l {path}` names it."


def _how_to_start(paths: Sequence[str]) -> str:
    if len(paths) == 1 and paths[0] != SYSTEM_SOCKET:
        path = shlex.quote(paths[0])
        return f"Start it: `hearth up --socket {path}`, or `hearthd --socket {path}` in a terminal."
    return "Start it: `hearth up`, or `systemctl --user start hearthd`."
