"""A private hearthd for tests, and a model folder that its `fake` family answers for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

from hearth import client

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
ROOT = Path(__file__).resolve().parents[2]


def hearthd() -> Path | None:
    """The program: HEARTH_BIN's, else the one built last in this tree."""
    named = os.environ.get("HEARTH_BIN")
    places = [Path(named)] if named else list(ROOT.glob("build/*/bin"))
    built = [place / "hearthd" for place in places if (place / "hearthd").exists()]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)


class Service:
    """hearthd at `socket`, started and stopped as often as a test likes."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the engine can take work. Does nothing when it runs."""
        if self._process is not None:
            return
        program = hearthd()
        assert program is not None
        with open(self.socket.with_suffix(".log"), "ab") as log:
            self._process = subprocess.Popen(
                [program, "--socket", self.socket, "--fake"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "XDG_CACHE_HOME": str(self.socket.parent),
                    "CONFIGURATION_DIRECTORY": str(self.socket.parent),
                },
            )
        deadline = time.monotonic() + _START_SECONDS
        while self._state() != "ready":
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"the engine is not ready:\n{self.log()}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Orderly, as systemd would."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def kill(self) -> None:
        """As a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def log(self) -> str:
        """What it printed so far."""
        return self.socket.with_suffix(".log").read_text(errors="replace")

    def _state(self) -> str:
        with contextlib.suppress(client.HearthError), client.connect(self.socket) as connection:
            return str(connection.status().worker_state)
        return ""


def make_fake_model(folder: Path, **config: object) -> None:
    """A model that echoes its prompt and obeys the commands in it: models/fake/script.h."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "hearth_fake", **config}))
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors")


def write_safetensors(path: Path, names: tuple[str, ...] = ("nothing",)) -> None:
    """A well-formed file of one-value tensors."""
    layout = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * at, 4 * at + 4]}
        for at, name in enumerate(names)
    }
    header = json.dumps(layout).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * len(names)))
