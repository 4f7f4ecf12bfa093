"""Clients that nobody uses at the moment, for shared() to lend."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from .caller import Caller

IDLE_CLIENTS = 4  # kept of each socket
C = TypeVar("C", bound=Caller)


class Pool(Generic[C]):
    """Idle clients by socket. Any thread may call; each step on a list is one that Python does at
    once, so there is no lock that a forked child could find taken."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, ...], list[C]] = {}

    def take(self, fresh: C) -> C:
        """An idle client of the same socket, or else `fresh`."""
        try:
            return self._idle.setdefault(fresh.paths, []).pop()
        except IndexError:
            return fresh

    def give_back(self, client: C) -> None:
        """For the next one; what is too many is closed."""
        if client._is_closed:
            return
        client._tidy()
        idle = self._idle.setdefault(client.paths, [])
        idle.append(client)
        while len(idle) > IDLE_CLIENTS:
            try:
                idle.pop(0)._close()
            except IndexError:  # another thread took it
                return

    def trim(self) -> float:
        """Gives the memory back to the system that idle clients have not used for a minute. Returns
        after how many seconds to ask again, infinity when all is done."""
        clients = [client for idle in list(self._idle.values()) for client in list(idle)]
        return min((client._trim() for client in clients), default=math.inf)
