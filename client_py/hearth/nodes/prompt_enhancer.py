"""*Prompt Enhancer (Hearth)*: a short prompt in, a better one out. Needs no pictures."""

from __future__ import annotations

from typing import Any

from .. import errors, presets
from . import _models as models
from ._answer import show
from ._conversations import Conversation
from ._pictures import Part, Question
from ._questions import ask, warnings_of, with_notes
from ._sampling import sampling_of, seed_input
from ._schema import Input, Node, Output, Shown, chosen, from_contract

_OWN = "Own instruction"


async def run(**inputs: Any) -> Shown:
    """Asks the service to rewrite the prompt."""
    prompt = inputs["prompt"]
    if not prompt.strip():
        raise errors.BadRequest("prompt is empty.", "Write a few words that shall become a prompt.")
    system = instructions(inputs["style"], inputs["language"], inputs["instruction"])
    question = Question((Part("prompt", prompt),))
    async with models.lent(models.picked(inputs)) as lent:
        _, replies = await ask(lent, [question], sampling_of(inputs), Conversation(), system)
    text = replies[0].text.strip()
    shown = with_notes(text, warnings_of(lent, replies))
    show(shown)
    return Shown((text,), shown)


def instructions(style: str, language: str, instruction: str) -> str:
    """What the model is told to do with the prompt. An own instruction comes after the style, and
    takes its place where the style is Own instruction."""
    told = chosen(presets.STYLES, style, "style")
    if style == _OWN and not instruction.strip():
        raise errors.BadRequest(
            f"style is {_OWN}, and instruction is empty.", "Write what shall become of the prompt."
        )
    parts = (
        presets.ENHANCER,
        told,
        instruction.strip(),
        chosen(presets.LANGUAGES, language, "language"),
    )
    return "\n\n".join(part for part in parts if part)


NODE = Node(
    node_id="HearthPromptEnhancer",
    display_name="Prompt Enhancer (Hearth)",
    category="Hearth/text",
    description="Rewrites a short prompt for image and video generators in a style you pick, or"
    " translates or corrects it. Works with text-only models and with vision-language models.",
    inputs=(
        models.llm_input(),
        models.model_input(),
        Input(
            "prompt",
            "STRING",
            "What shall become a better prompt. Numbers, names and quoted text are kept.",
            {"default": "", "multiline": True, "placeholder": "A few words"},
        ),
        Input(
            "style",
            "COMBO",
            "What the prompt is rewritten to.",
            {"default": next(iter(presets.STYLES))},
            choices=lambda: list(presets.STYLES),
        ),
        Input(
            "language",
            "COMBO",
            "What the new prompt is written in.",
            {"default": next(iter(presets.LANGUAGES))},
            choices=lambda: list(presets.LANGUAGES),
        ),
        Input(
            "instruction",
            "STRING",
            "What else the model shall heed. With the style Own instruction, all that it is told.",
            {"default": "", "multiline": True, "placeholder": "Own instruction"},
        ),
        from_contract("max_tokens", "INT"),
        from_contract("temperature", "FLOAT"),
        seed_input(),
        models.keep_loaded_input(),
        models.precision_input(),
        from_contract("top_p", "FLOAT", optional=True, advanced=True),
        from_contract("top_k", "INT", optional=True, advanced=True),
        from_contract("repetition_penalty", "FLOAT", optional=True, advanced=True),
        from_contract("thinking", "COMBO", optional=True, advanced=True),
        models.download_input(),
    ),
    outputs=(Output("prompt", "STRING", "The new prompt, and nothing but the prompt."),),
    run=run,
    validate=models.validate,
    search_aliases=("prompt", "enhance", "expand prompt", "translate", "rewrite", "llm"),
)
