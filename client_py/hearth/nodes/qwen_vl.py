"""*Qwen-VL (Hearth)*: pictures and a question in, text out, by a model in the service."""

from __future__ import annotations

from typing import Any

from . import _models as models
from ._answer import show
from ._conversations import Conversation
from ._pictures import picture_inputs, video_inputs
from ._questions import ask, custom_input, preset_input, questions_of, warnings_of, with_notes
from ._sampling import sampling_of, seed_input
from ._schema import Input, Node, Output, Shown, from_contract

_BATCHES = "A batch becomes one prompt with several pictures."


async def run(
    model: str,
    keep_loaded: bool,
    llm: Any = None,
    precision: str = "auto",
    download_if_missing: bool = False,
    **inputs: Any,
) -> Shown:
    """Asks the service for one answer.

    image, image2: IMAGE [pictures, height, width, channels], 0 to 1: all become one prompt.
    """
    questions = questions_of(inputs)
    picked = models.picked(
        llm,
        model,
        precision=precision,
        keep_loaded=keep_loaded,
        download_if_missing=download_if_missing,
    )
    async with models.lent(picked) as lent:
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
        Input(
            "video",
            "IMAGE",
            "A video as a batch of its frames, from any node that loads one.",
            optional=True,
        ),
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
