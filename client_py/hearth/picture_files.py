"""Picture files as pixels, by Pillow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def check_picture(path: str | os.PathLike[str]) -> None:
    """Looks at a file's beginning only. Raises OSError where it is no picture."""
    with _opened(path):
        pass


def load_picture(path: str | os.PathLike[str]) -> memoryview:
    """A picture file as u8 [height, width, channels], upright. Raises OSError, whatever is wrong
    with it."""
    from PIL import ImageOps

    with _opened(path) as opened:
        image = ImageOps.exif_transpose(opened)
        has_alpha = "A" in image.mode or "transparency" in image.info
        if image.mode.startswith("I"):  # 16 bits: Pillow's own way would cut all over 255 to white
            image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
        image = image.convert("RGBA" if has_alpha else "RGB")
        shape = (image.height, image.width, len(image.getbands()))
        return memoryview(image.tobytes()).cast("B", shape)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image]:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            yield opened
    except OSError:
        raise
    except Exception as error:  # for damaged files Pillow has many: whatever it is
        raise OSError(f"{type(error).__name__}: {error}") from error
