"""*Unload (Hearth)*: a model leaves memory, or all that are idle do."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from .. import comfy_api, errors
from ..units import size
from . import _models as models
from ._answer import show
from ._schema import Input, Node, Output, Shown
from ._service import connected

ALL = "all idle models"


async def run(model: str, trigger: Any = None, llm: Any = None) -> Shown:
    """Gives memory back. What is at work stays until it has answered."""
    if llm is not None or model != ALL:
        text = await _one(models.picked({"llm": llm, "model": model}), llm is None)
    else:
        async with connected() as service:
            freed = await service.free_memory(interrupted=comfy_api.interrupted)
        left = ", ".join(freed.models) or "No model"
        text = f"{left} left memory: {size(freed.freed_bytes)} given back."
        if freed.resident_bytes:
            text += f" {size(freed.resident_bytes)} are still in use."
    show(text)
    return Shown((trigger, text), text)


async def _one(llm: models.Llm, in_every_precision: bool) -> str:
    there = replace(llm, keep_loaded=True, download_if_missing=False)  # it is unloaded here, once
    async with models.lent(there) as lent:
        stays = await lent.service.unload(lent.model)
        for version in models.versions_of(llm.model) if in_every_precision else ():
            with contextlib.suppress(errors.UnknownModel):  # given up before
                if version != getattr(lent.model, "id", ""):
                    stays |= await lent.service.unload(version)
    if stays:
        return f"{llm.model} was given up here; others hold it, so it stays in memory."
    return f"{llm.model} left memory."


def validate(_cls: type, model: Any = None) -> Any:
    return True if model == ALL else models.validate(_cls, model)


NODE = Node(
    node_id="HearthUnload",
    display_name="Unload (Hearth)",
    category="Hearth/diagnostics",
    description="Gives the memory of one model, or of all idle ones, back to the device: before a"
    " large diffusion model is loaded, for one. Who asks such a model again has it loaded again.",
    inputs=(
        Input(
            "trigger",
            "*",
            "Anything: the model leaves after the node connected here has run. It is passed on.",
            optional=True,
        ),
        models.llm_input(),
        Input(
            "model",
            "COMBO",
            "Which one, in every precision that nodes of this ComfyUI have asked it in.",
            {"default": ALL},
            choices=lambda: [ALL, *models.FOLDERS.names()],
        ),
    ),
    outputs=(
        Output("passed", "*", "What came in by trigger."),
        Output("report", "STRING", "What left."),
    ),
    run=run,
    validate=validate,
    always_runs=True,
    search_aliases=("free memory", "vram", "unload", "clear"),
)
