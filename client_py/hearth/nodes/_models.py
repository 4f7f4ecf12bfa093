"""Which model answers: the inputs that say it, and the model while it is used."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import comfy_api, errors
from ._fetch import DOWNLOAD_IF_MISSING, find_or_fetch
from ._model_folders import EMBEDDED, FOLDERS
from ._schema import Input, chosen, from_contract
from ._service import connected
from ._words import in_words_of_the_node

if TYPE_CHECKING:
    from pathlib import Path

    from ..aio import AsyncClient
    from ..models import Model

# What the user reads: what the service calls it.
PRECISIONS: dict[str, str] = {
    "auto": "auto",
    "bfloat16 (16 bit)": "bfloat16",
    "float8 (8 bit)": "float8",
    "int8 (8 bit)": "int8",
    "int4 (4 bit)": "int4",
}
LLM = "HEARTH_LLM"  # socket type: an Llm

_offered_ids: dict[Any, str] = {}  # a picked model's choices: what the service calls it


@dataclass(frozen=True)
class Llm:
    """A model as it was picked. `precision` is a key of PRECISIONS."""

    model: str
    precision: str = "auto"
    head: str = "auto"
    attention: str = "auto"
    keep_loaded: bool = True
    download_if_missing: bool = False


class Lent(NamedTuple):
    """A model in use: whom to ask for what, and what a careful user should know of it."""

    service: AsyncClient
    model: Model | str
    remarks: tuple[str, ...]


def llm_input() -> Input:
    return Input(
        "llm",
        LLM,
        "A model from the node Model (Hearth). It takes the place of model, precision and"
        " keep_loaded here.",
        optional=True,
    )


def model_input() -> Input:
    return Input(
        "model",
        "COMBO",
        "ember is built in (coloured shapes only); the others lie in ComfyUI's model folders"
        " (Hearth Models lists them). Names with an owner, as Qwen/Qwen3-VL-2B-Instruct, are not"
        " here yet: download_if_missing fetches them.",
        {"default": EMBEDDED},
        choices=FOLDERS.choices,
    )


def keep_loaded_input() -> Input:
    return Input(
        "keep_loaded",
        "BOOLEAN",
        "On: the next answer starts at once. Off: the model is given up after the answer and"
        " leaves memory when no one else holds it, another node at work with it included.",
        {"default": True},
    )


def precision_input() -> Input:
    return Input(
        "precision",
        "COMBO",
        "What the decoder's weights are kept in. auto: as the files have them. 8 bit takes half"
        " their memory and nearly half the time a word takes, 4 bit half of that; 8 bit costs"
        " next to nothing in quality, 4 bit a little.",
        {"default": "auto"},
        choices=lambda: list(PRECISIONS),
        optional=True,  # workflows that were saved without it still run
    )


def head_input() -> Input:
    return from_contract("head", "COMBO", message="offer_model", optional=True, advanced=True)


def attention_input() -> Input:
    return from_contract("attention", "COMBO", message="offer_model", optional=True, advanced=True)


def download_input() -> Input:
    return DOWNLOAD_IF_MISSING


def validate(_cls: type, model: Any = None) -> Any:
    """Any model that is still there may be named, even one that was not when the list was made."""
    return True if model is None or FOLDERS.has(model) else FOLDERS.complaint(model)


def picked(inputs: Mapping[str, Any]) -> Llm:
    """What the socket llm brings, or else what the node's own widgets say."""
    llm = inputs.get("llm")
    if llm is None:
        return Llm(**{one.name: inputs[one.name] for one in fields(Llm) if one.name in inputs})
    if not isinstance(llm, Llm):
        raise errors.BadRequest(
            f"llm is a {type(llm).__name__}.", "Connect the output of the node Model (Hearth)."
        )
    return llm


@contextlib.asynccontextmanager
async def lent(llm: Llm) -> AsyncIterator[Lent]:
    """The model, offered to the service, while the block lasts. Errors from inside name it as it
    was picked, and stand on the node."""
    source = await find_or_fetch(llm.model, llm.download_if_missing)
    with in_words_of_the_node(llm.model, source):
        choices = choices_of(llm, source.model)
        async with connected() as service:
            asked = source.model
            if not isinstance(asked, str):
                asked = await _offered(service, asked, llm.model, choices)
            async with _in_use(service, asked, llm.keep_loaded):
                yield Lent(service, asked, source.remarks)


@dataclass
class _Users:
    """Nodes that use one model at the same time, on the connection that they share."""

    count: int = 0
    keep_loaded: bool = False  # one of them wants it


_users: dict[tuple[int, str], _Users] = {}


@contextlib.asynccontextmanager
async def _in_use(
    service: AsyncClient, model: Model | str, keep_loaded: bool
) -> AsyncIterator[None]:
    """The last one to leave gives the model up, unless one of those beside it keeps it."""
    key = (id(service), model if isinstance(model, str) else model.id)
    users = _users.setdefault(key, _Users())
    users.count += 1
    users.keep_loaded |= keep_loaded
    try:
        yield
    finally:
        users.count -= 1
        if not users.count:
            del _users[key]
            if not users.keep_loaded:
                await give_up(service, model)


def choices_of(llm: Llm, model: object) -> dict[str, str]:
    """How the service shall keep the model."""
    if isinstance(model, str):
        for name in ("precision", "head", "attention"):
            value = getattr(llm, name)
            if value != "auto":
                raise errors.BadRequest(
                    f"{model} is kept by the service as it is: {name} {value} is not for it.",
                    "Choose auto, or a model from ComfyUI's folders.",
                )
    dtype = chosen(PRECISIONS, llm.precision, "precision")
    return {"dtype": dtype, "head": llm.head, "attention": llm.attention}


async def _offered(
    service: AsyncClient, files: Path | dict[str, Path], name: str, choices: dict[str, str]
) -> Model:
    """The picked model. Files that have changed since are another model: what they were before is
    given up, or each update of a model would leave a copy of it in memory."""
    offered = await service.offer_model(files, **choices, interrupted=comfy_api.interrupted)
    key = (name, *choices.values())
    before = _offered_ids.get(key, offered.id)
    _offered_ids[key] = offered.id
    if before != offered.id:
        await give_up(service, before)
    return offered


def versions_of(name: str) -> list[str]:
    """Ids of what nodes have offered under this name: one for each way of keeping it."""
    return [id_ for (picked_name, *_), id_ in _offered_ids.items() if picked_name == name]


async def give_up(service: AsyncClient, model: Model | str) -> None:
    """Neither an answer nor the error of its making may be lost because this fails."""
    try:
        await service.unload(model)
    except errors.UnknownModel:
        pass  # a service that was started since never had it
    except errors.HearthError as error:
        logging.warning("hearth: the model was not given up: %s", error)
