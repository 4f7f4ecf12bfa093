"""Models that are not there yet: fetched from the hub when the user has switched that on.

Without that consent nothing is asked of the network: the error says what a download would mean and
where to allow it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .. import comfy_api, errors, hub_models
from ..units import amount
from . import _downloads
from ._answer import show
from ._model_folders import FOLDERS, Source, is_bare, origin_of
from ._schema import Input

DOWNLOAD_IF_MISSING = Input(
    "download_if_missing",
    "BOOLEAN",
    "Off: a model that is not there is an error that says how large it is. On: it is fetched from"
    " the Hugging Face hub into models/LLM, with its licence accepted by you.",
    {"default": False, "advanced": True},
    optional=True,
)


async def find_or_fetch(name: str, download_if_missing: bool, revision: str = "main") -> Source:
    """What to offer to the service for a picked name, after a download where one was allowed.

    Raises UnknownModel where the model is missing and may not be fetched, ComfyUI's own exception
    when the user presses cancel, and what `hearth.hub` raises.
    """
    with on_node():
        repository = missing_repository(name)
        # A bare name may be that of a model which the service publishes.
        if repository is None or (is_bare(name) and not download_if_missing):
            return FOLDERS.find(name)
        await bring(repository, download_if_missing, revision)
        return FOLDERS.find(repository)


async def bring(repository: str, is_allowed: bool, revision: str = "main") -> None:
    """Fetches a missing model, where that is allowed.

    Raises UnknownModel where it is not, or where a folder of its name is there that holds no whole
    model: what came from elsewhere is neither completed nor replaced.
    """
    if not is_allowed:
        raise not_allowed(repository)
    place = _folder() / repository.rpartition("/")[2]
    is_ours = origin_of(place) in ("", repository)  # else hub.fetch says whose it is
    # One that is whole by now came from another node since it was missed.
    if is_ours and place.exists() and FOLDERS.path_of(repository) is None:
        raise FOLDERS.obstacle(repository, place) or errors.UnknownModel(
            f"{place} is there, but holds no model.",
            "Move it away and run this again to have the model fetched.",
        )
    await fetch(repository, revision)
    FOLDERS.look_again()


@contextlib.contextmanager
def on_node() -> Iterator[None]:
    """The text of an error from inside stands on the node."""
    try:
        yield
    except errors.HearthError as error:
        show(str(error))
        raise


def missing_repository(name: str) -> str | None:
    """The repository to fetch for a name that is in no folder; None where there is none, or no
    need."""
    if FOLDERS.path_of(name) is not None:
        return None
    known = hub_models.repository_for(name)
    return known or (name if FOLDERS.is_repository(name) else None)


def not_allowed(repository: str) -> errors.HearthError:
    """The error for a model that is missing and may not be fetched, or is there and not whole."""
    from .. import hub  # not while ComfyUI starts

    obstacle = FOLDERS.obstacle(repository)
    if obstacle is not None:
        return obstacle
    known = hub_models.KNOWN.get(repository)
    page = hub.page_of(repository)
    what = f"about {amount(known.nbytes)}, {known.licence}" if known else "size and licence"
    return errors.UnknownModel(
        f"The model {repository} is not here. It can be fetched ({what}: {page}).",
        "Switch on download_if_missing to fetch it and accept its licence, or put its folder into"
        " models/LLM.",
    )


async def fetch(repository: str, revision: str = "main") -> Path:
    """Fetches into models/LLM, with progress in the running node. The folder it is in."""
    return await _downloads.fetch(repository, revision, _folder())


def _folder() -> Path:
    """Where ComfyUI keeps language models: its own folder LLM, or one beside its other models."""
    declared = comfy_api.model_folders("LLM")
    if declared:
        return declared[0]
    beside = comfy_api.model_folders("text_encoders") or comfy_api.model_folders("diffusion_models")
    if not beside:
        raise errors.Unsupported(
            "This ComfyUI names no folder for models.", "Put the model's folder there yourself."
        )
    return beside[0].parent / "LLM"
