"""A language model of the service behind ComfyUI's own CLIP socket, for its node TextGenerate.

ComfyUI's CLIP asks a tokenizer for tokens, a model for ids, and the tokenizer again for words. Here
tokens are the question itself, and ids carry the words that the service made of them. TextGenerate
is not async, so all of this blocks ComfyUI's worker as its own models do; cancel is heeded.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

from .. import comfy_api, errors
from . import _models as models
from ._answer import Screen
from ._model_folders import FOLDERS
from ._words import in_words_of_the_node, naming_inputs

if TYPE_CHECKING:
    from ..client import Client
    from ..replies import Reply

_VIDEO_FPS = 24.0  # what TextGenerate says of its input
_KEY = "hearth"


class _Ids(list[int]):
    """Token ids with the words that they are."""

    text: str = ""


class Tokenizer:
    """What ComfyUI takes for the tokenizer of our model."""

    def tokenize_with_weights(
        self,
        text: str,
        return_word_ids: bool = False,
        image: Any = None,
        video: Any = None,
        audio: Any = None,
        thinking: bool = False,
        skip_template: bool = False,
        **_options: Any,
    ) -> dict[str, Any]:
        """The question as "tokens". image, video: IMAGE [pictures, height, width, channels]."""
        if audio is not None:
            raise errors.Unsupported("hearth's models do not hear.", "Disconnect audio.")
        if skip_template:
            raise errors.Unsupported(
                "A prompt without the model's chat layout is not taken: the layout is what makes a"
                " question of it.",
                "Switch use_default_template on; nodes that bring a layout of their own are for"
                " other models.",
            )
        content = [{"video": video, "fps": _VIDEO_FPS}] if video is not None else []
        content = [*([image] if image is not None else []), *content, text]
        return {_KEY: [[({"content": content, "thinking": bool(thinking)}, 1.0)]]}

    def decode(self, ids: Any, skip_special_tokens: bool = True) -> str:
        """The words of what `generate` gave."""
        if not isinstance(ids, _Ids):
            raise errors.Unsupported(
                "These tokens were not made by hearth's model.",
                "Connect one CLIP to both sides, generating and decoding.",
            )
        return ids.text

    def state_dict(self) -> dict[str, Any]:
        """Nothing to save."""
        return {}


class Generator:
    """What ComfyUI takes for the model: it has no weights here."""

    def __init__(self, llm: models.Llm) -> None:
        self._llm = llm

    def generate(self, tokens: Any, **sampling: Any) -> _Ids:
        """Asks the service, with words and progress in the running node."""
        asked = _asked(tokens)
        reply = _ask(self._llm, asked["content"], asked["thinking"], sampling_of(sampling))
        ids = _Ids(int(one) for one in reply.token_ids)
        ids.text = reply.text
        return ids

    def encode_token_weights(self, _tokens: Any) -> NoReturn:
        """Conditioning for a diffusion model would be made here."""
        raise errors.Unsupported(
            "This CLIP generates text; it makes no conditioning for diffusion models.",
            "Load the diffusion model's own text encoder with ComfyUI's loader for that.",
        )


def sampling_of(given: dict[str, Any]) -> dict[str, Any]:
    """TextGenerate's parameters as the service's. None is what it leaves out."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty")
    made = {name: given[name] for name in names if given.get(name) is not None}
    if not given.get("do_sample", True):
        made["temperature"] = 0.0
    return {**made, "max_tokens": int(given["max_length"]), "seed": int(given.get("seed") or 0)}


def _asked(tokens: Any) -> dict[str, Any]:
    try:
        asked = tokens[_KEY][0][0][0]
    except (TypeError, KeyError, IndexError) as error:
        raise errors.Unsupported(
            "These tokens are of another model.", "Connect one CLIP to all of these nodes."
        ) from error
    return dict(asked)


def _ask(llm: models.Llm, content: list[Any], thinks: bool, sampling: dict[str, Any]) -> Reply:
    from .. import client  # not while ComfyUI starts

    source = FOLDERS.find(llm.model)
    names = ["image", "video", "prompt"] if len(content) == 3 else ["picture", "prompt"]
    parts = {f"messages[0].content[{at}]": names[at] for at in range(len(content) - 1)}
    with in_words_of_the_node(llm.model, source), naming_inputs(parts):
        choices = models.choices_of(llm, source.model)
        with client.shared() as service:
            model = source.model
            if not isinstance(model, str):
                model = service.offer_model(model, **choices, interrupted=comfy_api.interrupted)
            try:
                return _generated(service, model, content, thinks, sampling)
            finally:
                if not llm.keep_loaded:
                    _give_up(service, model)


def _generated(
    service: Client, model: Any, content: list[Any], thinks: bool, sampling: dict[str, Any]
) -> Reply:
    """TextGenerate's switch holds "if the model supports it": else the model does as it must."""
    chat = [{"role": "user", "content": content}]
    for thinking in ("on" if thinks else "off", "auto"):
        screen = Screen(sampling["max_tokens"])
        try:
            stream = service.generate(
                model,
                chat,
                stream=True,
                reuse=True,
                interrupted=screen.poll,
                on_progress=screen.take,
                thinking=thinking,
                **sampling,
            )
            screen.watch(stream)
            for _ in stream:
                pass
            screen.finish()
            return stream.reply
        except errors.Unsupported as error:
            if thinking == "auto" or not error.what.startswith("thinking is"):
                raise
            logging.info("hearth: %s", error.what)
    raise AssertionError("auto is the last of them")


def _give_up(service: Client, model: Any) -> None:
    try:
        service.unload(model)
    except errors.HearthError as error:
        logging.warning("hearth: the model was not given up: %s", error)
