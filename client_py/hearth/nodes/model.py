"""*Model (Hearth)*: picks a model once, for all nodes that are connected to it."""

from __future__ import annotations

from typing import Any

from . import _models as models
from ._schema import Node, Output, Shown


async def run(**inputs: Any) -> Shown:
    """Nothing is loaded here: the service loads a model when it is first asked."""
    return Shown((models.picked(inputs),))


NODE = Node(
    node_id="HearthModel",
    display_name="Model (Hearth)",
    category="Hearth/text",
    description="Picks a vision-language or language model and how its weights are kept, for any"
    " number of nodes. The service loads it when it is first asked.",
    inputs=(
        models.model_input(),
        models.keep_loaded_input(),
        models.precision_input(),
        models.head_input(),
        models.attention_input(),
        models.download_input(),
    ),
    outputs=(Output("llm", models.LLM, "For the input llm of the other nodes."),),
    run=run,
    validate=models.validate,
    shows=False,
    search_aliases=("load model", "loader", "llm", "qwen", "vlm"),
)
