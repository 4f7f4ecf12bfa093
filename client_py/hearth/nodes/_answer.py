"""One answer, shown in the node while it is made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import comfy_api

if TYPE_CHECKING:
    from ..aio import AsyncClient
    from ..messages import Progress
    from ..models import Model
    from ..replies import Reply

_SHOW_EVERY_S = 0.1
_STAGES = {
    "queued": "Waiting for the engine",
    "loading": "Loading the model",
    "preprocess": "Preparing the prompt",
    "vision": "Looking at the pictures",
    "prefill": "Reading the prompt",
}


async def answer_in_node(
    service: AsyncClient, model: Model | str, messages: list[Any], sampling: dict[str, Any]
) -> Reply:
    """Generates, streaming words and progress into the running node. An equal question that was
    answered before, by whichever ComfyUI of this user, has its answer at once: the seed decides the
    words, so it would be the same.

    Raises ComfyUI's own exception when the user presses cancel, after cancelling the request.
    """
    screen = _Screen(int(sampling["max_tokens"]))
    stream = service.stream(
        model, messages, reuse=True, interrupted=screen.poll, on_progress=screen.take, **sampling
    )
    async for _ in stream:
        screen.text = stream.text
    reply = await stream.reply()
    screen.finish()
    return reply


class _Screen:
    """The node's text and progress bar. `poll` is called at least every 20 ms and does it all."""

    def __init__(self, max_tokens: int) -> None:
        node = comfy_api.node_id()
        self._send = comfy_api.text_sender(node)
        self._move_bar = comfy_api.progress_bar(max_tokens, node)
        self._max_tokens = max_tokens
        self._tokens = self._tokens_shown = 0
        self.text = self._text_shown = ""
        self._send_at = 0.0

    def poll(self) -> bool:
        """Shows what is new, ten times a second. Never True: ComfyUI's own exception says it."""
        comfy_api.raise_if_interrupted()
        now = time.monotonic()
        if now >= self._send_at and self.text != self._text_shown:
            self._send_at = now + _SHOW_EVERY_S
            self._text_shown = self.text
            self._send(self.text)
        if self._tokens != self._tokens_shown:
            self._tokens_shown = self._tokens
            self._move_bar(self._tokens)
        return False

    def take(self, progress: Progress) -> None:
        """How far the request is. Before the first word, the stage is what there is to show."""
        if progress.stage == "decode":
            self._tokens = progress.done
        elif progress.stage in _STAGES:
            self.text = f"{_STAGES[progress.stage]} …{_how_far(progress)}"

    def finish(self) -> None:
        """The bar is full however short the answer is."""
        self._move_bar(self._max_tokens)


def _how_far(progress: Progress) -> str:
    if not progress.done or not progress.total:
        return ""
    if progress.stage == "queued":
        return f" {progress.done} ahead"
    return f" {100 * progress.done // progress.total} %"


def show(text: str) -> None:
    """Leaves this text on the running node."""
    comfy_api.text_sender(comfy_api.node_id())(text)
