"""The inputs that questions are made of, for every node that asks one."""

from __future__ import annotations

from .. import presets
from ._conversations import CHAT
from ._pictures import BATCH_MODES, FPS, FRAMES, ONE_PROMPT, SOCKETS
from ._sampling import pixel_inputs
from ._schema import Input


def socket_inputs() -> tuple[Input, ...]:
    """All that a question can be about."""
    pictures = picture_inputs(8, "batch_mode says what a batch becomes.")
    return (*pictures, mask_input(), video_input(), history_input())


def word_inputs() -> tuple[Input, ...]:
    """What is asked."""
    return (preset_input(), custom_input(), system_input())


def view_inputs() -> tuple[Input, ...]:
    """How the model sees pictures and videos."""
    return (
        batch_mode_input(),
        *pixel_inputs(),
        budgets_input(),
        mask_margin_input(),
        *video_inputs(),
    )


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
            "Videos: at most so many frames, evenly spaced, are looked at. 0: two for each second,"
            " as Qwen's models are used to.",
            {"default": FRAMES, "min": 0, "max": 1024, "advanced": True},
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


def preset_input() -> Input:
    return Input(
        "preset_prompt",
        "COMBO",
        "What to ask. Not used when custom_prompt is filled in.",
        {"default": next(iter(presets.QUESTIONS))},
        choices=lambda: list(presets.QUESTIONS),
    )


def custom_input() -> Input:
    return Input(
        "custom_prompt",
        "STRING",
        "Your own question. When it is not empty, it replaces the preset.",
        {"default": "", "multiline": True, "placeholder": "Your own question"},
    )


def system_input() -> Input:
    return Input(
        "system_prompt",
        "STRING",
        "Who the model shall be and how it shall answer. Empty: as its own template has it.",
        {"default": "", "multiline": True, "placeholder": "System prompt"},
    )


def batch_mode_input() -> Input:
    return Input(
        "batch_mode",
        "COMBO",
        "What a batch of pictures becomes: one prompt with all of them; one answer each, computed"
        " side by side; or the frames of a video.",
        {"default": ONE_PROMPT},
        choices=lambda: BATCH_MODES,
        optional=True,
    )


def mask_input() -> Input:
    return Input(
        "mask",
        "MASK",
        "What it covers of `image` is cut out and shown to the model instead of the whole.",
        optional=True,
    )


def mask_margin_input() -> Input:
    return Input(
        "mask_margin",
        "INT",
        "Pixels around what the mask covers that are shown as well.",
        {"default": 0, "min": 0, "max": 4096, "advanced": True},
        optional=True,
    )


def video_input() -> Input:
    return Input(
        "video",
        "IMAGE",
        "A video as a batch of its frames, from any node that loads one.",
        optional=True,
    )


def history_input() -> Input:
    return Input(
        "history", CHAT, "What was said before, from another node's history.", optional=True
    )


def budgets_input() -> Input:
    return Input(
        "max_pixels_each",
        "STRING",
        "max_pixels of single sockets, in their order, such as 1000000, 0, 200000. 0: max_pixels.",
        {"default": "", "advanced": True},
        optional=True,
    )
