"""*Fetch Model (Hearth)*: a model from the Hugging Face hub into ComfyUI's folder of models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import errors, hub_models
from ._answer import show
from ._fetch import DOWNLOAD_IF_MISSING, bring, missing_repository, on_node
from ._model_folders import FOLDERS
from ._schema import Input, Node, Output, Shown


def validate(_cls: type, repository: Any = None) -> Any:
    """Before anything runs: a name that could be one."""
    name = (repository or "").strip()
    if not name or FOLDERS.is_repository(name):
        return True
    return f"{name!r} is not the name of a repository. Write it as owner/name."


async def run(
    model: str, repository: str, revision: str, download_if_missing: bool = False
) -> Shown:
    """The name to pick the model by, after a download where it is missing and one is allowed."""
    name = repository.strip() or model
    wanted = missing_repository(name)
    with on_node():
        if wanted is not None:
            await bring(wanted, download_if_missing, revision.strip() or "main")
        path = FOLDERS.path_of(wanted or name)
        names = [known for known, place in FOLDERS.found().items() if place == path]
        if path is None or not names:
            raise FOLDERS.obstacle(name) or errors.UnknownModel(
                f"{name} was fetched, but is not among ComfyUI's models.", "See Hearth Models."
            )
    picked = names[0]
    text = f"{picked} is in {path.parent}."
    show(text)
    return Shown((picked,), text)


NODE = Node(
    node_id="HearthFetchModel",
    display_name="Fetch Model (Hearth)",
    category="Hearth/text",
    description="Fetches a model from the Hugging Face hub into models/LLM: resumed where it"
    " stopped, compared with the hub's digests, listed when it is complete. Only when"
    " download_if_missing is on. A model that is there already is not asked for.",
    inputs=(
        Input(
            "model",
            "COMBO",
            "A model that hearth serves. Its size is in the error that you get without"
            " download_if_missing, and in the help page.",
            {"default": next(iter(hub_models.KNOWN))},
            choices=lambda: list(hub_models.KNOWN),
        ),
        Input(
            "repository",
            "STRING",
            "Another repository, as owner/name. When it is not empty, it replaces the model.",
            {"default": "", "placeholder": "owner/name"},
        ),
        Input(
            "revision",
            "STRING",
            "Branch, tag or commit of the repository.",
            {"default": "main", "advanced": True},
        ),
        replace(DOWNLOAD_IF_MISSING, options={"default": False}),  # not behind *advanced*
    ),
    outputs=(Output("model", "*", "The model's name, for the input model of the other nodes."),),
    run=run,
    validate=validate,
    search_aliases=("download model", "huggingface", "hub", "qwen3-vl"),
)
