"""Pictures and videos as callers write them in messages, checked."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import errors, messages, video
from .tensors import Pixels, is_tensor

_LIMITS = ("min_pixels", "max_pixels")
_PICTURE = {"image", *_LIMITS}
_VIDEO = {"video", "fps", "frames", "indices", *_LIMITS}


class Medium(NamedTuple):
    """A picture, a batch of pictures or a video, and what is said of it.

    indices: which frame of its source each frame is; fps: how many of those make a second.
    min_pixels, max_pixels: of each picture, or of all frames together; 0: the request's.
    """

    pixels: Pixels
    fps: float = 0.0
    indices: Sequence[int] = ()
    min_pixels: int = 0
    max_pixels: int = 0

    def parts(self) -> list[messages.ContentPart]:
        """One for each tensor, whose place in memory is not known yet."""
        if self.pixels.is_video:
            indices = list(self.indices)
            parts = [messages.ContentPart(kind="video", fps=self.fps, frame_indices=indices)]
        else:
            parts = [messages.ContentPart(kind="image") for _ in range(self.pixels.tensors)]
        for part in parts:
            part.min_pixels, part.max_pixels = self.min_pixels, self.max_pixels
        return parts


def medium_of(value: object, name: str) -> Medium:
    """What a caller has written in the place of a picture. Raises BadRequest or BadPicture."""
    if is_tensor(value):
        return Medium(Pixels(value, name))
    if isinstance(value, Mapping):
        if "image" in value and set(value) <= _PICTURE:
            pixels = Pixels(_tensor(value, "image", name), f"{name}.image")
            return Medium(pixels, 0.0, (), *_limits(value, name))
        if "video" in value and set(value) <= _VIDEO:
            return _video_of(value, name)
    raise errors.BadRequest(
        f"{name} is a {type(value).__name__}.",
        "Use texts, pictures (torch tensors, numpy arrays), what put() returned, "
        '{"image": tensor, "max_pixels": n} and {"video": tensor, "fps": n, "frames": at most so '
        'many of them}, or "indices": [number of each frame in its source].',
    )


def _tensor(value: Mapping[str, Any], key: str, name: str) -> Any:
    if not is_tensor(value[key]):
        raise errors.BadRequest(f"{name}: {key} is no torch tensor or numpy array.")
    return value[key]


def _video_of(value: Mapping[str, Any], name: str) -> Medium:
    pixels = Pixels(_tensor(value, "video", name), f"{name}.video", is_video=True)
    fps = _fps(value, name)
    count = pixels.shape[0]
    if value.get("indices") is not None:
        if value.get("frames") is not None:
            raise errors.BadRequest(
                f"{name}: frames chooses some of all, indices says which were chosen.",
                "Give one of them.",
            )
        indices = _indices(value["indices"], count, name)
    else:
        frames = _frames(value.get("frames"), video.wanted_frames(count, fps), name)
        indices = video.spaced_indices(count, frames)
        pixels.pick(indices)
    if len(indices) > video.ALL_FRAMES:
        raise errors.BadRequest(
            f"{name}: {len(indices)} frames, but at most {video.ALL_FRAMES} are sent.",
            "Lower frames.",
        )
    return Medium(pixels, fps, indices, *_limits(value, name))


def _fps(value: Mapping[str, Any], name: str) -> float:
    try:
        fps = float(value.get("fps") or 0.0)
    except (TypeError, ValueError) as error:
        raise errors.BadRequest(f"{name}: fps is {value['fps']!r}.") from error
    if not (0.0 < fps <= 1000.0 and math.isfinite(fps)):
        raise errors.BadRequest(
            f"{name}: fps is {value.get('fps')!r}.",
            "Say how many frames of the source make a second, more than 0 and at most 1000.",
        )
    return fps


def _frames(frames: object, default: int, name: str) -> int:
    if frames is None:
        return default
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise errors.BadRequest(f"{name}: frames is {frames!r}.", "Use a number from 1 on.")
    return frames


def _indices(given: Any, count: int, name: str) -> list[int]:
    try:
        indices = [operator.index(index) for index in given]
    except TypeError as error:
        raise errors.BadRequest(f"{name}: indices is no list of numbers.") from error
    if len(indices) != count:
        raise errors.BadRequest(
            f"{name}: {len(indices)} indices for {count} frames.", "Give one for each frame."
        )
    rises = all(before < after for before, after in zip(indices, indices[1:]))
    if not rises or indices[0] < 0 or indices[-1] >= 1 << 31:
        raise errors.BadRequest(
            f"{name}: indices do not rise from 0 on.",
            "Give the number of each frame in its source, in their order.",
        )
    return indices


def _limits(value: Mapping[str, Any], name: str) -> tuple[int, int]:
    found = []
    for key in _LIMITS:
        try:
            pixels = operator.index(value.get(key, 0))
        except TypeError as error:
            raise errors.BadRequest(f"{name}: {key} is {value[key]!r}.") from error
        most = messages.widget("generate", key)["max"]
        if not 0 <= pixels <= most:
            raise errors.BadRequest(f"{name}: {key} is {pixels}: it runs from 0 to {most}.")
        found.append(pixels)
    least, most = found
    if least and most and least > most:
        raise errors.BadRequest(f"{name}: min_pixels {least} is over max_pixels {most}.")
    return least, most
