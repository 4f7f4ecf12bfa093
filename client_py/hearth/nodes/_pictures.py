"""Pictures as they come in by sockets, and as they go into questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import errors

SOCKETS = ("image", *(f"image{number}" for number in range(2, 9)))
ONE_PROMPT, EACH, VIDEO = "one prompt", "one answer each", "video"
BATCH_MODES = (ONE_PROMPT, EACH, VIDEO)
FRAMES, FPS = 16, 24.0


@dataclass(frozen=True)
class Part:
    """One value of a question: a text, picture, batch or video, and the input that it is from.

    pictures: how many the model sees of it; a video is one
    left, top: where it lies in the picture of `size` (width, height) that it was cut from
    """

    name: str
    value: Any
    pictures: int = 0
    left: int = 0
    top: int = 0
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Question:
    """What one request asks: parts in the order in which the model sees them."""

    parts: tuple[Part, ...] = field(default_factory=tuple)

    @property
    def content(self) -> list[Any]:
        return [part.value for part in self.parts]

    @property
    def pictures(self) -> list[Part]:
        """One for each picture or video that the model sees, in order."""
        return [part for part in self.parts for _ in range(part.pictures)]

    def names(self, turn: int) -> dict[str, str]:
        """What the client calls the parts, when they are the chat's turn of this number: the
        inputs' names."""
        return {
            f"messages[{turn}].content[{index}]": part.name for index, part in enumerate(self.parts)
        }


def video_part(name: str, batch: Any, fps: float, frames: int | str, max_pixels: int = 0) -> Part:
    """A batch as a video. frames: most of them, evenly spaced, 0: as many as is usual; or which.
    max_pixels: of all frames together; 0: the request's."""
    picked = frames_named(frames, len(batch)) if isinstance(frames, str) else []
    video: dict[str, Any] = {"video": batch, "fps": fps, "max_pixels": max_pixels}
    if picked:
        video.update(video=batch[picked], indices=picked)
    elif frames:
        video["frames"] = frames
    return Part(name, video, 1, size=_size(batch))


def frames_named(text: str, count: int) -> list[int]:
    """`0, 12, 24-30` as numbers. Raises BadRequest for what are no rising numbers below `count`."""
    found: list[int] = []
    for item in text.replace(",", " ").split():
        first, dash, last = item.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise errors.BadRequest(
                f"frame_indices has {item!r}.", "Write numbers and ranges, such as 0, 12, 24-30."
            )
        begin, end = int(first), int(last if dash else first)
        if begin > end:
            raise errors.BadRequest(
                f"frame_indices has {item!r}, which does not rise.", f"Write {end}-{begin}."
            )
        if end >= count:
            raise errors.BadRequest(
                f"frame_indices names frame {end}; the video has {count}, counted from 0.",
                "Name frames that are there.",
            )
        found += range(begin, end + 1)
    if any(later <= earlier for earlier, later in zip(found, found[1:])):
        raise errors.BadRequest(
            "frame_indices does not rise.", "Name each frame once, in the order of time."
        )
    return found


def picture_parts(
    name: str, batch: Any, mask: Any = None, margin: int = 0, max_pixels: int = 0
) -> list[Part]:
    """A picture or batch as one part; with a mask, what it covers of each picture as one each.
    max_pixels: 0: the request's."""
    size = _size(batch)
    if mask is None:
        count = len(batch) if len(batch.shape) == 4 else 1
        return [Part(name, _limited(batch, max_pixels), count, size=size)]
    from ..crops import crop_to_mask

    crops = crop_to_mask(batch, mask, margin)
    return [
        Part(name, _limited(crop.picture, max_pixels), 1, crop.left, crop.top, size)
        for crop in crops
    ]


def _limited(picture: Any, max_pixels: int) -> Any:
    return {"image": picture, "max_pixels": max_pixels} if max_pixels else picture


def budgets_of(text: str) -> dict[str, int]:
    """`1000000, , 200000`: the most pixels of each socket, in order. Raises BadRequest."""
    items = [item.strip() for item in text.split(",")] if text.strip() else []
    wrong = [item for item in items if item and not item.isdecimal()]
    if wrong or len(items) > len(SOCKETS):
        raise errors.BadRequest(
            f"max_pixels_each has {wrong[0]!r}."
            if wrong
            else f"max_pixels_each has {len(items)} numbers for {len(SOCKETS)} sockets.",
            "Write numbers in the order of the sockets, such as 1000000, 0, 200000.",
        )
    return {name: int(item or 0) for name, item in zip(SOCKETS, items)}


def one_by_one(sockets: dict[str, Any]) -> list[dict[str, Any]]:
    """Each picture of the batches with its neighbours of the same number; a single picture goes
    with all of them. Raises BadRequest when batches differ in number."""
    mask = sockets.get("mask")
    if mask is not None and len(mask.shape) == 2:  # some nodes give [height, width]
        sockets = {**sockets, "mask": mask[None]}
    counts = {name: len(batch) for name, batch in sockets.items()}
    longest = max(counts.values(), default=0)
    if not longest:
        raise errors.BadPicture(
            f"{', '.join(counts)}: the batch is empty.", "Connect at least one picture."
        )
    wrong = [f"{name} has {count}" for name, count in counts.items() if count not in (1, longest)]
    if wrong:
        raise errors.BadRequest(
            f"One answer each needs batches of one size: {', '.join(wrong)}, another {longest}.",
            "Give each socket one picture, or as many as the others have.",
        )
    return [
        {
            name: batch[index : index + 1] if counts[name] > 1 else batch
            for name, batch in sockets.items()
        }
        for index in range(longest)
    ]


def _size(batch: Any) -> tuple[int, int]:
    """Width and height of an IMAGE [pictures, height, width, channels]."""
    shape = [int(size) for size in batch.shape]
    return (shape[2], shape[1]) if len(shape) == 4 else (0, 0)
