"""The machine as the checks see it: files, programs, limits, what the kernel can do.

Everything that asks the system is a method here; tests put another Machine in its place. Nothing is
changed, nobody is signalled, and a program that does not answer within seconds counts as missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import shutil
import socket
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

_LIMIT_S = 10.0
_SO_PEERPIDFD = 77  # Linux 6.5
_READ_LIMIT_BYTES = 4 << 20


@dataclass(frozen=True)
class FileState:
    """What stat says of a file. major: of a device node; -1 for others."""

    mode: int
    uid: int
    gid: int
    major: int = -1

    @property
    def is_socket(self) -> bool:
        """Whether clients could connect to it."""
        return stat.S_ISSOCK(self.mode)


class Machine:
    """This machine."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of this command."""
        return dict(os.environ)

    @property
    def home(self) -> str:
        """Of this user."""
        return os.path.expanduser("~")

    @property
    def cwd(self) -> str:
        """Where this command was called; / where that is gone."""
        try:
            return os.getcwd()
        except OSError:
            return "/"

    def link(self, path: str) -> str:
        """Where a link leads; "" where there is none."""
        try:
            return os.readlink(path)
        except OSError:
            return ""

    def real(self, path: str) -> str:
        """The path without links."""
        return os.path.realpath(path)

    @property
    def uid(self) -> int:
        """Of this command."""
        return os.geteuid()

    @property
    def groups(self) -> set[int]:
        """That this command belongs to."""
        return {os.getegid(), *os.getgroups()}

    def group_name(self, gid: int) -> str:
        """Its name, or its number where it has none."""
        import grp

        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)

    def user_name(self, uid: int) -> str:
        """The same of a user."""
        import pwd

        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def read(self, path: str) -> str | None:
        """A file's text; None where it is not there or not for us."""
        try:
            with open(path, "rb") as file:
                return file.read(_READ_LIMIT_BYTES).decode(errors="replace")
        except OSError:
            return None

    def names(self, folder: str) -> list[str]:
        """What lies in a folder, sorted; nothing where there is none."""
        try:
            return sorted(os.listdir(folder))
        except OSError:
            return []

    def state(self, path: str) -> FileState | None:
        """None: there is no such file."""
        try:
            found = os.stat(path)
        except OSError:
            return None
        is_device = stat.S_ISCHR(found.st_mode)
        major = os.major(found.st_rdev) if is_device else -1
        return FileState(found.st_mode, found.st_uid, found.st_gid, major)

    def may(self, path: str, writing: bool = False) -> bool:
        """Whether this user may open it, for writing too."""
        return os.access(path, os.R_OK | (os.W_OK if writing else 0))

    def listener(self, path: str) -> int | None:
        """The process that listens at a socket, as the kernel knows it; None: nobody, or somebody
        who takes no connection."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialled:
            dialled.setblocking(False)
            try:
                dialled.connect(path)
                raw = dialled.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            except OSError:
                return None
        return int(struct.unpack("3i", raw)[0]) or None

    def free_bytes(self, path: str) -> int | None:
        """On the disk of this folder or of the nearest one above that exists."""
        folder = Path(path)
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            return None

    def total_bytes(self, path: str) -> int | None:
        """Size of the file system at a path."""
        try:
            return shutil.disk_usage(path).total
        except OSError:
            return None

    def run(self, *command: str) -> str | None:
        """What a program prints; None where it is missing, fails or does not answer."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LIMIT_S, errors="replace",
                stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def memlock_bytes(self) -> int:
        """How much this user may lock; -1: no limit."""
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        return -1 if limit == resource.RLIM_INFINITY else limit

    def can_seal_memory(self) -> bool:
        """memfd with seals, which all of hearth's shared memory is made of."""
        with contextlib.suppress(OSError, AttributeError):
            fd = os.memfd_create("hearth-doctor", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
            try:
                seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10  # F_SEAL_FUTURE_WRITE
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
                return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & 0x10)
            finally:
                os.close(fd)
        return False

    def can_watch_processes(self) -> bool:
        """pidfd, by which the end of a process is seen."""
        with contextlib.suppress(OSError, AttributeError):
            fd = os.pidfd_open(os.getpid())
            try:
                return select.select([fd], [], [], 0)[0] == []
            finally:
                os.close(fd)
        return False

    def can_name_peers(self) -> bool:
        """SO_PEERPIDFD, by which a peer's process cannot be mistaken for another one's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            try:
                raw = ours.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
            except OSError:
                return False
            os.close(int.from_bytes(raw, "little"))
            return True
