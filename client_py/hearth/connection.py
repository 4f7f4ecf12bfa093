"""One socket to the service and what hangs on it: open requests, arenas, offered models.

Nothing here blocks but wait(). A connection lives once: when it is lost, its requests have ended,
its ids and arenas are void, and its owner makes another. One thread or one event loop owns it; only
beat() is for another thread.
"""

from __future__ import annotations

import array
import os
import select
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Callable

from . import errors, messages, wire
from .held import HeldSlots
from .results import Results
from .slots import Arenas

PING_AFTER_S = 2.0  # of silence while requests are open
SILENT_AFTER_S = 10.0  # then the service counts as hung, if it was pinged in time
GREETING_S = 5.0  # for welcome: a service that is being started may have us in its backlog
_FOREVER_S = 3600.0
_AWAKE_S = 100e-6  # after sending
_BEAT_ID = 0xFFFF_FFFF  # of pongs that nobody asked for: the service takes them under any id
_READ_BYTES = 16 * 1024  # of one read: many tokens, and any usual answer
# As plain numbers: the arithmetic of Python's enums takes longer than a system call.
_CLOSE_ON_EXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
_CUT_SHORT = int(getattr(socket, "MSG_CTRUNC", 0))
_NO_SIGNAL = int(getattr(socket, "MSG_NOSIGNAL", 0))
_FD_ROOM = socket.CMSG_SPACE(4 * 8) if hasattr(socket, "CMSG_SPACE") else 0


class _Outgoing:
    """One frame on its way out. Its descriptors travel with the header and are then closed."""

    __slots__ = ("data", "fds")

    def __init__(self, data: bytes, fds: list[int]) -> None:
        self.data = memoryview(data)
        self.fds = fds


def _no_hook() -> None:
    pass


_live: weakref.WeakSet[Connection] = weakref.WeakSet()


