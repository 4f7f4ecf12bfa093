"""Which frames of a video are sent.

As Qwen3-VL's own processor takes them (transformers 5, video_processing_qwen3_vl.py): two a second,
at least 4, at most 768, evenly spaced from the first to the last. Plain functions; any thread.
"""

from __future__ import annotations

FPS = 2.0  # frames taken of each second
LEAST_FRAMES = 4
MOST_FRAMES = 768
ALL_FRAMES = 4096  # more are never sent


def wanted_frames(count: int, fps: float) -> int:
    """How many frames to take of `count`, which follow each other at `fps` a second."""
    return min(max(int(count / fps * FPS), LEAST_FRAMES), MOST_FRAMES, count)


def spaced_indices(count: int, frames: int) -> list[int]:
    """`frames` numbers from 0 to count - 1, evenly spaced, rounded half to even: what
    numpy.linspace(0, count - 1, frames).round() gives. All of them when there are not more."""
    if frames >= count:
        return list(range(count))
    if frames == 1:
        return [0]
    step = (count - 1) / (frames - 1)
    return [*(round(index * step) for index in range(frames - 1)), count - 1]
