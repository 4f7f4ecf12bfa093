"""*Token Estimate (Hearth)*: what a question would take of the model's context, unasked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import comfy_api
from . import _models as models
from ._answer import show
from ._conversations import given
from ._question_inputs import socket_inputs, view_inputs, word_inputs
from ._questions import questions_of
from ._schema import Node, Output, Shown, from_contract
from ._words import naming_inputs

if TYPE_CHECKING:
    from ..replies import TokenCount


async def run(**inputs: Any) -> Shown:
    """Asks the service to count. The model is not loaded for it."""
    questions = questions_of(inputs)
    before, system = given(inputs.get("history")), inputs["system_prompt"]
    options = {name: inputs[name] for name in ("thinking", "min_pixels", "max_pixels")}
    counts = []
    llm = replace(models.picked(inputs), keep_loaded=True)  # who counts ends nobody's stay
    async with models.lent(llm) as lent:
        for question in questions:
            chat = before.asked(question.content, system)
            with naming_inputs(question.names(len(chat) - 1)):
                counts.append(
                    await lent.service.count_tokens(
                        lent.model, chat, interrupted=comfy_api.interrupted, **options
                    )
                )
    longest = max(counts, key=lambda count: count.prompt_tokens)
    fits = longest.prompt_tokens + inputs["max_tokens"] <= longest.context_tokens
    text = report(longest, len(counts), inputs["max_tokens"])
    show(text)
    values = (longest.prompt_tokens, longest.image_tokens, longest.context_tokens, fits, text)
    return Shown(values, text)


def report(count: TokenCount, questions: int, max_tokens: int) -> str:
    """For people: of several questions the longest one."""
    wanted = count.prompt_tokens + max_tokens
    over = wanted - count.context_tokens
    verdict = f"{over} too many" if over > 0 else f"{-over} are left"
    lines = [
        f"prompt    {count.prompt_tokens} tokens, {count.image_tokens} of them pictures'",
        f"answer    {max_tokens} tokens at most",
        f"context   {count.context_tokens} tokens: {verdict}",
    ]
    if questions > 1:
        lines.insert(0, f"the longest of {questions} questions")
    for number, one in enumerate(count.pictures, 1):
        frames = f", {one.frames} frames" if one.frames else ""
        lines.append(
            f"picture {number}  {one.width} x {one.height}, seen as {one.seen_width} x"
            f" {one.seen_height}{frames}: {one.tokens} tokens"
        )
    return "\n".join(lines)


NODE = Node(
    node_id="HearthTokenEstimate",
    display_name="Token Estimate (Hearth)",
    category="Hearth/diagnostics",
    description="Counts what a question with its pictures would take of the model's context, before"
    " it is asked. Neither loads the model nor looks at the pixels.",
    inputs=(
        *socket_inputs(),
        models.llm_input(),
        models.model_input(),
        *word_inputs(),
        from_contract("max_tokens", "INT"),
        *view_inputs(),
        from_contract("thinking", "COMBO", optional=True, advanced=True),
        models.precision_input(),
    ),
    outputs=(
        Output("prompt_tokens", "INT", "Of the whole prompt; of several the longest one."),
        Output("image_tokens", "INT", "Of these, of pictures and videos."),
        Output("context_tokens", "INT", "What prompt and answer may have together."),
        Output("fits", "BOOLEAN", "Whether the prompt and max_tokens of an answer fit into it."),
        Output("report", "STRING", "The same for people, with each picture as it would be seen."),
    ),
    run=run,
    validate=models.validate,
    search_aliases=("count", "tokens", "context", "budget", "pixels"),
)
