"""Picture files as pixels, by Pillow."""

from __future__ import annotations

import os


def load_picture(path: str | os.PathLike[str]) -> memoryview:
    """A picture file as u8 [height, width, channels], upright. Raises OSError."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        has_alpha = "A" in image.mode or "transparency" in image.info
        if image.mode.startswith("I"):  # 16 bits: Pillow's own way would cut all over 255 to white
            image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
        image = image.convert("RGBA" if has_alpha else "RGB")
        shape = (image.height, image.width, len(image.getbands()))
        return memoryview(image.tobytes()).cast("B", shape)
