"""Pictures as they come in by sockets, and as they go into questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import errors
from ._schema import Input

SOCKETS = ("image", *(f"image{number}" for number in range(2, 9)))
ONE_PROMPT, EACH, VIDEO = "one prompt", "one answer each", "video"
BATCH_MODES = (ONE_PROMPT, EACH, VIDEO)
FRAMES, FPS = 16, 24.0


@dataclass(frozen=True)
class Part:
    """One value of a question: a text, picture, batch or video, and the input that it is from.

    left, top: where it lies in the picture of `size` (width, height) that it was cut from
    """

    name: str
    value: Any
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
        return [part for part in self.parts if part.size != (0, 0) for _ in range(_count(part))]

    def names(self, turn: int) -> dict[str, str]:
        """What the client calls the parts, when they are the chat's turn of this number: the
        inputs' names."""
        return {
            f"messages[{turn}].content[{index}]": part.name for index, part in enumerate(self.parts)
        }


def picture_inputs(count: int, batches: str) -> tuple[Input, ...]:
    """The sockets `image`, `image2`, …; `batches` says what becomes of one."""
    first = Input("image", "IMAGE", f"One picture or a batch. {batches}", optional=True)
    more = (
        Input(name, "IMAGE", "Another picture or batch, seen after those above.", optional=True)
        for name in SOCKETS[1:count]
    )
    return (first, *more)


def video_inputs() -> tuple[Input, ...]:
    """How frames are picked from a video, and when they were seen."""
    return (
        Input(
            "fps",
            "FLOAT",
            "Videos: frames per second of the batch that comes in. The model is told at which"
            " second it sees what.",
            {"default": FPS, "min": 0.01, "max": 1000.0, "step": 0.01, "advanced": True},
            optional=True,
        ),
        Input(
            "frames",
            "INT",
            "Videos: at most so many frames, evenly spaced, are looked at.",
            {"default": FRAMES, "min": 1, "max": 1024, "advanced": True},
            optional=True,
        ),
        Input(
            "frame_indices",
            "STRING",
            "Videos: exactly these frames instead, counted from 0, rising, such as 0, 12, 24-30."
            " Empty: evenly spaced ones.",
            {"default": "", "advanced": True},
            optional=True,
        ),
    )


def video_part(name: str, batch: Any, fps: float, frames: int, frame_indices: str) -> Part:
    """A batch as a video: evenly spaced frames, or those that are named."""
    video: dict[str, Any] = {"video": batch, "fps": fps}
    picked = frames_named(frame_indices, len(batch))
    if picked:
        video |= {"video": batch[picked], "indices": picked}
    else:
        video["frames"] = frames
    return Part(name, video, size=_size(batch))


def frames_named(text: str, count: int) -> list[int]:
    """`0, 12, 24-30` as numbers. Raises BadRequest for what are no rising numbers below `count`."""
    found: list[int] = []
    for item in text.replace(",", " ").split():
        first, dash, last = item.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise errors.BadRequest(
                f"frame_indices has {item!r}.", "Write numbers and ranges, such as 0, 12, 24-30."
            )
        found += range(int(first), int(last if dash else first) + 1)
        if found and found[-1] >= count:
            raise errors.BadRequest(
                f"frame_indices names frame {found[-1]}; the video has {count}, counted from 0.",
                "Name frames that are there.",
            )
    if any(later <= earlier for earlier, later in zip(found, found[1:])):
        raise errors.BadRequest(
            "frame_indices does not rise.", "Name each frame once, in the order of time."
        )
    return found


def picture_parts(name: str, batch: Any, mask: Any = None, margin: int = 0) -> list[Part]:
    """A picture or batch as one part; with a mask, what it covers of each picture as one each."""
    if mask is None:
        return [Part(name, batch, size=_size(batch))]
    from ..crops import crop_to_mask

    size = _size(batch)
    crops = crop_to_mask(batch, mask, margin)
    return [Part(name, crop.picture, crop.left, crop.top, size) for crop in crops]


def one_by_one(sockets: dict[str, Any]) -> list[dict[str, Any]]:
    """Each picture of the batches with its neighbours of the same number; a single picture goes
    with all of them. Raises BadRequest when batches differ in number."""
    counts = {name: len(batch) for name, batch in sockets.items()}
    longest = max(counts.values(), default=0)
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


def _count(part: Part) -> int:
    shape: Sequence[int] = getattr(part.value, "shape", ())
    return int(shape[0]) if len(shape) == 4 else 1


def _size(batch: Any) -> tuple[int, int]:
    """Width and height of an IMAGE [pictures, height, width, channels]."""
    shape = [int(size) for size in batch.shape]
    return (shape[2], shape[1]) if len(shape) == 4 else (0, 0)
