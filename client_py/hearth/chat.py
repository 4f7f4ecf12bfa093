"""What callers write, checked and turned into the contract's terms: chats and sampling."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import errors, messages
from .slots import Slot
from .tensors import Pixels, is_tensor
from .wire import MAX_TEXT_BYTES, token_ids

SAMPLING = tuple(name for name in messages.Generate.__slots__ if name not in ("model", "messages"))
_ROLES = ("system", "user", "assistant")


class Reply(NamedTuple):
    """A whole answer. Token ids include the stop token; `receipt` says where the time went."""

    text: str
    token_ids: list[int]
    prompt_token_ids: list[int]
    stop_reason: str  # end_token, stop_string or max_tokens
    receipt: messages.Receipt
    warnings: list[str]


def reply_of(generated: messages.Struct) -> Reply:
    """The answer in a terminal frame."""
    assert isinstance(generated, messages.Generated)
    return Reply(
        generated.text,
        token_ids(generated.token_ids),
        token_ids(generated.prompt_token_ids),
        generated.stop_reason,
        generated.receipt,
        generated.warnings,
    )


class Chat:
    """A checked chat. Its pictures wait to be placed in shared memory."""

    def __init__(self, turns: object) -> None:
        """`turns` as Client.generate takes them. Raises BadRequest, BadPicture, naming the part."""
        self.messages: list[messages.ChatMessage] = []
        self._placed: list[tuple[Pixels, list[messages.ContentPart]]] = []
        if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
            raise errors.BadRequest(
                "messages is not a list of turns.",
                'Write [{"role": "user", "content": ["What is this?", picture]}].',
            )
        for index, turn in enumerate(turns):
            self._add_turn(turn, f"messages[{index}]")

    @property
    def nbytes(self) -> int:
        """Room that all pictures need in one slot."""
        return sum(pixels.nbytes for pixels, _ in self._placed)

    @property
    def tensors(self) -> int:
        """Tensors that will be sent."""
        return sum(pixels.tensors for pixels, _ in self._placed)

    def place(self, slot: Slot) -> Iterator[None]:
        """Copies the pictures into `slot`, pausing now and then. Raises BadPicture."""
        offset = slot.offset
        for pixels, parts in self._placed:
            for part, at in zip(parts, pixels.offsets(offset)):
                part.tensor = _describe(pixels, slot.arena, at)
            yield from pixels.write(slot.memory, offset)
            offset += pixels.nbytes

    def _add_turn(self, turn: object, name: str) -> None:
        if not isinstance(turn, Mapping) or set(turn) != {"role", "content"}:
            raise errors.BadRequest(f"{name} is not {{'role': …, 'content': …}}.")
        role, content = turn["role"], turn["content"]
        if role not in _ROLES:
            raise errors.BadRequest(f"{name} has the role {role!r}: use {', '.join(_ROLES)}.")
        if isinstance(content, str) or is_tensor(content):
            content = [content]
        if not isinstance(content, Sequence):
            raise errors.BadRequest(f"{name}: content is neither a text nor a list of parts.")
        parts: list[messages.ContentPart] = []
        for index, value in enumerate(content):
            parts += self._parts(value, f"{name}.content[{index}]")
        self.messages.append(messages.ChatMessage(role=role, content=parts))

    def _parts(self, value: object, name: str) -> list[messages.ContentPart]:
        if isinstance(value, str):
            return [messages.ContentPart(kind="text", text=_checked_text(value, name))]
        if is_tensor(value):
            pixels = Pixels(value, name)
            parts = [messages.ContentPart(kind="image") for _ in range(pixels.tensors)]
            self._placed.append((pixels, parts))
            return parts
        if isinstance(value, Mapping) and "video" in value and set(value) <= {"video", "fps"}:
            return self._video(value, name)
        raise errors.BadRequest(
            f"{name} is a {type(value).__name__}.",
            'Use texts, pictures (torch tensors, numpy arrays) and {"video": tensor, "fps": n}.',
        )

    def _video(self, value: Mapping[Any, Any], name: str) -> list[messages.ContentPart]:
        if not is_tensor(value["video"]):
            raise errors.BadRequest(f"{name}: video is no torch tensor or numpy array.")
        part = messages.ContentPart(kind="video", fps=float(value.get("fps") or 0.0))
        self._placed.append((Pixels(value["video"], f"{name}.video", is_video=True), [part]))
        return [part]


def _describe(pixels: Pixels, arena: int, offset: int) -> messages.Tensor:
    return messages.Tensor(
        arena=arena,
        offset=offset,
        nbytes=pixels.tensor_bytes,
        dtype="u8",
        shape=pixels.tensor_shape,
        layout="FHWC" if pixels.is_video else "HWC",
        range="u8",
    )


def _checked_text(text: str, name: str) -> str:
    try:
        nbytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise errors.BadRequest(f"{name} is not valid Unicode: {error.reason}.") from error
    if nbytes > MAX_TEXT_BYTES:
        raise errors.BadRequest(f"{name} has {nbytes} bytes: at most {MAX_TEXT_BYTES}.")
    return text


def checked_sampling(given: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling parameters as plain numbers. Raises BadRequest for unknown names and bad values."""
    unknown = [name for name in given if name not in SAMPLING]
    if unknown:
        raise errors.BadRequest(
            f"There is no sampling parameter {', '.join(unknown)}.",
            f"There are {', '.join(SAMPLING)}.",
        )
    return {name: _checked_value(name, value) for name, value in given.items()}


def _checked_value(name: str, value: Any) -> Any:
    if name == "stop":
        return [value] if isinstance(value, str) else [str(item) for item in value]
    declared = messages.widget("generate", name)
    kind = type(declared["default"])
    try:
        number = operator.index(value) if kind is int else kind(value)
    except (TypeError, ValueError) as error:
        raise errors.BadRequest(f"{name} is {value!r}, which is no {kind.__name__}.") from error
    if kind is not bool and not declared["min"] <= number <= declared["max"]:
        raise errors.BadRequest(
            f"{name} is {number}: it runs from {declared['min']} to {declared['max']}."
        )
    return number
