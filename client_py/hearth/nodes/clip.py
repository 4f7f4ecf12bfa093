"""*LLM as CLIP (Hearth)*: a model of the service for ComfyUI's own node TextGenerate."""

from __future__ import annotations

from typing import Any

from .. import comfy_api
from . import _models as models
from ._clip import Generator, Tokenizer
from ._fetch import find_or_fetch
from ._schema import Node, Output, Shown


async def run(**inputs: Any) -> Shown:
    """Nothing is loaded here: the service loads a model when it is first asked."""
    picked = models.picked(inputs)
    await find_or_fetch(picked.model, picked.download_if_missing)
    return Shown((comfy_api.language_clip(Tokenizer(), Generator(picked)),))


NODE = Node(
    node_id="HearthLLMAsCLIP",
    display_name="LLM as CLIP (Hearth)",
    category="Hearth/text",
    description="A vision-language or language model of the hearth service as a CLIP, for ComfyUI's"
    " own node Generate Text (TextGenerate), which versions from 0.15 have. It makes no"
    " conditioning for diffusion models.",
    inputs=(
        models.llm_input(),
        models.model_input(),
        models.keep_loaded_input(),
        models.precision_input(),
        models.download_input(),
    ),
    outputs=(Output("clip", "CLIP", "For the input clip of Generate Text."),),
    run=run,
    validate=models.validate,
    shows=False,
    search_aliases=("textgenerate", "generate text", "clip loader", "llm", "text encoder"),
)
