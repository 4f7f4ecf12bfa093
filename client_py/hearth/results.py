"""Results in shared memory: the `out` arenas that the service lends, and the tensors made of them.

By default a result is copied into private memory and its slot is released at once. A view without
a copy releases its slot when the last tensor that shares its memory is gone. That may happen in any
thread and at any moment, also inside our own code, so a finalizer only notes it; the connection
sends the notes with its next frame. Thread rule: the connection's, but for finalizers.

An arena is mapped copy-on-write: an in-place operation changes this process's pages only. It is
never unmapped by hand, so views stay readable after the service or the client is gone.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import errors, messages
from .wire import BrokenFrame, close_all, packed_integers

RELEASE_SLOTS = 4096  # in one message
_PAGE_BYTES = mmap.PAGESIZE
_ITEM_BYTES = {
    "u8": 1, "i8": 1, "bool": 1, "f8e4m3": 1, "f8e5m2": 1, "i16": 2, "f16": 2, "bf16": 2,
    "i32": 4, "f32": 4, "i64": 8, "f64": 8,
}  # fmt: skip
_TORCH = {
    "u8": "uint8", "i8": "int8", "bool": "bool", "i16": "int16", "i32": "int32", "i64": "int64",
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "f8e4m3": "float8_e4m3fn", "f8e5m2": "float8_e5m2",
}  # fmt: skip


class Encoded(NamedTuple):
    """Hidden states [tokens, hidden]: one tensor for one layer, a list for a sequence of layers.

    torch tensors where torch is installed, else numpy arrays (bf16 becomes float32 there).
    """

    hidden: Any
    prompt_token_ids: list[int]
    receipt: messages.Receipt
    warnings: list[str]


class OutArena:
    """One arena of results, mapped twice, because a page that was written through a view is this
    process's own from then on and no longer shows what the service writes there: copies are read
    from a mapping that nobody ever writes."""

    def __init__(self, fd: int, nbytes: int) -> None:
        self.nbytes = nbytes
        self._copies = mmap.mmap(fd, nbytes, access=mmap.ACCESS_COPY)
        self._views = mmap.mmap(fd, nbytes, access=mmap.ACCESS_COPY)

    def to_copy(self, tensor: messages.Tensor) -> Any:
        """The tensor's bytes, to be read before its slot is released."""
        return _buffer(self._copies, tensor)

    def to_keep(self, tensor: messages.Tensor) -> Any:
        """A writable buffer; what is made of it keeps this very object alive."""
        if hasattr(mmap, "MADV_DONTNEED"):  # forgets what an earlier view wrote into these pages
            self._views.madvise(mmap.MADV_DONTNEED, tensor.offset, tensor.nbytes)
        return _buffer(self._views, tensor)


def _buffer(memory: mmap.mmap, tensor: messages.Tensor) -> Any:
    # A memoryview would not do for to_keep(): numpy takes the memory out of it and lets it go.
    import ctypes

    return (ctypes.c_char * tensor.nbytes).from_buffer(memory, tensor.offset)


