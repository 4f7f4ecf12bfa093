"""From a node's inputs to questions, and from questions to answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import errors, presets
from ._answer import answers_in_node
from ._pictures import (
    BATCH_MODES,
    EACH,
    FPS,
    FRAMES,
    ONE_PROMPT,
    SOCKETS,
    VIDEO,
    Part,
    Question,
    budgets_of,
    one_by_one,
    picture_parts,
    video_part,
)
from ._schema import chosen
from ._words import naming_inputs

if TYPE_CHECKING:
    from ..replies import Reply
    from ._conversations import Conversation
    from ._models import Lent


def questions_of(inputs: Mapping[str, Any]) -> list[Question]:
    """What a node's inputs ask: one question, or one for each picture. Raises BadRequest."""
    names = (*SOCKETS, "mask")
    sockets = {name: inputs[name] for name in names if inputs.get(name) is not None}
    if "mask" in sockets and SOCKETS[0] not in sockets:
        raise errors.BadRequest(
            f"mask cuts `{SOCKETS[0]}`, which is not connected.",
            f"Connect the picture that it belongs to with {SOCKETS[0]}, or disconnect mask.",
        )
    text = _text(inputs, bool(sockets) or inputs.get("video") is not None)
    mode = inputs.get("batch_mode", ONE_PROMPT)
    chosen(dict.fromkeys(BATCH_MODES, ""), mode, "batch_mode")
    if mode == EACH and sockets:
        return [_question(one, inputs, text, as_video=False) for one in one_by_one(sockets)]
    return [_question(sockets, inputs, text, as_video=mode == VIDEO)]


def _question(
    sockets: Mapping[str, Any], inputs: Mapping[str, Any], text: Part, as_video: bool
) -> Question:
    """Pictures first, then the question: the order in which Qwen models are trained."""
    if as_video and "mask" in sockets:
        raise errors.BadRequest(
            "mask cuts pictures; batch_mode makes frames of a video of them.",
            "Disconnect mask, or choose another batch_mode.",
        )
    parts: list[Part] = []
    budgets = budgets_of(str(inputs.get("max_pixels_each", "")))
    for name in (one for one in SOCKETS if one in sockets):
        batch = sockets[name]
        if as_video:
            parts.append(_video(name, batch, inputs, budgets.get(name, 0)))
        else:
            mask = sockets.get("mask") if name == SOCKETS[0] else None
            margin, most = int(inputs.get("mask_margin", 0)), budgets.get(name, 0)
            parts += picture_parts(name, batch, mask, margin, most)
    if inputs.get("video") is not None:
        parts.append(_video("video", inputs["video"], inputs))
    return Question((*parts, text))


def _video(name: str, batch: Any, inputs: Mapping[str, Any], max_pixels: int = 0) -> Part:
    which = str(inputs.get("frame_indices", "")).strip(" ,\n\t")
    frames = which or inputs.get("frames", FRAMES)
    return video_part(name, batch, inputs.get("fps", FPS), frames, max_pixels)


def _text(inputs: Mapping[str, Any], has_pictures: bool) -> Part:
    own = str(inputs.get("custom_prompt", ""))
    if own.strip():
        return Part("custom_prompt", own)
    if not has_pictures:
        raise errors.BadRequest(
            "There is nothing to answer: no picture is connected and custom_prompt is empty.",
            "Connect a picture, or write your question into custom_prompt.",
        )
    preset = chosen(presets.QUESTIONS, inputs["preset_prompt"], "preset_prompt")
    return Part("preset_prompt", preset)


async def ask(
    lent: Lent,
    questions: Sequence[Question],
    sampling: dict[str, Any],
    history: Conversation,
    system: str = "",
) -> tuple[list[list[Any]], list[Reply]]:
    """Chats and replies, in the order of the questions. Errors name the inputs."""
    chats = [history.asked(question.content, system) for question in questions]
    # Several questions differ in their pictures, not in their inputs' names.
    with naming_inputs(questions[0].names(len(chats[0]) - 1)):
        replies = await answers_in_node(lent.service, lent.model, chats, sampling)
    return chats, replies


def warnings_of(lent: Lent, replies: Sequence[Reply]) -> list[str]:
    """What a careful user should know, each once; logged as well."""
    said = [*lent.remarks, *(warning for reply in replies for warning in reply.warnings)]
    unique = list(dict.fromkeys(said))
    for warning in unique:
        logging.warning("hearth: %s", warning)
    return unique


def with_notes(text: str, warnings: Sequence[str]) -> str:
    """What the node shows: the answer, and below it what is to be known of it."""
    return "\n\n".join([text, *(f"Note: {warning}" for warning in warnings)])
