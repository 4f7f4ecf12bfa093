"""Frames, descriptors and the states of requests. Bytes in, messages out; no socket is used here.

The one module that knows msgpack. A frame is 16 bytes of header (shm/frame.h) and a msgpack map.
Thread rule: whoever owns the connection owns these objects.
"""

from __future__ import annotations

import array
import os
import struct
from collections import deque
from collections.abc import Iterable
from typing import Callable, NamedTuple, Protocol

import msgpack

from . import errors, messages
from .messages import Struct

MAGIC = 0x31545248  # "HRT1"
HEADER = struct.Struct("<IIIBBH")  # magic, body_len, request_id, type, flags, n_fds
MAX_GREETING_BYTES = 4 * 1024  # of a body before welcome
MAX_FRAME_BYTES = 1024 * 1024  # of a body after it
MAX_FRAME_FDS = 240
MAX_TEXT_BYTES = 256 * 1024  # of a text that the contract does not allow more
_GREETING = 0  # the exchange of hello and welcome; requests count from 1


class BrokenFrame(Exception):
    """What arrived is no frame of ours, so where the next one begins is unknown."""


class Frame(NamedTuple):
    """One message as it travels. Whoever holds it owns `fds`."""

    type: int
    request_id: int
    body: bytes
    fds: list[int]


def encode(message: Struct, request_id: int = 0, n_fds: int = 0) -> bytes:
    """Header and body of one message.

    Raises BadRequest when it cannot be written or is larger than a frame may be.
    """
    try:
        body: bytes = msgpack.packb(message.to_fields())
    except (TypeError, ValueError, OverflowError) as error:
        raise errors.BadRequest(f"{message.NAME} cannot be sent: {error}.") from error
    if len(body) > MAX_FRAME_BYTES:
        raise errors.BadRequest(
            f"{message.NAME} has {len(body)} bytes: a message holds at most {MAX_FRAME_BYTES}.",
            "Shorten the text.",
        )
    return HEADER.pack(MAGIC, len(body), request_id, message.TYPE, 0, n_fds) + body


def decode(frame: Frame) -> Struct | None:
    """The message in a frame, or None for a type that only newer services know.

    Raises BrokenFrame for a body that is not what its type says.
    """
    kind = messages.BY_TYPE.get(frame.type)
    if kind is None:
        return None
    try:
        # Without limits a few bytes may ask for gigabytes.
        fields = msgpack.unpackb(
            frame.body,
            max_str_len=max(MAX_TEXT_BYTES, messages.LONGEST_TEXTS.get(frame.type, 0)),
            max_bin_len=512 * 1024,
            max_array_len=4096,
            max_map_len=256,
            max_ext_len=0,
        )
        return kind.from_fields(fields)
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise BrokenFrame(f"{kind.NAME}: {error}") from error


def packed_integers(packed: bytes) -> list[int]:
    """Token ids and their times as they travel: i32 little endian."""
    return list(struct.unpack(f"<{len(packed) // 4}i", packed))


def close_all(fds: Iterable[int]) -> None:
    """Closes descriptors that nobody took."""
    for fd in fds:
        os.close(fd)