class Results:
    """All out arenas of one connection, and the slots that nobody needs any more."""

    def __init__(self) -> None:
        self._arenas: dict[int, OutArena] = {}
        self._released: deque[tuple[int, int]] = deque()  # arena, offset; any thread appends

    def add(self, lent: messages.OutArena, fds: list[int]) -> None:
        """Maps what out_arena brought and closes its descriptor. Raises BrokenFrame."""
        try:
            if len(fds) != 1 or os.fstat(fds[0]).st_size != lent.nbytes:
                raise BrokenFrame(f"out_arena {lent.arena} came with another memory than it says")
            self._arenas[lent.arena] = OutArena(fds[0], lent.nbytes)
        except (OSError, ValueError, OverflowError) as error:
            raise BrokenFrame(f"out_arena {lent.arena} cannot be mapped: {error}") from error
        finally:
            close_all(fds)

    def forget(self, arena: int) -> None:
        """No reply names it any more. Its memory stays while there are views of it."""
        self._arenas.pop(arena, None)

    def discard(self, tensors: Sequence[messages.Tensor]) -> None:
        """Nobody wants these."""
        self._released.extend((tensor.arena, tensor.offset) for tensor in tensors)

    def take_released(self) -> list[messages.Slot]:
        """Slots to be named in one release message, empty when there are none."""
        slots: list[messages.Slot] = []
        while self._released and len(slots) < RELEASE_SLOTS:
            arena, offset = self._released.popleft()  # only the connection's owner takes
            if arena in self._arenas:
                slots.append(messages.Slot(arena=arena, offset=offset))
        return slots

    def encoded(self, reply: messages.Encoded, layers: int | None, copy: bool) -> Encoded:
        """What the caller gets. layers: how many it asked for, None for a single one."""
        waiting = list(reply.tensors)
        try:
            if len(waiting) != (layers or 1):
                raise errors.Internal(f"{len(waiting)} tensors came for {layers or 1} layers.")
            hidden = []
            while waiting:
                hidden.append(self._tensor(waiting[0], copy))
                waiting.pop(0)
        finally:
            self.discard(waiting)
        return Encoded(
            hidden[0] if layers is None else hidden,
            packed_integers(reply.prompt_token_ids),
            reply.receipt,
            reply.warnings,
        )

    def _tensor(self, tensor: messages.Tensor, copy: bool) -> Any:
        arena = self._arenas.get(tensor.arena)
        _check(tensor, arena)
        assert arena is not None
        is_kept = not copy and tensor.nbytes > 0 and tensor.offset % _PAGE_BYTES == 0
        if not is_kept:
            made = _copied(tensor, arena.to_copy(tensor) if tensor.nbytes else None)
            self.discard([tensor])
            return made
        buffer = arena.to_keep(tensor)
        made = _view(tensor, buffer)
        # Only the deque is referred to: neither the connection nor its client lives on for it.
        note = weakref.finalize(buffer, self._released.append, (tensor.arena, tensor.offset))
        note.atexit = False
        return made


def _check(tensor: messages.Tensor, arena: OutArena | None) -> None:
    """A defect of the service must not become a crash of this process."""
    size = _ITEM_BYTES.get(tensor.dtype, 0)
    if (
        arena is None
        or not size
        or min(tensor.shape, default=0) < 0
        or math.prod(tensor.shape) * size != tensor.nbytes
        or not 0 <= tensor.offset <= arena.nbytes - tensor.nbytes
        or tensor.offset % size
    ):
        raise errors.Internal(f"The service described a result that cannot be: {tensor}.")


def _torch() -> Any:
    """torch, or None where it is not installed."""
    try:
        return sys.modules.get("torch") or __import__("torch")
    except ImportError:
        return None


def _view(tensor: messages.Tensor, buffer: Any) -> Any:
    """A torch tensor or numpy array over `buffer`, which it keeps alive."""
    torch = _torch()
    if torch is not None:
        dtype = getattr(torch, _TORCH[tensor.dtype])
        return torch.frombuffer(buffer, dtype=dtype).view(tensor.shape)
    import numpy

    if tensor.dtype in ("bf16", "f8e4m3", "f8e5m2"):
        return _widened(tensor, numpy.frombuffer(buffer, f"u{_ITEM_BYTES[tensor.dtype]}"))
    return numpy.frombuffer(buffer, _TORCH[tensor.dtype]).reshape(tensor.shape)


def _widened(tensor: messages.Tensor, bits: Any) -> Any:
    """bf16 as float32, which holds the same values: numpy has no such type."""
    import numpy

    if tensor.dtype != "bf16":
        raise errors.Unsupported(f"numpy has no {tensor.dtype}.", "Install torch.")
    return (bits.astype("u4") << numpy.uint32(16)).view("f4").reshape(tensor.shape)


def _copied(tensor: messages.Tensor, buffer: Any) -> Any:
    """As _view(), in memory of its own."""
    torch = _torch()
    if torch is not None:
        made = torch.empty(tensor.shape, dtype=getattr(torch, _TORCH[tensor.dtype]))
        return made if buffer is None else made.copy_(_view(tensor, buffer))
    import numpy

    if buffer is None:
        return numpy.empty(tensor.shape, "f4" if tensor.dtype == "bf16" else _TORCH[tensor.dtype])
    return numpy.array(_view(tensor, buffer))
