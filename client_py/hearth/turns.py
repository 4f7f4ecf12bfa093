"""Waiting for a turn, so that a connection never has more requests open than it may have."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable


class Turns:
    """Turns of one event loop, first come first served. `has_room(taken)`: whether one more may
    begin while `taken` are."""

    def __init__(self, has_room: Callable[[int], bool]) -> None:
        self._has_room = has_room
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if not self._waiting and self._has_room(self._taken):
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.look()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came in the same moment
                self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._taken -= 1
        self.look()

    def look(self) -> None:
        """There may be room now."""
        while self._waiting and (self._waiting[0].done() or self._has_room(self._taken)):
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
