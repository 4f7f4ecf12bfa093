"""Answers, shown in the node while they are made."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .. import comfy_api

if TYPE_CHECKING:
    from ..aio import AsyncClient
    from ..messages import Progress
    from ..models import Model
    from ..replies import Reply
    from ..streams import AsyncStream

T = TypeVar("T")
AT_ONCE = 8  # requests of one node that are open together: the service batches them

_SHOW_EVERY_S = 0.1
_MOST_SHOWN = 4000  # characters of thoughts
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
    screen = Screen(int(sampling["max_tokens"]))
    reply = await _answer(service, model, messages, sampling, screen)
    screen.finish()
    return reply


async def answers_in_node(
    service: AsyncClient, model: Model | str, chats: Sequence[list[Any]], sampling: dict[str, Any]
) -> list[Reply]:
    """As answer_in_node(), for several chats at once: the bar counts those that are answered."""
    if len(chats) == 1:
        return [await answer_in_node(service, model, chats[0], sampling)]
    screen = Screen(len(chats), counts_tokens=False)
    done = 0

    async def one(chat: list[Any]) -> Reply:
        nonlocal done
        reply = await _answer(service, model, chat, sampling, screen)
        done += 1
        screen.advance(done, f"{done} of {len(chats)} answered\n\n{reply.text}")
        return reply

    replies = await side_by_side([lambda chat=chat: one(chat) for chat in chats])
    screen.finish()
    return replies


async def side_by_side(
    tasks: Sequence[Callable[[], Awaitable[T]]], at_once: int = AT_ONCE
) -> list[T]:
    """What the tasks give, in their order. The first failure cancels the others and is raised."""
    import asyncio  # not while ComfyUI starts

    results: dict[int, T] = {}
    waiting = iter(enumerate(tasks))

    async def work() -> None:
        for index, task in waiting:
            results[index] = await task()

    workers = [asyncio.ensure_future(work()) for _ in range(min(at_once, len(tasks)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(tasks))]


async def _answer(
    service: AsyncClient,
    model: Model | str,
    messages: list[Any],
    sampling: dict[str, Any],
    screen: Screen,
) -> Reply:
    stream = service.stream(
        model, messages, reuse=True, interrupted=screen.poll, on_progress=screen.take, **sampling
    )
    screen.watch(stream)
    async for _ in stream:
        pass
    return await stream.reply()


class Screen:
    """The node's text and progress bar. `poll` is called at least every 20 ms and does it all.

    total: of the bar    counts_tokens: one answer, whose words are shown as they come
    """

    def __init__(self, total: int, counts_tokens: bool = True) -> None:
        node = comfy_api.node_id()
        self._send = comfy_api.text_sender(node)
        self._move_bar = comfy_api.progress_bar(total, node)
        self._total = total
        self._counts_tokens = counts_tokens
        self._done = self._done_shown = 0
        self._text = self._text_shown = ""
        self._stream: AsyncStream | None = None
        self._send_at = 0.0

    def watch(self, stream: AsyncStream) -> None:
        """Its words are what there is to show."""
        self._stream = stream

    def advance(self, done: int, text: str) -> None:
        """So much of the total is done."""
        self._done, self._text = done, text

    def poll(self) -> bool:
        """Shows what is new, ten times a second. Never True: ComfyUI's own exception says it."""
        comfy_api.raise_if_interrupted()
        now = time.monotonic()
        text = self._newest()
        if now >= self._send_at and text != self._text_shown:
            self._send_at = now + _SHOW_EVERY_S
            self._text_shown = text
            self._send(text)
        if self._done != self._done_shown:
            self._done_shown = self._done
            self._move_bar(self._done)
        return False

    def _newest(self) -> str:
        if not self._counts_tokens or self._stream is None:
            return self._text
        if self._stream.text:
            return self._stream.text
        if self._stream.thinking:
            return f"Thinking …\n\n{self._stream.thinking[-_MOST_SHOWN:]}"
        return self._text

    def take(self, progress: Progress) -> None:
        """How far the request is. Before the first word, the stage is what there is to show."""
        if progress.stage == "decode":
            if self._counts_tokens:
                self._done = progress.done
        elif progress.stage in _STAGES and not self._done:
            self._text = f"{_STAGES[progress.stage]} …{_how_far(progress)}"

    def finish(self) -> None:
        """The bar is full however short the answer is."""
        self._move_bar(self._total)


def _how_far(progress: Progress) -> str:
    if not progress.done or not progress.total:
        return ""
    if progress.stage == "queued":
        return f" {progress.done} ahead"
    return f" {100 * progress.done // progress.total} %"


def show(text: str) -> None:
    """Leaves this text on the running node."""
    comfy_api.text_sender(comfy_api.node_id())(text)
