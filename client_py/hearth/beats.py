"""Signs of life from a thread of their own.

An event loop may stand still for minutes: ComfyUI runs nodes that are not asynchronous, such as its
samplers, in the thread of the loop in which ours wait. The service would take that silence for a
program that hangs, and drop its work. The thread lives while loops watch connections.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

LOOK_S = 1.0  # how often the thread looks


class Beating(Protocol):
    """What can tell its peer that this process lives. Called by the thread."""

    def beat(self) -> None: ...


_lock = threading.Lock()
_watched: weakref.WeakSet[Beating] = weakref.WeakSet()
_thread: threading.Thread | None = None


def watch(connection: Beating) -> None:
    """From now on its beat() is called, until forget()."""
    global _thread
    with _lock:
        _watched.add(connection)
        if _thread is None:
            _thread = threading.Thread(target=_run, name="hearth-beats", daemon=True)
            _thread.start()


def forget(connection: Beating) -> None:
    """A loop no longer watches it."""
    with _lock:
        _watched.discard(connection)


def _run() -> None:
    global _thread
    while True:
        time.sleep(LOOK_S)
        with _lock:
            connections = list(_watched)
            if not connections:
                _thread = None
                return
        for connection in connections:
            connection.beat()
        del connections


def _after_fork_in_child() -> None:
    global _lock, _watched, _thread
    _lock, _watched, _thread = threading.Lock(), weakref.WeakSet(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
