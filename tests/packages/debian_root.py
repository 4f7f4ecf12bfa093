"""A clean Debian 12 in a folder, made once a machine, and what is run inside it."""

import os
import shutil
import subprocess
from pathlib import Path

from release import ROOT

CACHE = ROOT / "build/packages-cache"
ARCHIVE = CACHE / "debian-12.tar"
HANDED_ON = ("http_proxy", "https_proxy", "no_proxy")  # also in capitals

# Not of the package: what the tools themselves write, and what the system makes on its own.
NOT_COUNTED = (
    *("proc", "sys", "dev", "run/lock", "run/systemd", "tmp", "var/tmp", "var/log", "root/.cache"),
    *("var/cache/apt", "var/lib/apt", "var/lib/dpkg", "var/cache/ldconfig", "var/cache/debconf"),
    *("etc/resolv.conf", "etc/ld.so.cache"),
)


def missing() -> str:
    """Why no root can be made here; empty: it can."""
    if os.geteuid() != 0:
        return "needs root, for chroot"
    return "" if shutil.which("debootstrap") or ARCHIVE.exists() else "needs debootstrap"


class DebianRoot:
    """The folder and how to run in it. The mounts are each command's own and vanish with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not ARCHIVE.exists():
            _make_archive()
        folder.mkdir()
        subprocess.run(["tar", "-xf", ARCHIVE, "-C", folder], check=True)
        shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")

    def command(self, script: str) -> list[str]:
        """For subprocess: runs a shell script inside."""
        inside = (
            f'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" {_ENV}'
        )
        return ["unshare", "--mount", "sh", "-ec", f'{inside} sh -ec "$1"', self.folder, script]

    def run(self, script: str) -> str:
        """What it prints; fails when it fails."""
        ran = subprocess.run(
            self.command(script), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert ran.returncode == 0, f"{script}\n{ran.stdout}"
        return ran.stdout

    def files(self) -> set[str]:
        """Every file and folder that counts."""
        found = set()
        for folder, folders, names in os.walk(self.folder):
            below = os.path.relpath(folder, self.folder)
            folders[:] = [f for f in folders if os.path.normpath(f"{below}/{f}") not in NOT_COUNTED]
            found |= {os.path.normpath(f"{below}/{name}") for name in [*names, *folders]}
        return {name for name in found if name not in NOT_COUNTED}


def _environment() -> str:
    words = ["HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]
    for name in HANDED_ON:
        for spelled in (name, name.upper()):
            if spelled in os.environ:
                words.append(f"{spelled}={os.environ[spelled]}")
    return " ".join(["/usr/bin/env", "-i", "LANG=C.UTF-8", *words])


_ENV = _environment()


def _make_archive() -> None:
    made = CACHE / "debian-12"
    shutil.rmtree(made, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", made], check=True)
    part = ARCHIVE.with_suffix(".part")
    subprocess.run(["tar", "-cf", part, "-C", made, "."], check=True)
    part.rename(ARCHIVE)
    shutil.rmtree(made)
