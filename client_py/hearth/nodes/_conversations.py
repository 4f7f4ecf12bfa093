"""Conversations: what was said so far, as it travels by sockets and stays between runs."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from .. import errors

CHAT = "HEARTH_CHAT"  # socket type: a Conversation
_MOST_KEPT = 32  # conversations by name; the one that was continued least recently goes first

Turn = dict[str, Any]  # {"role": …, "content": [texts, pictures, …]}, as the client takes it


@dataclass(frozen=True)
class Conversation:
    """Turns in order; nobody changes one."""

    turns: tuple[Turn, ...] = ()

    @property
    def system(self) -> str:
        """What the model was told to be, or an empty text."""
        first = self.turns[0] if self.turns else {"role": ""}
        return str(first["content"][0]) if first["role"] == "system" else ""

    @property
    def exchanges(self) -> tuple[Turn, ...]:
        """All turns but the system's."""
        return self.turns[1:] if self.system else self.turns

    def asked(self, content: list[Any], system: str = "") -> list[Turn]:
        """The chat with one more question. `system`: in place of the one it had, unless empty."""
        system = system.strip() or self.system
        head = [{"role": "system", "content": [system]}] if system else []
        return [*head, *self.exchanges, {"role": "user", "content": content}]

    def shortened(self, most: int) -> Conversation:
        """Only the newest so many exchanges: the oldest question and its answer go first."""
        starts = [i for i, turn in enumerate(self.exchanges) if turn["role"] == "user"]
        if len(starts) <= most:
            return self
        head = self.turns[: len(self.turns) - len(self.exchanges)]
        kept = self.exchanges[starts[-most] :] if most > 0 else ()
        return Conversation((*head, *kept))

    def transcript(self) -> str:
        """All of it as text. Pictures are only mentioned."""
        return "\n\n".join(
            f"{_WHO[turn['role']]}: {_words(turn['content'])}" for turn in self.turns
        )


_WHO = {"system": "System", "user": "You", "assistant": "Model"}


def _words(content: list[Any]) -> str:
    return " ".join(part if isinstance(part, str) else "[picture]" for part in content)


def given(history: Any) -> Conversation:
    """What the socket brings; an empty conversation when nothing is connected."""
    if history is None:
        return Conversation()
    if not isinstance(history, Conversation):
        raise errors.BadRequest(
            f"history is a {type(history).__name__}.", "Connect the output history of such a node."
        )
    return history


def answered(chat: list[Turn], text: str) -> Conversation:
    """The chat and the model's answer to it."""
    return Conversation((*chat, {"role": "assistant", "content": [text]}))


_kept: OrderedDict[str, Conversation] = OrderedDict()
_turns: dict[Any, _Turn] = {}  # by event loop and name: where a turn is under way


class _Turn:
    """Who speaks in a conversation. Made where the loop runs: Python 3.9."""

    def __init__(self) -> None:
        import asyncio  # not while ComfyUI starts

        self.lock = asyncio.Lock()
        self.count = 0  # of those who speak or wait


@contextlib.asynccontextmanager
async def turn_of(name: str) -> AsyncIterator[None]:
    """One turn of a kept conversation at a time, in the order in which they came: the next one must
    know what this one said. Nobody waits for a conversation without a name."""
    if not name:
        yield
        return
    import asyncio

    key = (asyncio.get_running_loop(), name)
    turn = _turns.setdefault(key, _Turn())
    turn.count += 1
    try:
        async with turn.lock:
            yield
    finally:
        turn.count -= 1
        if not turn.count:
            del _turns[key]


def kept(name: str) -> Conversation:
    """What was said under this name since ComfyUI started."""
    return _kept.get(name, Conversation())


def keep(name: str, conversation: Conversation) -> None:
    """Until ComfyUI ends, or until too many others have been continued since."""
    _kept[name] = conversation
    _kept.move_to_end(name)
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
