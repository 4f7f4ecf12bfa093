"""*Qwen-VL Advanced (Hearth)*: every parameter, and all that an answer brings along."""

from __future__ import annotations

from typing import Any

from .. import errors
from . import _boxes as boxes
from . import _models as models
from . import _stats as stats
from ._answer import show
from ._conversations import CHAT, answered, given
from ._pictures import Question
from ._question_inputs import socket_inputs, view_inputs, word_inputs
from ._questions import ask, questions_of, warnings_of, with_notes
from ._sampling import (
    choice_inputs,
    form_inputs,
    sampling_of,
    search_inputs,
    seed_input,
    thinking_inputs,
)
from ._schema import Input, Node, Output, Shown, from_contract


async def run(**inputs: Any) -> Shown:
    """Asks the service: one question, or one for each picture of a batch."""
    questions, sampling, before = (
        questions_of(inputs),
        sampling_of(inputs),
        given(inputs.get("history")),
    )
    _check_beams(sampling)
    async with models.lent(models.picked(inputs)) as lent:
        chats, replies = await ask(lent, questions, sampling, before, inputs["system_prompt"])
        measured = stats.outputs_of(replies, lent.service.welcome)
    places = [
        boxes.places_in(reply, question.pictures, _picture_of(questions, inputs["boxes_of"]))
        for question, reply in zip(questions, replies)
    ]
    problems = [problem for one in places for problem in one.problems]
    texts = [text for reply in replies for text in reply.texts]
    thoughts = "\n\n".join(filter(None, (reply.thinking for reply in replies)))
    shown = with_notes("\n\n".join(texts), [*warnings_of(lent, replies), *problems])
    show(shown)
    continued = answered(chats[-1], replies[-1].text)
    values = ("\n\n".join(texts), thoughts, texts, *boxes.outputs_of(places), *measured, continued)
    return Shown(values, shown)


def _check_beams(sampling: dict[str, Any]) -> None:
    answers, beams = sampling["answers"], sampling["beams"]
    if 1 < beams < answers:
        raise errors.BadRequest(
            f"beams is {beams}, answers {answers}.",
            "Give beam search as many beams as answers, or more; 1 beam: no search.",
        )


def _picture_of(questions: list[Question], boxes_of: int) -> int:
    """From 0. Where each picture has its own answer, boxes in it are that picture's."""
    return 0 if len(questions) > 1 else boxes_of - 1


_BOXES_OF = Input(
    "boxes_of",
    "INT",
    "Which picture of the prompt, from 1, the boxes in the answer belong to.",
    {"default": 1, "min": 1, "max": 1024, "advanced": True},
    optional=True,
)
_OUTPUTS = (
    Output("text", "STRING", "The answer, and nothing but the answer; several below each other."),
    Output("thinking", "STRING", "What the model thought before it answered."),
    Output("list", "STRING", "The answers one by one: what follows runs for each.", is_list=True),
    *boxes.OUTPUTS,
    *stats.OUTPUTS,
    Output("history", CHAT, "The conversation with this answer, for the next question."),
)

NODE = Node(
    node_id="HearthQwenVLAdvanced",
    display_name="Qwen-VL Advanced (Hearth)",
    category="Hearth/text",
    description="Everything that a vision-language model of the hearth service can be asked: up to"
    " eight pictures or batches, masks, video, history, every sampling parameter, beams, thinking,"
    " answers in a given form, boxes and masks of what was found, and where the time went.",
    inputs=(
        *socket_inputs(),
        models.llm_input(),
        models.model_input(),
        *word_inputs(),
        from_contract("max_tokens", "INT"),
        from_contract("temperature", "FLOAT"),
        seed_input(),
        models.keep_loaded_input(),
        *view_inputs(),
        _BOXES_OF,
        *choice_inputs(),
        *search_inputs(),
        *thinking_inputs(),
        *form_inputs(),
        models.precision_input(),
        models.head_input(),
        models.attention_input(),
        models.download_input(),
    ),
    outputs=_OUTPUTS,
    run=run,
    validate=models.validate,
    search_aliases=(
        "vlm",
        "caption",
        "detect",
        "boxes",
        "video",
        "json",
        "thinking",
        "beams",
    ),
)