def received_fds(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what recvmsg returned beside the bytes."""
    fds = array.array("i")
    for _, _, packed in ancillary:
        fds.frombytes(packed[: len(packed) - len(packed) % fds.itemsize])
    return fds.tolist()


class FrameReader:
    """Cuts a stream of bytes into frames.

    The kernel ends a read after the bytes that descriptors came with, and those bytes begin with
    the header of their frame. So the descriptors at hand belong to the last frame of what was read,
    and any number of bytes may be read at once.
    """

    def __init__(self, max_body_bytes: int = MAX_GREETING_BYTES) -> None:
        self.max_body_bytes = max_body_bytes
        self._data = b""
        self._at = 0  # what lies before it was taken
        self._fds: list[int] = []
        self._header: tuple[int, int, int, int] | None = None  # body_len, request_id, type, n_fds

    @property
    def wanted(self) -> int:
        """How many bytes are missing of the header or body that comes next."""
        size = HEADER.size if self._header is None else self._header[0]
        return max(0, size - (len(self._data) - self._at))

    def feed(self, data: bytes, fds: list[int]) -> Frame | None:
        """Takes bytes and returns the first frame that is whole; next() has the others. Owns
        `fds`."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        if fds:
            self._fds += fds
        return self.next()

    def next(self) -> Frame | None:
        """Another frame that is whole already, or None."""
        have = len(self._data) - self._at
        if self._header is None:
            if have < HEADER.size:
                return None
            self._header = self._read_header()
            self._at += HEADER.size
            have -= HEADER.size
        body_len, request_id, kind, n_fds = self._header
        if have < body_len:
            return None
        if n_fds != len(self._fds) and have == body_len:
            raise BrokenFrame(f"{n_fds} descriptors announced, {len(self._fds)} received")
        begin, self._at = self._at, self._at + body_len
        fds: list[int] = []
        if n_fds:
            fds, self._fds = self._fds[:n_fds], self._fds[n_fds:]  # more: those of the next frame
        self._header = None
        return Frame(kind, request_id, self._data[begin : self._at], fds)

    def _read_header(self) -> tuple[int, int, int, int]:
        header = HEADER.unpack_from(self._data, self._at)
        magic, body_len, request_id, kind, flags, n_fds = header
        if magic != MAGIC or flags:
            raise BrokenFrame(f"a frame cannot begin with {HEADER.pack(*header).hex()}")
        if body_len > self.max_body_bytes:
            raise BrokenFrame(f"a body of {body_len} bytes: at most {self.max_body_bytes}")
        if n_fds and n_fds != len(self._fds):
            raise BrokenFrame(f"{n_fds} descriptors announced, {len(self._fds)} received")
        return body_len, request_id, kind, n_fds

    def discard(self) -> None:
        """Closes the descriptors of a frame that will never be whole."""
        close_all(self._fds)
        self._fds, self._data, self._at, self._header = [], b"", 0, None


class Releasable(Protocol):
    """Memory that a request holds."""

    def release(self) -> None: ...


def _nothing() -> None:
    pass


class Exchange:
    """One open request: what came for it so far, and how it ended.

    `slot` is the shared memory that its tensors lie in. It is free again when the service has read
    them or the request has ended, never earlier, even if nobody waits for the answer any more.
    """

    __slots__ = ("request_id", "events", "outcome", "fds", "slot", "abandoned", "on_change")

    def __init__(self, request_id: int) -> None:
        self.request_id = request_id
        self.events: deque[Struct] = deque()
        self.outcome: Struct | errors.HearthError | None = None
        self.fds: list[int] = []
        self.slot: Releasable | None = None
        self.abandoned = False
        self.on_change: Callable[[], None] = _nothing

    @property
    def ready(self) -> bool:
        """Whether there is something to take: an event or the end."""
        return bool(self.events) or self.outcome is not None

    def result(self) -> Struct:
        """The reply. Raises the error that the request ended with."""
        assert self.outcome is not None
        if isinstance(self.outcome, errors.HearthError):
            raise self.outcome
        return self.outcome

    def take_fds(self) -> list[int]:
        """The reply's descriptors; the caller owns them from now on."""
        fds, self.fds = self.fds, []
        return fds

    def add(self, event: Struct) -> None:
        """An event arrived."""
        if isinstance(event, messages.InputsDone):
            self._release()
        if not self.abandoned:
            self.events.append(event)
            self.on_change()

    def end(self, outcome: Struct | errors.HearthError, fds: list[int]) -> None:
        """The terminal frame arrived, or never will."""
        self._release()
        self.outcome, self.fds = outcome, fds
        if self.abandoned:
            close_all(self.take_fds())
        self.on_change()

    def _release(self) -> None:
        if self.slot is not None:
            self.slot.release()
            self.slot = None


class Exchanges:
    """All open requests of one connection, by id. Each ends exactly once; later frames are void."""

    def __init__(self) -> None:
        self._open: dict[int, Exchange] = {}
        self._last_id = _GREETING
        self.on_end: Callable[[], None] = _nothing  # one fewer is open

    def __len__(self) -> int:
        return len(self._open)

    def greet(self) -> Exchange:
        """The exchange that welcome ends."""
        return self._add(_GREETING)

    def begin(self) -> Exchange:
        """A request with an id of its own. Ids count up and are never used again."""
        self._last_id += 1
        return self._add(self._last_id)

    def forget(self, exchange: Exchange) -> None:
        """The request was never sent."""
        del self._open[exchange.request_id]

    def _add(self, request_id: int) -> Exchange:
        exchange = Exchange(request_id)
        self._open[request_id] = exchange
        return exchange

    def deliver(self, frame: Frame, message: Struct) -> bool:
        """Gives a message to the request it belongs to; what belongs to none is dropped. Returns
        whether somebody waits for it."""
        exchange = self._open.get(frame.request_id)
        if exchange is None:
            close_all(frame.fds)
        elif message.KIND == "event":
            close_all(frame.fds)
            exchange.add(message)
        else:
            del self._open[frame.request_id]
            ended = errors.from_reply(message) if isinstance(message, messages.Error) else message
            exchange.end(ended, frame.fds)
            self.on_end()
        return exchange is not None and not exchange.abandoned

    def fail(self, error: errors.HearthError) -> None:
        """Ends all: the connection is gone."""
        ended, self._open = self._open, {}
        for exchange in ended.values():
            exchange.end(error, [])
        self.on_end()
