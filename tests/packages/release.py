"""Makes what people install by the script that makes releases."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HEARTH_BIN", ROOT / "build/release/bin")).parent


class Made(NamedTuple):
    """Files of one release."""

    wheel: Path
    deb: Path
    tarball: Path


def make_packages(build: Path, out: Path) -> None:
    """Runs .ci/packages; without a build tree there it makes the wheel alone."""
    environment = {**os.environ, "HEARTH_PYTHON": sys.executable}
    command = [ROOT / ".ci/packages", build, out]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
