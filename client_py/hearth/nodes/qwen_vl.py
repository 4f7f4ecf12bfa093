"""*Qwen-VL (Hearth)*: pictures and a question in, text out, by a model in the service."""

from __future__ import annotations

from typing import Any

from . import _models as models
from ._answer import show
from ._conversations import Conversation
from ._question_inputs import (
    custom_input,
    picture_inputs,
    preset_input,
    video_input,
    video_inputs,
)
from ._questions import ask, questions_of, warnings_of, with_notes
from ._sampling import sampling_of, seed_input
from ._schema import Node, Output, Shown, from_contract

_BATCHES = "A batch becomes one prompt with several pictures."


async def run(**inputs: Any) -> Shown:
    """Asks the service for one answer.

    image, image2: IMAGE [pictures, height, width, channels], 0 to 1: all become one prompt.
    """
    questions = questions_of(inputs)
    async with models.lent(models.picked(inputs)) as lent:
        _, replies = await ask(lent, questions, sampling_of(inputs), Conversation())
    text = replies[0].text
    shown = with_notes(text, warnings_of(lent, replies))
    show(shown)
    return Shown((text,), shown)


NODE = Node(
    node_id="HearthQwenVL",
    display_name="Qwen-VL (Hearth)",
    category="Hearth/text",
    description="Describes pictures and answers questions with a vision-language model that lives"
    " in the hearth service: loaded once, kept for the next run, shared by every ComfyUI.",
    inputs=(
        *picture_inputs(2, _BATCHES),
        video_input(),
        models.llm_input(),
        models.model_input(),
        preset_input(),
        custom_input(),
        from_contract("max_tokens", "INT"),
        from_contract("temperature", "FLOAT"),
        from_contract("top_p", "FLOAT", advanced=True),
        from_contract("top_k", "INT", advanced=True),
        from_contract("min_p", "FLOAT", advanced=True),
        from_contract("repetition_penalty", "FLOAT", advanced=True),
        seed_input(),
        models.keep_loaded_input(),
        models.precision_input(),
        *video_inputs()[:2],
        models.download_input(),
    ),
    outputs=(Output("text", "STRING", "The answer, and nothing but the answer."),),
    run=run,
    validate=models.validate,
    search_aliases=("caption", "vlm", "llm", "describe image", "image to text", "qwen3-vl"),
)
