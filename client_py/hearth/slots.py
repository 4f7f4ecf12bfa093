"""The `in` arenas: shared memory that the service granted and this side allocates.

Arenas never change size; growth is another one. A slot is a range of one arena, taken for one
request and given back when the service has read it. An arena without slots can be given back to the
service: no request uses it, and it is no longer allocated from. Thread rule: the connection's.
"""

from __future__ import annotations

import mmap
import os
import time
from types import TracebackType

RESERVED_BYTES = 4096  # at the start of every arena
ALIGNMENT = 64
SIZES = (64 << 20, 256 << 20, 1 << 30)
IDLE_S = 60.0  # then an arena without slots goes back to the service
_PAGE_BYTES = 4096
_POPULATE_BYTES = 256 << 20  # larger arenas are faulted in as they are used
_MAP_POPULATE = getattr(mmap, "MAP_POPULATE", 0x8000)  # named by Python 3.10 and later


def aligned(nbytes: int) -> int:
    """The next multiple of ALIGNMENT: where another tensor may begin."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def arena_bytes_for(nbytes: int) -> int:
    """The size of arena to ask for when `nbytes` find no room."""
    needed = aligned(nbytes) + RESERVED_BYTES
    exact = -(-needed // _PAGE_BYTES) * _PAGE_BYTES
    return next((size for size in SIZES if needed <= size), exact)


class FreeList:
    """Free ranges of one arena, in order and never adjacent: first fit, neighbours coalesce."""

    def __init__(self, begin: int, end: int) -> None:
        self._ranges = [(begin, end)]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """What is free, as (begin, end) in bytes from the arena's start."""
        return tuple(self._ranges)

    def take(self, nbytes: int) -> int | None:
        """The start of `nbytes`, or None when no range is large enough."""
        for index, (begin, end) in enumerate(self._ranges):
            if end - begin >= nbytes:
                rest = [(begin + nbytes, end)] if begin + nbytes < end else []
                self._ranges[index : index + 1] = rest
                return begin
        return None

    def give_back(self, begin: int, nbytes: int) -> None:
        """Makes a range free again that take() returned."""
        end = begin + nbytes
        index = 0
        while index < len(self._ranges) and self._ranges[index][0] < begin:
            index += 1
        first = last = index
        if index > 0 and self._ranges[index - 1][1] == begin:
            first, begin = index - 1, self._ranges[index - 1][0]
        if index < len(self._ranges) and self._ranges[index][0] == end:
            last, end = index + 1, self._ranges[index][1]
        self._ranges[first:last] = [(begin, end)]


class Arena:
    """One mapped arena. Its memory lives as long as anything refers to it: never closed by hand,
    because torch.frombuffer() would go on using the address."""

    def __init__(self, arena: int, memory: mmap.mmap) -> None:
        self.arena = arena
        self.memory = memory
        self.free = FreeList(RESERVED_BYTES, len(memory) // ALIGNMENT * ALIGNMENT)
        self._whole = self.free.ranges
        self._used_at = time.monotonic()

    @property
    def idle_s(self) -> float:
        """For how long it has had no slots; negative: it has some."""
        return time.monotonic() - self._used_at if self.free.ranges == self._whole else -1.0

    def give_back(self, offset: int, nbytes: int) -> None:
        """A slot of this arena has ended."""
        self.free.give_back(offset, nbytes)
        self._used_at = time.monotonic()

    @classmethod
    def map(cls, arena: int, nbytes: int, fd: int) -> Arena:
        """Maps a granted descriptor and closes it: the mapping keeps the memory."""
        try:
            flags = mmap.MAP_SHARED | (_MAP_POPULATE if nbytes <= _POPULATE_BYTES else 0)
            return cls(arena, mmap.mmap(fd, nbytes, flags, mmap.PROT_READ | mmap.PROT_WRITE))
        finally:
            os.close(fd)


class Slot:
    """`nbytes` of an arena from `offset` on, ours to write until released. Also a context."""

    __slots__ = ("arena", "memory", "offset", "nbytes", "_taken_from")

    def __init__(self, arena: Arena, offset: int, nbytes: int) -> None:
        self.arena = arena.arena
        self.memory = arena.memory
        self.offset = offset
        self.nbytes = nbytes
        self._taken_from: Arena | None = arena

    def release(self) -> None:
        """Gives the range back; again and again does no harm."""
        arena, self._taken_from = self._taken_from, None
        if arena is not None:
            arena.give_back(self.offset, self.nbytes)

    def __enter__(self) -> Slot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Arenas:
    """All arenas of one connection."""

    def __init__(self) -> None:
        self._arenas: list[Arena] = []

    def add(self, arena: Arena) -> None:
        """Use this one, too."""
        self._arenas.append(arena)

    def take_idle(self) -> list[int]:
        """Forgets the arenas without slots for IDLE_S and returns their ids, for the service to
        have back. The first of the smallest size stays: it is what most pictures need."""
        small = next((one for one in self._arenas if len(one.memory) <= SIZES[0]), None)
        return self._take([a for a in self._arenas if a is not small and a.idle_s >= IDLE_S])

    def take_free(self) -> list[int]:
        """As take_idle(), but all that have no slots, when memory is short."""
        return self._take([arena for arena in self._arenas if arena.idle_s >= 0])

    def _take(self, arenas: list[Arena]) -> list[int]:
        self._arenas = [arena for arena in self._arenas if arena not in arenas]
        return [arena.arena for arena in arenas]

    def allocate(self, nbytes: int) -> Slot | None:
        """A slot of at least `nbytes` > 0, or None: then another arena is needed."""
        size = aligned(nbytes)
        for arena in self._arenas:
            offset = arena.free.take(size)
            if offset is not None:
                return Slot(arena, offset, size)
        return None
