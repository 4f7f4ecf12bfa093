"""*Qwen-VL (Hearth)*: pictures and a question in, text out, by a model in the service."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .. import comfy_api, errors
from ._answer import answer_in_node, show
from ._model_folders import EMBEDDED, FOLDERS
from ._schema import Input, Node, Output, Shown, from_contract
from ._service import connected
from ._words import in_words_of_the_node

if TYPE_CHECKING:
    from pathlib import Path

    from ..aio import AsyncClient
    from ..models import Model

PRESETS: dict[str, str] = {
    "Describe": "Describe this picture.",
    "Describe in detail": "Describe this picture in detail: the subject, the setting, the light,"
    " the colours, the composition and the mood.",
    "One sentence": "Say in one short sentence what this picture shows.",
    "Image prompt": "Write one paragraph from which an image generator could make this picture"
    " again: subject, style, medium, light, colours and framing, and nothing that cannot be seen.",
    "Tags": "List what can be seen as short comma-separated tags, the most important first.",
    "Read the text": "Write down all text in this picture exactly as it stands, line by line, and"
    " nothing else.",
    "Count and place": "List every object in this picture with its colour, how many of it there are"
    " and where it is.",
    "Style": "Name the medium, the style, the light and the palette of this picture, and what"
    " shows them.",
    "Compare": "Say what these pictures have in common and what differs, one point a line.",
}

# What the user reads: what the service calls it.
PRECISIONS: dict[str, str] = {
    "auto": "auto",
    "bfloat16 (16 bit)": "bfloat16",
    "float8 (8 bit)": "float8",
    "int8 (8 bit)": "int8",
    "int4 (4 bit)": "int4",
}

_offered_ids: dict[tuple[str, str], str] = {}  # (picked model, dtype): what the service calls it
_SAMPLING = (
    from_contract("max_tokens", "INT"),
    from_contract("temperature", "FLOAT"),
    from_contract("top_p", "FLOAT", advanced=True),
    from_contract("top_k", "INT", advanced=True),
    from_contract("min_p", "FLOAT", advanced=True),
    from_contract("repetition_penalty", "FLOAT", advanced=True),
    from_contract("seed", "INT", control_after_generate=True),
)


def validate(_cls: type, model: Any = None) -> Any:
    """Any model that is still there may be named, even one that was not when the list was made."""
    return True if model is None or FOLDERS.has(model) else FOLDERS.complaint(model)


async def run(
    model: str,
    preset_prompt: str,
    custom_prompt: str,
    keep_loaded: bool,
    image: Any = None,
    precision: str = "auto",
    **sampling: Any,
) -> Shown:
    """Asks the service for one answer.

    image: IMAGE [pictures, height, width, channels], 0 to 1: all of them become one prompt.
    """
    source = FOLDERS.find(model)
    dtype = _dtype(precision, source.model)
    content = _content(image, custom_prompt, preset_prompt)
    parts = ("custom_prompt",) if image is None else ("image", "custom_prompt")
    with in_words_of_the_node(model, source, parts):
        async with connected() as service:
            asked = source.model
            if not isinstance(asked, str):
                asked = await _offered(service, asked, dtype, model)
            try:
                chat = [{"role": "user", "content": content}]
                answer = await answer_in_node(service, asked, chat, sampling)
            finally:
                if not keep_loaded:
                    await _give_up(service, asked)
    warnings = [*source.remarks, *answer.warnings]
    for warning in warnings:
        logging.warning("hearth: %s", warning)
    text = "\n\n".join([answer.text, *(f"Note: {warning}" for warning in warnings)])
    show(text)
    return Shown((answer.text,), text)


def _dtype(precision: str, model: object) -> str:
    if isinstance(model, str) and precision != "auto":
        raise errors.BadRequest(
            f"{model} is kept by the service as it is: precision {precision} is not for it.",
            "Choose auto, or a model from ComfyUI's folders.",
        )
    return str(_chosen(PRECISIONS, precision, "precision"))


def _chosen(choices: dict[str, str], name: str, what: str) -> str:
    """ComfyUI 0.3.64 does not look whether a V3 node has a choice."""
    if name not in choices:
        raise errors.BadRequest(
            f"{what} has no choice {name!r}.", f"Choose one of: {', '.join(choices)}."
        )
    return choices[name]


async def _offered(
    service: AsyncClient, files: Path | dict[str, Path], dtype: str, name: str
) -> Model:
    """The picked model. Files that have changed since are another model: what they were before is
    given up, or each update of a model would leave a copy of it in memory."""
    offered = await service.offer_model(files, dtype, interrupted=comfy_api.interrupted)
    before = _offered_ids.get((name, dtype), offered.id)
    _offered_ids[name, dtype] = offered.id
    if before != offered.id:
        await _give_up(service, before)
    return offered


async def _give_up(service: AsyncClient, model: Model | str) -> None:
    """Neither an answer nor the error of its making may be lost because this fails."""
    try:
        await service.unload(model)
    except errors.UnknownModel:
        pass  # a service that was started since never had it
    except errors.HearthError as error:
        logging.warning("hearth: the model was not given up: %s", error)


def _content(image: Any, custom_prompt: str, preset_prompt: str) -> list[Any]:
    """Pictures first, then the question: the order in which Qwen models are trained."""
    if custom_prompt.strip():
        return [custom_prompt] if image is None else [image, custom_prompt]
    if image is None:
        raise errors.BadRequest(
            "There is nothing to answer: no picture is connected and custom_prompt is empty.",
            "Connect a picture, or write your question into custom_prompt.",
        )
    return [image, _chosen(PRESETS, preset_prompt, "preset_prompt")]


NODE = Node(
    node_id="HearthQwenVL",
    display_name="Qwen-VL (Hearth)",
    category="Hearth/text",
    description="Describes pictures and answers questions with a vision-language model that lives"
    " in the hearth service: loaded once, kept for the next run, shared by every ComfyUI.",
    inputs=(
        Input(
            "image",
            "IMAGE",
            "One picture or a batch. A batch becomes one prompt with several pictures.",
            optional=True,
        ),
        Input(
            "model",
            "COMBO",
            "ember is built in (coloured shapes only); the others lie in ComfyUI's model folders"
            " LLM and text_encoders: Hugging Face folders, or single files.",
            {"default": EMBEDDED},
            choices=FOLDERS.names,
        ),
        Input(
            "preset_prompt",
            "COMBO",
            "What to ask. Not used when custom_prompt is filled in.",
            {"default": next(iter(PRESETS))},
            choices=lambda: list(PRESETS),
        ),
        Input(
            "custom_prompt",
            "STRING",
            "Your own question. When it is not empty, it replaces the preset.",
            {"default": "", "multiline": True, "placeholder": "Your own question"},
        ),
        *_SAMPLING,
        Input(
            "keep_loaded",
            "BOOLEAN",
            "On: the next answer starts at once. Off: the model is given up after the answer and"
            " leaves memory when no one else holds it.",
            {"default": True},
        ),
        Input(
            "precision",
            "COMBO",
            "What the decoder's weights are kept in. auto: as the files have them. 8 bit takes half"
            " their memory and nearly half the time a word takes, 4 bit half of that; 8 bit costs"
            " next to nothing in quality, 4 bit a little.",
            {"default": "auto"},
            choices=lambda: list(PRECISIONS),
            optional=True,  # workflows that were saved without it still run
        ),
    ),
    outputs=(Output("text", "STRING", "The answer, and nothing but the answer."),),
    run=run,
    validate=validate,
    search_aliases=("caption", "vlm", "llm", "describe image", "image to text", "qwen3-vl"),
)