class Connection:
    """A connected socket that has said hello.

    on_blocked: called when bytes wait for the socket to take them; on_close: before it is closed.
    """

    def __init__(self, dialled: socket.socket, hello: messages.Hello, timeout_s: float) -> None:
        self.exchanges = wire.Exchanges()
        self.arenas = Arenas()
        self.held = HeldSlots()
        self.results = Results()
        self.offered: set[str] = set()  # what the service calls the models
        self.welcome: messages.Welcome | None = None
        self.lost: errors.HearthError | None = None
        self.leaving = False
        self.is_growing = False  # an arena was asked for and is not here yet
        self.on_blocked: Callable[[], None] = _no_hook
        self.on_close: Callable[[], None] = _no_hook
        self._socket = dialled
        self._readable, self._movable = select.poll(), select.poll()
        self._readable.register(dialled, select.POLLIN)
        self._movable.register(dialled, select.POLLIN | select.POLLOUT)
        self._reader = wire.FrameReader()
        self._outbox: deque[_Outgoing] = deque()
        self._sending = threading.Lock()  # frames go out whole
        self._is_full = False  # the socket: on_blocked was told
        self._has_sent = False  # since we last waited
        self._greeting_s = max(timeout_s, GREETING_S)
        self._heard_at = self._looked_at = time.monotonic()
        self._pinged_at: float | None = None  # since it was heard
        _live.add(self)
        self.greeting = self.exchanges.greet()
        self._post(wire.encode(hello), [])

    def fileno(self) -> int:
        """For an event loop to watch."""
        return self._socket.fileno()

    @property
    def blocked(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return bool(self._outbox)

    # --- requests ---

    def ask(self, message: messages.Struct, fds: Iterable[int] = ()) -> wire.Exchange:
        """Sends a request. The descriptors are ours from now on, whatever happens."""
        owned = list(fds)
        try:
            if self.lost is not None:
                raise self.lost
            if not self.exchanges:
                self._heard_at = time.monotonic()
            exchange = self.exchanges.begin()
            try:
                data = wire.encode(message, exchange.request_id, len(owned))
            except errors.HearthError:
                self.exchanges.forget(exchange)
                raise
        except errors.HearthError:
            wire.close_all(owned)
            raise
        self._post(data, owned)
        return exchange

    def cancel(self, exchange: wire.Exchange) -> None:
        """Asks for an early end. The exchange still ends with its one terminal frame."""
        if exchange is self.greeting and exchange.outcome is None:
            self.lose(errors.NotReachable("Nobody waited for the service's greeting."))
        elif exchange.outcome is None and self.lost is None and not exchange.abandoned:
            self._post(wire.encode(messages.Cancel(), exchange.request_id), [])

    def abandon(self, exchange: wire.Exchange) -> None:
        """Nobody waits any more. Its memory stays taken until the service has ended it."""
        if not exchange.abandoned:
            self._give_back(exchange.outcome)
        exchange.abandoned = True
        exchange.events.clear()
        wire.close_all(exchange.take_fds())

    def _give_back(self, outcome: object) -> None:
        """Shared memory that came when nobody waited for it any more."""
        if isinstance(outcome, messages.Encoded):
            self.results.discard(outcome.tensors)
        elif isinstance(outcome, messages.ArenaGrant) and self.lost is None:
            self.ask(messages.ArenaDrop(arena=outcome.arena)).abandoned = True

    # --- time ---

    def tick(self) -> float:
        """Looks after time limits and returns in how many seconds to call again."""
        self._looked_at = time.monotonic()
        if self.lost is not None or not self.exchanges:
            return _FOREVER_S
        is_greeted = self.greeting.outcome is not None
        left_s = (PING_AFTER_S if is_greeted else self._greeting_s) - self._silence()
        if left_s > 0:
            return left_s  # at nearly every call
        heard_at = self._heard_at
        self.catch_up()  # after a pause of ours, what was said may wait in the socket
        if self.lost is not None or self._heard_at != heard_at:
            return 0.0
        if not is_greeted:
            self._count_as_hung(" took the connection and", self._greeting_s)
        elif self._pinged_at is None:
            self._pinged_at = time.monotonic()
            self.ask(messages.Ping()).abandoned = True
        # Its time counts from the ping: before that we may have been away ourselves.
        elif time.monotonic() - self._pinged_at >= SILENT_AFTER_S - PING_AFTER_S:
            self._count_as_hung("", SILENT_AFTER_S)
        if self._pinged_at is None:
            return 0.0
        return max(0.0, self._pinged_at + SILENT_AFTER_S - PING_AFTER_S - time.monotonic())

    def _count_as_hung(self, took: str, after_s: float) -> None:
        self.lose(errors.NotReachable(f"The service{took} has not answered for {after_s:g} s."))

    def beat(self) -> None:
        """From another thread: tells the service that this process lives, when the owner has not
        looked for as long as makes the service ask."""
        after_ms = self.welcome.heartbeat_ms if self.welcome is not None else 0
        if not after_ms or not self.exchanges:
            return
        if 1000 * (time.monotonic() - self._looked_at) < after_ms:
            return
        if not self._sending.acquire(blocking=False):
            return  # the owner is at it
        try:
            if self.lost is None and not self._outbox:
                self._send_beat()
        finally:
            self._sending.release()

    def _send_beat(self) -> None:
        pong = _Outgoing(wire.encode(messages.Pong(), _BEAT_ID), [])
        try:
            self._send(pong)
        except OSError:
            return  # what is wrong with the socket, its owner will see
        if pong.data:
            self._outbox.append(pong)  # the rest goes before anything else

    def _silence(self) -> float:
        return time.monotonic() - self._heard_at

    def wait(self, timeout_s: float) -> None:
        """Blocks until bytes can move either way, and moves them; at most `timeout_s`."""
        self.send_releases()
        if self.lost is not None:  # its descriptor may be another file's by now
            return
        watched = self._movable if self._outbox else self._readable
        if self._answered_at_once(watched, timeout_s) or watched.poll(timeout_s * 1000):
            self.receive()
            if self._outbox:
                self.flush()

    def _answered_at_once(self, watched: select.poll, timeout_s: float) -> bool:
        """Whether there is news within moments of sending, for which we stay awake: a core that has
        gone to sleep needs longer to wake up than the service needs for a short answer."""
        if not self._has_sent:
            return False
        self._has_sent = False
        until = time.perf_counter() + min(_AWAKE_S, timeout_s)
        while time.perf_counter() < until:
            if watched.poll(0):
                return True
        return False

    # --- bytes out ---

    def send_releases(self) -> None:
        """Tells which results nobody needs any more. Nobody waits for the answer."""
        while self.lost is None and (slots := self.results.take_released()):
            exchange = self.exchanges.begin()
            exchange.abandoned = True
            self._append(wire.encode(messages.Release(slots=slots), exchange.request_id), [])

    def _post(self, data: bytes, fds: list[int]) -> None:
        self.send_releases()
        self._append(data, fds)

    def _append(self, data: bytes, fds: list[int]) -> None:
        self._has_sent = True
        with self._sending:
            self._outbox.append(_Outgoing(data, fds))
        if not self._is_full:
            self.flush()

    def flush(self) -> None:
        """Sends what the socket takes."""
        self._is_full = False
        try:
            with self._sending:
                while self._outbox:
                    self._send(self._outbox[0])
                    if not self._outbox[0].data:
                        self._outbox.popleft()
        except BlockingIOError:
            self._is_full = True
            self.on_blocked()
        except OSError as error:
            self.catch_up()  # the service may have said why it closed
            self._closed(error)

    def _send(self, frame: _Outgoing) -> None:
        if frame.fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", frame.fds))
            header = frame.data[: wire.HEADER.size]
            sent = self._socket.sendmsg([header], [rights], _NO_SIGNAL)
            wire.close_all(frame.fds)
            frame.fds = []
        else:
            sent = self._socket.send(frame.data, _NO_SIGNAL)
        frame.data = frame.data[sent:]

    # --- bytes in ---

    def catch_up(self) -> None:
        """Reads what arrived while nobody was looking, to the end."""
        while self.lost is None and self._readable.poll(0):
            self.receive()

    def receive(self) -> None:
        """Reads what has arrived, or most of it: a watcher of the socket calls again."""
        try:
            while self.lost is None and self._receive_some():
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            self._closed(error)
        except wire.BrokenFrame as error:
            self.lose(errors.Internal(f"The service sent something unintelligible: {error}."))

    def _receive_some(self) -> bool:
        """One read and what it brought. Returns whether more may be waiting: the kernel gave all
        that was asked for, or stopped behind descriptors."""
        size = max(_READ_BYTES, self._reader.wanted)
        data, ancillary, flags, _ = self._socket.recvmsg(size, _FD_ROOM, _CLOSE_ON_EXEC)
        fds = wire.received_fds(ancillary) if ancillary else []
        if flags & _CUT_SHORT:
            wire.close_all(fds)
            raise wire.BrokenFrame("more descriptors than a reply may carry")
        if not data:
            wire.close_all(fds)
            raise ConnectionResetError
        self._heard_at, self._pinged_at = time.monotonic(), None
        frame = self._reader.feed(data, fds)
        while frame is not None:
            self._handle(frame)
            frame = self._reader.next() if self.lost is None else None
        return len(data) == size or bool(fds)

    def _handle(self, frame: wire.Frame) -> None:
        message = wire.decode(frame)
        if message is None or message.KIND == "link":
            wire.close_all(frame.fds)
        elif frame.request_id and message.KIND in ("reply", "event"):
            self._deliver(frame, message)
        elif isinstance(message, messages.Ping):
            self._post(wire.encode(messages.Pong(), frame.request_id), [])
        elif isinstance(message, messages.Goaway):
            self.leaving = True
        elif isinstance(message, messages.OutArena):
            self.results.add(message, frame.fds)
        elif isinstance(message, messages.OutArenaGone):
            wire.close_all(frame.fds)
            self.results.forget(message.arena)
        elif isinstance(message, messages.Error) and frame.request_id == 0:
            self.lose(errors.from_reply(message))
        elif isinstance(message, messages.Welcome):
            self.welcome = message
            self._reader.max_body_bytes = wire.MAX_FRAME_BYTES
            self._deliver(frame, message)
        else:
            wire.close_all(frame.fds)

    def _deliver(self, frame: wire.Frame, message: messages.Struct) -> None:
        if not self.exchanges.deliver(frame, message):
            self._give_back(message)

    # --- the end ---

    def _closed(self, reason: OSError) -> None:
        if self.lost is None:
            code = f" ({reason.strerror.lower()})" if reason.strerror else ""
            self.lose(errors.NotReachable(f"The service closed the connection{code}."))

    def lose(self, error: errors.HearthError) -> None:
        """Closes the socket and ends every open request with `error`."""
        if self.lost is None:
            self.on_close()
            self._drop(error)

    def _drop(self, error: errors.HearthError) -> None:
        self.lost = error
        with self._sending:
            self._socket.close()
        for frame in self._outbox:
            wire.close_all(frame.fds)
        self._outbox.clear()
        self._reader.discard()
        self.arenas, self.held, self.results = Arenas(), HeldSlots(), Results()
        self.exchanges.fail(error)

    def leave_to_parent(self) -> None:
        """In a forked child: let go without a word, and leave the parent's event loop alone."""
        if self.lost is None:
            self._sending = threading.Lock()
            self.arenas.renew_locks()
            self._drop(
                errors.NotReachable(
                    "The connection belongs to the parent process.", "", retryable=False
                )
            )


def _after_fork_in_child() -> None:
    for connection in list(_live):
        connection.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
