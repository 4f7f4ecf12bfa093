"""What callers write, checked and turned into the contract's terms: chats and sampling."""

from __future__ import annotations

import operator
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from . import content, errors, messages
from .held import Held
from .media import medium_of
from .slots import Slot
from .tensors import Pixels, is_tensor
from .wire import MAX_TEXT_BYTES

_NO_OPTIONS = ("model", "messages", "layers", "key", "result_key")
_KINDS: dict[str, type[messages.Struct]] = {
    "generate": messages.Generate,
    "encode": messages.Encode,
    "count_tokens": messages.CountTokens,
}
_ROLES = ("system", "user", "assistant")


class Chat:
    """A checked chat. Its pictures wait to be placed in shared memory, as often as it is sent.

    held: pictures that may be there already
    """

    def __init__(self, turns: object) -> None:
        """`turns` as Client.generate takes them. Raises BadRequest, BadPicture, naming the part."""
        self.messages: list[messages.ChatMessage] = []
        self.held: list[Held] = []
        self.names: list[bytes] = []  # of all pictures, once placed() was asked for them
        self._held_parts: list[list[messages.ContentPart]] = []
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
        """Room that all pictures need in one slot, but the held ones."""
        return sum(pixels.nbytes for pixels, _ in self._placed)

    @property
    def tensors(self) -> int:
        """Tensors that will be sent."""
        fresh = sum(pixels.tensors for pixels, _ in self._placed)
        return fresh + sum(held.pixels.tensors for held in self.held)

    def place(self, slot: Slot) -> Iterator[None]:
        """Copies the pictures into `slot`, pausing now and then. Raises BadPicture."""
        offset = slot.offset
        for pixels, parts in self._placed:
            _describe(pixels, parts, slot.arena, offset)
            yield from pixels.write(slot.memory, offset)
            offset += pixels.nbytes

    def outline(self) -> None:
        """Says how large the pictures are, in tensors that lie nowhere: for count_tokens."""
        held = zip((held.pixels for held in self.held), self._held_parts)
        for pixels, parts in [*held, *self._placed]:
            _describe(pixels, parts, 0, 0)
            for part in parts:
                assert part.tensor is not None
                part.tensor.offset = part.tensor.nbytes = 0

    def place_held(self, index: int, slot: Slot) -> None:
        """The held picture of this index lies in `slot`."""
        _describe(self.held[index].pixels, self._held_parts[index], slot.arena, slot.offset)

    def naming(self, slot: Slot | None) -> Generator[None, None, list[bytes]]:
        """Names of all pictures by their content, in the order of their parts; `slot` is where
        place() put those that are not held. Pauses now and then."""
        sources = [(held.key, parts) for held, parts in zip(self.held, self._held_parts)]
        if slot is not None:
            offset = slot.offset
            for pixels, parts in self._placed:
                sources.append(((yield from content.naming(pixels, slot.memory, offset)), parts))
                offset += pixels.nbytes
        names = {
            id(part): name + index.to_bytes(4, "little")
            for name, parts in sources
            for index, part in enumerate(parts)
        }
        in_order = (part for turn in self.messages for part in turn.content)
        return [names[id(part)] for part in in_order if id(part) in names]

    def _add_turn(self, turn: object, name: str) -> None:
        if not isinstance(turn, Mapping) or set(turn) != {"role", "content"}:
            raise errors.BadRequest(f"{name} is not {{'role': …, 'content': …}}.")
        role, content = turn["role"], turn["content"]
        if role not in _ROLES:
            raise errors.BadRequest(f"{name} has the role {role!r}: use {', '.join(_ROLES)}.")
        if isinstance(content, (str, Held)) or is_tensor(content):
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
        if isinstance(value, Held):
            if value.is_closed:
                raise errors.BadRequest(f"{name} was closed.", "Put the picture again.")
            parts = value.medium.parts()
            self.held.append(value)
            self._held_parts.append(parts)
            return parts
        medium = medium_of(value, name)
        parts = medium.parts()
        self._placed.append((medium.pixels, parts))
        return parts


def _describe(
    pixels: Pixels, parts: Sequence[messages.ContentPart], arena: int, offset: int
) -> None:
    """Says in `parts` where the tensors lie that were written to `offset`."""
    for part, begin in zip(parts, pixels.offsets(offset)):
        part.tensor = messages.Tensor(
            arena=arena,
            offset=begin,
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


def checked_options(message: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `generate`, `encode` or `count_tokens` as plain values. Raises BadRequest for
    unknown names and bad values."""
    kind = _KINDS[message]
    known = [name for name in kind.__slots__ if name not in _NO_OPTIONS]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise errors.BadRequest(
            f"There is no parameter {', '.join(unknown)} of {message}.",
            f"There are {', '.join(known)}.",
        )
    return {name: _checked_value(message, name, value) for name, value in given.items()}


def _checked_value(message: str, name: str, value: Any) -> Any:
    if name == "stop":
        return [value] if isinstance(value, str) else [str(item) for item in value]
    declared = messages.widget(message, name)
    if "choices" in declared:
        if value not in declared["choices"]:
            choices = ", ".join(declared["choices"])
            raise errors.BadRequest(f"{name} is {value!r}: use one of {choices}.")
        return value
    kind = type(declared["default"])
    if kind is str:
        if not isinstance(value, str):
            raise errors.BadRequest(f"{name} is a {type(value).__name__}: use a text.")
        return _checked_text(value, name)
    try:
        number = operator.index(value) if kind is int else kind(value)
    except (TypeError, ValueError) as error:
        raise errors.BadRequest(f"{name} is {value!r}, which is no {kind.__name__}.") from error
    if kind is not bool and not declared["min"] <= number <= declared["max"]:
        raise errors.BadRequest(
            f"{name} is {number}: it runs from {declared['min']} to {declared['max']}."
        )
    return number
