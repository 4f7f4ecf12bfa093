"""libtorch for the engine: which files, how large, and where they belong.

The packages of hearth are without it: it is a hundred times their size, there is one for machines
with an NVIDIA GPU and one for those without, and it is not ours to hand on. wheels.json pins every
file of it by digest; client_py/libtorch_lock.py writes that. `bring` in bring.py puts them into
place.

The engine looks in the user's own folder, then in the machine's; daemon/broker/net/libtorch.h has
the whole order. Both have the version in their path: an upgrade that needs another one never finds
the old one.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .. import errors

VARIANTS = ("cpu", "cuda")
LOCK = Path(__file__).with_name("wheels.json")
_CHECK_LIMIT_S = 120.0


@dataclass(frozen=True)
class Wheel:
    """One file to fetch, and what of it is unpacked: patterns for fnmatch."""

    project: str
    version: str
    url: str
    sha256: str
    nbytes: int
    keep: tuple[str, ...]
    leave: tuple[str, ...]
    unpacked_bytes: int

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Plan:
    """A variant of one version, and the folder that it goes into."""

    version: str
    variant: str
    wheels: tuple[Wheel, ...]
    root: Path  # of all versions

    @property
    def folder(self) -> Path:
        return self.root / self.version

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def download_bytes(self) -> int:
        """What is still to fetch."""
        return sum(max(wheel.nbytes - _size(self.part(wheel)), 0) for wheel in self.wheels)

    @property
    def unpacked_bytes(self) -> int:
        return sum(wheel.unpacked_bytes for wheel in self.wheels)

    def part(self, wheel: Wheel) -> Path:
        """Where it is fetched to; stays there until all is done."""
        return self.downloads / wheel.name


@dataclass(frozen=True)
class Check:
    """What the engine's program says of itself."""

    works: bool
    says: str

    @property
    def device(self) -> str:
        """cpu or cuda; empty when it says neither."""
        words = [line.split() for line in self.says.splitlines()]
        return next((word[1].rstrip(":") for word in words if word[:1] == ["device"]), "")


def plan(variant: str, root: Path) -> Plan:
    """What to bring. Raises Unsupported on a machine for which nothing is pinned."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "amd64"):
        raise errors.Unsupported(
            f"hearth setup has libtorch for Linux on x86_64; this is {sys.platform}, {machine}.",
            "Build hearth from source with -DHEARTH_TORCH_DIR=FOLDER.",
        )
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    wheels = [
        Wheel(
            project=entry["project"],
            version=entry["version"],
            url=entry["url"],
            sha256=entry["sha256"],
            nbytes=entry["bytes"],
            keep=tuple(entry["keep"][variant]),
            leave=tuple(entry["leave"]),
            unpacked_bytes=entry["unpacked_bytes"][variant],
        )
        for entry in lock["wheels"]
        if variant in entry["keep"]
    ]
    return Plan(lock["version"], variant, tuple(wheels), root)


def variant_for_this_machine() -> str:
    """cuda where the engine would find a driver, as it looks for one."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "cpu"
    return "cuda"


def engine_program(named: str | None) -> Path:
    """hearth-worker: the named one, the one beside this command, or the one on the PATH."""
    beside = Path(sys.argv[0]).resolve().parent / "hearth-worker"
    found = named or (str(beside) if beside.exists() else shutil.which("hearth-worker"))
    if found and os.access(found, os.X_OK):
        return Path(found).resolve()
    where = named or f"{beside.parent} or on the PATH"
    raise errors.BadRequest(
        f"There is no hearth-worker at {where}.",
        "libtorch is for the engine: install hearth first, or say where it is with --worker PATH.",
    )


def root_for(engine: Path) -> Path:
    """Where this user puts libtorch: beside the engine as root, else into the own folder."""
    return engine.parent.parent / "lib/hearth/torch" if os.geteuid() == 0 else own_root()


def own_root() -> Path:
    """The user's own folder, in which the engine looks first."""
    data = os.environ.get("XDG_DATA_HOME", "")
    home = Path(data) if data.startswith("/") else Path.home() / ".local/share"
    return home / "hearth/torch"


def check(engine: Path, device: str, folder: Path | None = None) -> Check:
    """Has the engine's program open what it needs; with `folder`, the libtorch there."""
    environment = dict(os.environ)
    own = folder or plan("cpu", own_root()).folder  # as hearthd does for it
    if folder is not None or (own / "torch/lib").is_dir():
        environment["LD_LIBRARY_PATH"] = str(own / "torch/lib")
    command = [str(engine), "--check", "--device", device]
    try:
        ran = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_CHECK_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check(False, f"{engine} said nothing within {_CHECK_LIMIT_S:.0f} s")
    return Check(ran.returncode == 0, ran.stdout.decode(errors="replace").strip())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
