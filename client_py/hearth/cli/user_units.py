"""The units of `systemctl --user`, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess

from .. import errors

SERVICE, SOCKET = "hearthd.service", "hearthd.socket"
_LIMIT_S = 120


def are_installed() -> bool:
    """Whether systemd of this user knows our service."""
    if not shutil.which("systemctl") or not os.environ.get("XDG_RUNTIME_DIR"):
        return False
    return _systemctl("cat", SERVICE).returncode == 0


def is_active() -> bool:
    """Whether it runs, or waits for its first client."""
    return any(_systemctl("is-active", unit).returncode == 0 for unit in (SERVICE, SOCKET))


def is_running() -> bool:
    """Whether the service itself does; connecting to its socket would start one that does not."""
    return _systemctl("is-active", SERVICE).returncode == 0


def start() -> None:
    """Socket and service. Raises with systemd's words."""
    _checked(_systemctl("start", SOCKET, SERVICE), "start")


def stop() -> None:
    """The socket too: it would start the service again for the next client."""
    _checked(_systemctl("stop", SOCKET, SERVICE), "stop")


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["systemctl", "--user", *words], capture_output=True, text=True, timeout=_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise errors.TimedOut(
            f"systemctl --user {' '.join(words)} did not end within {_LIMIT_S} s.",
            f"`systemctl --user status {SERVICE}` says what it waits for.",
        ) from error


def _checked(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode != 0:
        raise errors.HearthError(
            f"systemctl --user {what}: {done.stderr.strip() or done.returncode}",
            f"`systemctl --user status {SERVICE}` and `hearth logs` say more.",
        )
