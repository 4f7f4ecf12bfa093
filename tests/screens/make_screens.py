"""Makes docs/command_*.svg: the `hearth` command at work, with a real service and ember.

    python tests/screens/make_screens.py --bin build/release/bin [NAME…]

Starts a service of its own, keeps it busy with three programs, and takes what the commands print on
a terminal of 100 columns. Nothing is drawn by hand: look at the pictures before you commit them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
COLUMNS = 100
sys.path.insert(0, str(ROOT / "client_py"))

from hearth import client  # noqa: E402
from hearth.cli import background  # noqa: E402

# A program that never stops asking: long answers, so that there is something to see.
BUSY = """
import random, sys
import hearth.client
from hearth.cli.selftest_client import PICTURES, picture
shapes = [picture(one[0]) for one in PICTURES.values()]
with hearth.client.connect(sys.argv[1], timeout=10) as service:
    for seed in range(10**9):
        chat = [{"role": "user", "content": [shapes[seed % 2], sys.argv[2]]}]
        limits = {"max_tokens": 900, "regex": "[a-z ,.]{400,3000}"}
        service.generate("ember", chat, temperature=1.0, seed=seed, **limits)
"""
PROGRAMS = {
    "captions.py": "Describe this picture.",
    "questions.py": "How many shapes are there?",
    "places.py": "Where is the square?",
}


class Stage:
    """A service with programs at work, and the commands in front of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = str(folder / "hearth.sock")

    def says(self, *words: str) -> str:
        """What a command prints on a terminal. Exit codes do not matter: doctor finds things."""
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT / "client_py"), "FORCE_COLOR": "1",
            "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "HEARTH_SOCKET": self.socket,
            "XDG_STATE_HOME": str(self.folder), "HOME": str(self.folder), "TZ": "UTC",
        }  # fmt: skip
        command = [sys.executable, "-m", "hearth", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Three programs that ask without pause."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "client_py")}
        started = []
        for name, question in PROGRAMS.items():
            path = self.folder / name
            path.write_text(BUSY, encoding="utf-8")
            command = [sys.executable, str(path), self.socket, question]
            started.append(subprocess.Popen(command, env=environment))
        try:
            with client.connect(self.socket) as service:
                while service.status().running < len(PROGRAMS):
                    time.sleep(0.05)
            time.sleep(1.0)  # so that there are rates
            yield
        finally:
            for process in started:
                process.kill()
                process.wait()


def top(stage: Stage) -> str:
    with stage.busy():
        return stage.says("top", "--once")


def status(stage: Stage) -> str:
    stage.says("load", "ember")
    with stage.busy():
        return stage.says("status")


def doctor(stage: Stage) -> str:
    said = stage.says("doctor")
    return said.replace(str(stage.folder), "~").replace(sys.prefix, "~/hearth/build/venv")


def selftest(stage: Stage) -> str:
    return stage.says("selftest")


def explain(stage: Stage) -> str:
    """Six equal questions, and a seventh for which the model has to be loaded again."""
    picture = str(_picture(stage))
    for _ in range(6):
        stage.says("caption", picture)
    stage.says("evict", "ember", "--to", "cold")
    stage.says("caption", picture)
    return stage.says("explain", "last")


def _picture(stage: Stage) -> Path:
    from PIL import Image

    path = stage.folder / "picture.png"
    Image.new("RGB", (160, 160), (214, 38, 40)).save(path)
    return path


SCREENS: dict[str, Callable[[Stage], str]] = {
    "top": top, "status": status, "doctor": doctor, "selftest": selftest, "explain": explain,
}  # fmt: skip


def as_svg(name: str, ansi: str) -> str:
    """Colours kept, fonts of the reader's own."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(f"$ hearth {name}\n{ansi}".rstrip()))
    made = console.export_svg(title=f"hearth {name}", unique_id=f"hearth-{name}")
    made = re.sub(r"\s*@font-face \{.*?\}", "", made, flags=re.S)
    return re.sub(r"[ \t]+$", "", made, flags=re.M).rstrip() + "\n"


def main() -> int:
    """All screens, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin")
    parser.add_argument("names", nargs="*", choices=[*SCREENS, []], default=list(SCREENS))
    options = parser.parse_args()
    os.environ["HEARTH_BIN"] = str(options.bin.resolve())
    with tempfile.TemporaryDirectory(prefix="hearth-") as folder:
        stage = Stage(Path(folder))
        command = [options.bin / "hearthd", "--socket", stage.socket, "--device", "cpu"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
        try:
            background.wait_ready(stage.socket, process, 60, Path(folder) / "log")
            for name in options.names:
                svg = as_svg(name, SCREENS[name](stage))
                (DOCS / f"command_{name}.svg").write_text(svg, encoding="utf-8")
        finally:
            process.terminate()
            process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
