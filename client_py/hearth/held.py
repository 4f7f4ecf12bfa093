"""Pictures that stay in shared memory, so that later requests send their address only.

A held picture is named by its content: whoever puts an equal one on the same connection shares its
slot. Thread rule: the connection's, but close() and finalizers, which may run anywhere and only
leave a note.
"""

from __future__ import annotations

import weakref
from collections import deque

from . import content, errors
from .media import Medium
from .slots import Slot
from .wire import Releasable


class Held:
    """A picture, batch or video that was put. Usable in messages wherever a picture is, on every
    client of this process: a connection that does not have it gets it from the source, which must
    not change meanwhile. Its memory is free when it is closed, or forgotten, and no request reads
    it any more.
    """

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.pixels = medium.pixels
        self.key = b""  # of its content, known when it was first written
        self.is_closed = False
        self._places: weakref.WeakKeyDictionary[HeldSlots, weakref.finalize[..., Held]] = (
            weakref.WeakKeyDictionary()
        )

    def close(self) -> None:
        """Not needed any more. Again and again does no harm."""
        self.is_closed = True
        for leave in list(self._places.values()):
            leave()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _HeldSlot:
    """One content's slot, and who needs it."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.holders = 0  # Held objects
        self.uses = 0  # requests that are open

    def release_if_unused(self) -> None:
        if self.holders == 0 and self.uses == 0:
            self.slot.release()


class Use:
    """What keeps a held slot in place while a request is open."""

    def __init__(self, held: _HeldSlot) -> None:
        held.uses += 1
        self.slot = held.slot
        self._held: _HeldSlot | None = held

    def release(self) -> None:
        """The service has read it; again and again does no harm."""
        held, self._held = self._held, None
        if held is not None:
            held.uses -= 1
            held.release_if_unused()


class HeldSlots:
    """What is held on one connection, by content."""

    def __init__(self) -> None:
        self._slots: dict[bytes, _HeldSlot] = {}
        self._left: deque[bytes] = deque()  # any thread appends

    def collect(self) -> None:
        """Frees what nobody holds any more."""
        while self._left:
            key = self._left.popleft()
            held = self._slots[key]
            held.holders -= 1
            if held.holders == 0:
                del self._slots[key]
                held.release_if_unused()

    def use(self, held: Held) -> Use | None:
        """A use of the picture's slot, or None when it is not here."""
        found = self._slots.get(held.key)
        if found is None:
            return None
        leave = held._places.get(self)
        if leave is None or not leave.alive:
            found.holders += 1
            held._places[self] = leave = weakref.finalize(held, self._left.append, held.key)
            leave.atexit = False
            if held.is_closed:  # while its request waited to be sent: only that one needs it
                leave()
        return Use(found)

    def add(self, held: Held, slot: Slot) -> Use:
        """Takes `slot`, to which the picture was written, unless its content is here already.
        Raises BadPicture when the source is not what it was."""
        key = content.name_of(held.pixels, slot.memory, slot.offset)
        if held.key not in (b"", key):
            slot.release()
            raise errors.BadPicture(
                f"{held.pixels.name} changed after it was put.", "Put the new picture."
            )
        held.key = key
        if key in self._slots:
            slot.release()
        else:
            self._slots[key] = _HeldSlot(slot)
        use = self.use(held)
        assert use is not None
        return use


class Together:
    """The memory of one request: several slots and uses that end at once."""

    def __init__(self) -> None:
        self._parts: list[Releasable] = []

    def add(self, part: Releasable) -> None:
        """This one, too."""
        self._parts.append(part)

    def release(self) -> None:
        """Again and again does no harm."""
        parts, self._parts = self._parts, []
        for part in parts:
            part.release()
