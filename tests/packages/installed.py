"""Programs that are installed somewhere, run as whoever installed them would."""

import contextlib
import subprocess
import time
from pathlib import Path

START_LIMIT_S = 120


def draw_picture(path: Path) -> Path:
    """A red circle, in the colours that ember was trained with."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).ellipse((32, 32, 96, 96), fill=(220, 40, 40))
    picture.save(path)
    return path


@contextlib.contextmanager
def running(command, environment, log: Path):
    """A service for as long as the block runs; its log is shown when the block fails."""
    with log.open("wb") as out:
        service = subprocess.Popen(list(map(str, command)), env=environment, stdout=out, stderr=out)
    try:
        yield service
    except BaseException:
        print(log.read_text(errors="replace"))
        raise
    finally:
        service.terminate()
        try:
            service.wait(30)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def wait_for(condition, what: str, limit_s: float = START_LIMIT_S):
    """Polls; returns what the condition returns."""
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - began < limit_s, f"{what} did not happen in {limit_s} s"
        time.sleep(0.1)
    return found
