"""The `in` arenas: shared memory that the service granted and this side allocates.

Arenas never change size; growth is another one. A slot is a range of one arena, taken for one
request and given back when the service has read it. An arena without slots can be given back to the
service: no request uses it, and it is no longer allocated from. Thread rule: the connection's, but
Arenas.trim() may be called from any thread, for which a lock guards the lists.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import threading
import time
from types import TracebackType

RESERVED_BYTES = 4096  # at the start of every arena
ALIGNMENT = 64
SIZES = (64 << 20, 256 << 20, 1 << 30)
IDLE_S = 60.0  # then an arena without slots goes back to the service
KEPT_BYTES = (8 << 20) - (64 << 10)  # of the first arena stay when idle, of others a page each
_PAGE_BYTES = 4096
_POPULATE_BYTES = 2 << 20  # faulted in at a time, at least
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14; Python has no name for it
_REMOVE = getattr(mmap, "MADV_REMOVE", None)
_STRETCH_BYTES = 16 << 20  # madvise holds the GIL: 16 MiB take about a millisecond


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

    def take_range(self, begin: int, end: int) -> None:
        """Takes a part of one free range."""
        index = next(i for i, (_, last) in enumerate(self._ranges) if begin < last)
        first, last = self._ranges[index]
        assert first <= begin < end <= last
        rest = [(first, begin), (end, last)]
        self._ranges[index : index + 1] = [(b, e) for b, e in rest if b < e]

    def give_back(self, begin: int, nbytes: int) -> None:
        """Makes a range free again that was taken."""
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
        self.used_at = time.monotonic()  # when a slot was last taken or given back
        self.is_trimmed = False  # since then
        self.lock = threading.RLock()
        self._whole = self.free.ranges
        self._populated = 0  # bytes from the start: their pages are in our page table

    @property
    def idle_s(self) -> float:
        """For how long it has had no slots; negative: it has some."""
        return time.monotonic() - self.used_at if self.free.ranges == self._whole else -1.0

    def take(self, nbytes: int) -> int | None:
        """As FreeList.take(). Faults the pages in at one go, which is twice as fast as one by one;
        all pages of the arena at once would cost the first small picture 2 ms."""
        with self.lock:
            offset = self.free.take(nbytes)
            if offset is None:
                return None
            self.used_at, self.is_trimmed = time.monotonic(), False
            begin, end = self._populated, -(-(offset + nbytes) // _POPULATE_BYTES) * _POPULATE_BYTES
            end = self._populated = max(begin, min(end, len(self.memory)))
        with contextlib.suppress(OSError):  # an old kernel; or no memory, which writing will tell
            for at in range(begin, end, _STRETCH_BYTES):
                self.memory.madvise(_POPULATE_WRITE, at, min(_STRETCH_BYTES, end - at))
        return offset

    def give_back(self, offset: int, nbytes: int) -> None:
        """A slot of this arena has ended."""
        with self.lock:
            self.free.give_back(offset, nbytes)
            self.used_at, self.is_trimmed = time.monotonic(), False

    def trim(self, kept_bytes: int) -> None:
        """Returns the memory of free ranges beyond the first `kept_bytes` to the system. They stay
        usable, as zeros. Taken meanwhile, for whoever allocates must not get them."""
        with self.lock:
            if self.is_trimmed or _REMOVE is None:
                return
            inner = [
                (
                    -(-max(b, kept_bytes) // _PAGE_BYTES) * _PAGE_BYTES,
                    e // _PAGE_BYTES * _PAGE_BYTES,
                )
                for b, e in self.free.ranges
            ]
            taken = [(begin, end) for begin, end in inner if begin < end]
            for begin, end in taken:
                self.free.take_range(begin, end)
            self.is_trimmed = True
            self._populated = min(self._populated, kept_bytes)
        for begin, end in taken:
            with contextlib.suppress(OSError):
                for at in range(begin, end, _STRETCH_BYTES):
                    self.memory.madvise(_REMOVE, at, min(_STRETCH_BYTES, end - at))
            with self.lock:
                self.free.give_back(begin, end - begin)

    @classmethod
    def map(cls, arena: int, nbytes: int, fd: int) -> Arena:
        """Maps a granted descriptor and closes it: the mapping keeps the memory."""
        try:
            return cls(arena, mmap.mmap(fd, nbytes))
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

    def __bool__(self) -> bool:
        return bool(self._arenas)

    def add(self, arena: Arena) -> None:
        """Use this one, too."""
        self._arenas = [*self._arenas, arena]  # a new list: trim() may be reading the old one

    def renew_locks(self) -> None:
        """In a forked child: a thread that is not here may have held one."""
        for arena in self._arenas:
            arena.lock = threading.RLock()

    def trim(self, quiet_s: float = IDLE_S) -> float:
        """When no slot was taken or given back for `quiet_s`, returns the memory of what is free to
        the system, but KEPT_BYTES. Returns after how many seconds there may be more to do, infinity
        when there is nothing. From any thread."""
        arenas = self._arenas
        if all(arena.is_trimmed for arena in arenas):
            return math.inf
        left_s = max(arena.used_at for arena in arenas) + quiet_s - time.monotonic()
        if left_s > 0:
            return left_s
        small = _first_small(arenas)
        for arena in arenas:
            arena.trim(KEPT_BYTES if arena is small else RESERVED_BYTES)
        return math.inf

    def take_idle(self, idle_s: float = IDLE_S) -> list[int]:
        """Forgets the arenas without slots for `idle_s` and returns their ids, for the service to
        have back. The first of the smallest size stays: it is what most pictures need."""
        small = _first_small(self._arenas)
        return self._take([a for a in self._arenas if a is not small and a.idle_s >= idle_s])

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
            offset = arena.take(size)
            if offset is not None:
                return Slot(arena, offset, size)
        return None


def _first_small(arenas: list[Arena]) -> Arena | None:
    return next((one for one in arenas if len(one.memory) <= SIZES[0]), None)
