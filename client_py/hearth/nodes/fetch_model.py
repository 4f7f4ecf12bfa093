"""*Fetch Model (Hearth)*: a model from the Hugging Face hub into ComfyUI's folder of models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import errors, hub_models
from ._answer import show
from ._fetch import DOWNLOAD_IF_MISSING, fetch, missing_repository, not_allowed, on_node
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
    if wanted is not None:
        with on_node():
            if not download_if_missing:
                raise not_allowed(wanted)
            await fetch(wanted, revision.strip() or "main")
        FOLDERS.look_again()
    path = FOLDERS.path_of(wanted or name)
    if path is None:
        raise errors.UnknownModel(
            f"{name} was fetched, but is not among ComfyUI's models.", "See Hearth Models."
        )
    picked = next(known for known, place in FOLDERS.found().items() if place == path)
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
