"""The part of a picture that a mask covers.

torch tensors and numpy arrays alike; neither is imported. Plain functions; any thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import errors

_COVERED = 0.5  # mask values from here on count: masks of ComfyUI run from 0 to 1


class Crop(NamedTuple):
    """picture: [height, width, channels], a view of its source. Its corner (0, 0) is (left, top)
    there; grounding.moved() brings boxes back."""

    picture: Any
    left: int
    top: int
    width: int
    height: int


def crop_to_mask(image: Any, mask: Any, margin: int = 0) -> list[Crop]:
    """Of each picture what its mask covers, and `margin` pixels more on every side where there are.

    image: [height, width, channels] or [count, height, width, channels]
    mask: [height, width], [1, height, width] for all pictures, or [count, height, width]; values of
    0.5 and more (of bool: True) cover. Raises BadPicture for an empty mask, one of another size or
    number than the pictures; BadRequest for a negative margin.
    """
    if margin < 0:
        raise errors.BadRequest(f"margin is {margin}.", "Use a number from 0 on.")
    pictures = _with_count(image, 4, "The image", "[count, height, width, channels]")
    masks = _with_count(mask, 3, "The mask", "[count, height, width]")
    count, height, width = (int(size) for size in pictures.shape[:3])
    boxes = [_box(masks[index], index, len(masks)) for index in range(len(masks))]
    if tuple(masks.shape[1:]) != (height, width):
        raise errors.BadPicture(
            f"The mask has {masks.shape[2]} x {masks.shape[1]} pixels, the image {width} x "
            f"{height}.",
            "Make the mask from this image, or resize it.",
        )
    if len(boxes) not in (1, count):
        raise errors.BadPicture(
            f"There are {len(boxes)} masks for {count} pictures.",
            "Give one mask for all pictures, or one for each.",
        )
    crops = []
    for index in range(count):
        left, top, right, bottom = boxes[index if len(boxes) > 1 else 0]
        left, top = max(left - margin, 0), max(top - margin, 0)
        right, bottom = min(right + margin, width), min(bottom + margin, height)
        picture = pictures[index][top:bottom, left:right]
        crops.append(Crop(picture, left, top, right - left, bottom - top))
    return crops


def _with_count(value: Any, dimensions: int, what: str, shape: str) -> Any:
    given = len(value.shape)
    if given == dimensions:
        return value
    if given == dimensions - 1:
        return value[None]
    raise errors.BadPicture(
        f"{what} has {given} dimensions.", f"It must be {shape}, or one without count."
    )


def _box(mask: Any, index: int, count: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is covered, the last two exclusive."""
    covered = mask if str(mask.dtype).endswith("bool") else mask >= _COVERED
    rows, columns = _covered(covered, 1), _covered(covered, 0)
    if not rows:
        which = f"Mask {index + 1}" if count > 1 else "The mask"
        raise errors.BadPicture(
            f"{which} is empty: no value reaches {_COVERED}.",
            "Paint what shall be cut out, or leave the mask away.",
        )
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _covered(mask: Any, along: int) -> list[int]:
    """Rows (along 1) or columns (along 0) of `mask` in which something is covered."""
    return [place for place, is_covered in enumerate(mask.any(along).tolist()) if is_covered]
