"""A build tree to install from, and a service manager that writes down what it is told."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "systemd"
BUILD = Path(os.environ.get("HEARTH_BIN", ROOT / "build/release/bin")).parent

# Answers what install asks for; whatever else it is told goes into a log.
MANAGER = """#!/bin/sh
case "$*" in
  *--property=Version*) echo "$FAKE_VERSION" ;;
  *--property=StatusText*) cat "$FAKE_FOLDER/status" ;;
  *) echo "$@" >> "$FAKE_FOLDER/told" ;;
esac
"""


class Home:
    """A user's home directory, with programs that play systemd's."""

    def __init__(self, folder, name="home"):
        self.home = folder / name
        self.played = folder / "played"
        self.home.mkdir()
        self.played.mkdir()
        (self.played / "systemctl").write_text(MANAGER)
        (self.played / "systemctl").chmod(0o755)
        self.status("GPU_OK on cpu (test): 0 models")

    def status(self, text):
        (self.played / "status").write_text(text + "\n")

    def told(self):
        """What the service manager was told since it was last asked."""
        log = self.played / "told"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def run(self, script, *arguments, **environment):
        """Runs systemd/install or uninstall, or the one at a path."""
        variables = {
            "HOME": str(self.home),
            "PATH": f"{self.played}:{os.environ['PATH']}",
            "FAKE_FOLDER": str(self.played),
            "FAKE_VERSION": "252",
            "HEARTH_INSTALL_WAIT_S": "0",
            **environment,
        }
        command = [str(SYSTEMD / script), *map(str, arguments)]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=100)

    def files(self):
        """All files below the home directory."""
        return {p.relative_to(self.home).as_posix() for p in self.home.rglob("*") if p.is_file()}


def unit_values(path, key):
    """All values that a unit's file gives to `key`."""
    lines = path.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(key + "=")]
