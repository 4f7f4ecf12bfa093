"""What each call says to the service, shared by the blocking client and the asyncio one.

A call is a generator. It yields an Exchange when it needs its end, or a number of seconds to pause
(0: only look whether the caller still wants it). Who drives it does the waiting.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Mapping
from typing import Any, Callable, TypeVar, Union

from . import errors, messages, models
from .chat import Chat, Reply, checked_sampling, reply_of
from .connection import Connection, dial, socket_paths
from .models import Model
from .slots import Arena, Slot, arena_bytes_for
from .version import VERSION
from .wire import Exchange, close_all

T = TypeVar("T")
Steps = Generator[Union[Exchange, float], None, T]
OnProgress = Callable[[messages.Progress], None]
Interrupted = Callable[[], bool]

POLL_S = 0.02  # how often an `interrupted` callback is asked
CANCEL_WAIT_S = 0.2  # how long an interrupted call waits for the service to agree
_REDIAL_S = 0.01


class Caller:
    """A connection that is made when needed, and the calls that use it."""

    def __init__(self, path: str | os.PathLike[str] | None, timeout_s: float) -> None:
        self._paths = socket_paths(path)
        self._timeout_s = timeout_s
        self._connection: Connection | None = None
        self._is_closed = False

    def _attach(self, connection: Connection) -> None:
        """A new connection is there: watch it."""

    @property
    def welcome(self) -> messages.Welcome | None:
        """What the service said of itself, and its limits; None while not connected."""
        return self._connection.welcome if self._connection is not None else None

    # --- the connection ---

    def _ready(self) -> Steps[Connection]:
        """The connection, made anew when it was lost while nothing was open."""
        if self._is_closed:
            raise errors.NotReachable("This client was closed.", "Connect again.")
        while True:
            connection = self._connection
            if connection is None or not _is_usable(connection):
                connection = yield from self._connect()
            if connection.greeting.outcome is not None:
                _check_welcome(connection)
                _drop_arenas(connection, connection.arenas.take_idle())
                return connection
            yield 0.001  # another task is connecting

    def _connect(self) -> Steps[Connection]:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                dialled = dial(self._paths, may_retry=time.monotonic() < deadline)
                break
            except BlockingIOError:
                yield _REDIAL_S
        connection = Connection(dialled, _hello(), self._timeout_s)
        self._connection = connection
        self._attach(connection)
        yield connection.greeting
        return connection

    def _close(self) -> None:
        self._is_closed = True
        if self._connection is not None:
            self._connection.lose(errors.NotReachable("This client was closed.", "Connect again."))

    # --- calls ---

    def _ask(self, message: messages.Struct, kind: type[T]) -> Steps[T]:
        connection = yield from self._ready()
        return (yield from _end_of(connection.ask(message), kind))

    def _ping(self) -> Steps[float]:
        began = time.perf_counter()
        yield from self._ask(messages.Ping(), messages.Pong)
        return (time.perf_counter() - began) * 1000

    def _list_models(self) -> Steps[list[messages.ModelEntry]]:
        return (yield from self._ask(messages.ListModels(), messages.ModelList)).models

    def _status(self) -> Steps[messages.StatusReport]:
        return (yield from self._ask(messages.Status(), messages.StatusReport))

    def _offer(
        self, path_or_files: models.Path | Mapping[str, models.Path], dtype: str
    ) -> Steps[Model]:
        model = models.find_model(path_or_files, dtype)
        yield from self._offer_files(model)
        return model

    def _name_of(self, model: Model | str) -> Steps[str]:
        """What the service calls the model, after offering it if this connection has not yet."""
        if isinstance(model, str):
            return model
        connection = yield from self._ready()
        if model.id not in connection.offered:
            yield from self._offer_files(model)
        return model.id

    def _offer_files(self, model: Model) -> Steps[None]:
        """The same files and dtype get the same id, however many Models they are offered as."""
        connection = yield from self._ready()
        offer = messages.OfferModel(name=model.name, labels=list(model.files), dtype=model.dtype)
        exchange = connection.ask(offer, model.open_files())
        offered = yield from _end_of(exchange, messages.ModelOffered)
        model.id, model.family, model.warnings = offered.model, offered.family, offered.warnings
        connection.offered.add(offered.model)

    def _load(
        self, model: Model | str, on_progress: OnProgress | None
    ) -> Steps[messages.ModelLoaded]:
        name = yield from self._name_of(model)
        connection = yield from self._ready()
        exchange = connection.ask(messages.LoadModel(model=name))
        return (yield from _end_of(exchange, messages.ModelLoaded, on_progress))

    def _unload(self, model: Model | str) -> Steps[bool]:
        name = yield from self._name_of(model)
        reply = yield from self._ask(messages.UnloadModel(model=name), messages.ModelUnloaded)
        if isinstance(model, Model) and self._connection is not None:
            self._connection.offered.discard(name)  # who wants it again offers it again
        return reply.resident

    def _begin_answer(
        self, model: Model | str, turns: object, sampling: Mapping[str, Any]
    ) -> Steps[Exchange]:
        """Sends a generate request and returns while it is open."""
        chat, chosen = Chat(turns), checked_sampling(sampling)
        name = yield from self._name_of(model)
        connection = yield from self._ready()
        slot = (yield from _placed(connection, chat)) if chat.nbytes else None
        try:
            exchange = connection.ask(
                messages.Generate(model=name, messages=chat.messages, **chosen)
            )
        except errors.HearthError:
            if slot is not None:
                slot.release()
            raise
        exchange.slot = slot
        return exchange


def _hello() -> messages.Hello:
    return messages.Hello(
        oldest=messages.OLDEST_PROTOCOL_VERSION,
        newest=messages.PROTOCOL_VERSION,
        client=f"{_program()} (hearth {VERSION})"[:128],
        instance=_instance(),
    )


def _program() -> str:
    """What this process is called: ComfyUI's main.py, hearth, …"""
    path = sys.argv[0] if sys.argv and sys.argv[0] else "python"
    folder, name = os.path.split(path)
    return os.path.basename(folder) if name == "__main__.py" else name[:64]


_instance_of_process: dict[int, str] = {}


def _instance() -> str:
    """A random id of this process; a forked child gets another."""
    return _instance_of_process.setdefault(os.getpid(), os.urandom(16).hex())


def _is_usable(connection: Connection) -> bool:
    """Whether a new request may go there. Notices what happened while nobody was looking."""
    connection.receive()
    if connection.leaving and not connection.exchanges:
        connection.lose(errors.ShuttingDown("The service is stopping."))
    return connection.lost is None


def _check_welcome(connection: Connection) -> None:
    ours = f"{messages.OLDEST_PROTOCOL_VERSION} to {messages.PROTOCOL_VERSION}"
    try:
        welcome = _expect(connection.greeting, messages.Welcome)
    except errors.Version as error:
        raise errors.Version(
            f"{error.what} This client is hearth {VERSION} and speaks protocol {ours}."
        ) from error
    if not messages.OLDEST_PROTOCOL_VERSION <= welcome.version <= messages.PROTOCOL_VERSION:
        skew = errors.Version(
            f"The service ({welcome.server}) speaks protocol {welcome.version}, "
            f"this client (hearth {VERSION}) {ours}."
        )
        connection.lose(skew)
        raise skew


def _expect(exchange: Exchange, kind: type[T]) -> T:
    """The reply, which must be of this kind. Raises what the request ended with."""
    reply = exchange.result()
    if not isinstance(reply, kind):
        raise errors.Internal(f"The service answered with {reply.NAME}.")
    return reply


def _end_of(exchange: Exchange, kind: type[T], on_progress: OnProgress | None = None) -> Steps[T]:
    """The reply, after telling of all progress on the way."""
    while exchange.outcome is None or exchange.events:
        yield exchange
        while exchange.events:
            event = exchange.events.popleft()
            if isinstance(event, messages.Progress) and on_progress is not None:
                on_progress(event)
    return _expect(exchange, kind)


def _placed(connection: Connection, chat: Chat) -> Steps[Slot]:
    """The chat's pictures in shared memory."""
    assert connection.welcome is not None
    limits = connection.welcome.limits
    if chat.tensors > limits.tensors:
        raise errors.BadRequest(
            f"{chat.tensors} pictures: the service takes at most {limits.tensors} in one request.",
            "Send fewer pictures.",
        )
    slot = connection.arenas.allocate(chat.nbytes)
    while slot is None:
        yield from _grow(connection, chat.nbytes)
        slot = connection.arenas.allocate(chat.nbytes)
    try:
        for _ in chat.place(slot):
            yield 0.0
    except BaseException:
        slot.release()
        raise
    return slot


def _grow(connection: Connection, nbytes: int) -> Steps[None]:
    """One more arena with room for `nbytes`, or a moment's wait for one that is on its way. When
    the service has no more to give, what we do not use goes back first."""
    if connection.is_growing:
        yield 0.001
        return
    connection.is_growing = True
    try:
        try:
            yield from _ask_for_arena(connection, nbytes)
        except errors.Busy:
            unused = connection.arenas.take_free()
            if not unused:
                raise
            _drop_arenas(connection, unused)  # the service does this first: frames keep their order
            yield from _ask_for_arena(connection, nbytes)
    finally:
        connection.is_growing = False


def _ask_for_arena(connection: Connection, nbytes: int) -> Steps[None]:
    exchange = connection.ask(messages.ArenaAsk(nbytes=arena_bytes_for(nbytes)))
    grant = yield from _end_of(exchange, messages.ArenaGrant)
    fds = exchange.take_fds()
    if len(fds) != 1 or grant.nbytes < arena_bytes_for(nbytes):
        close_all(fds)
        raise errors.Internal(f"{grant.nbytes} bytes granted in {len(fds)} descriptors.")
    connection.arenas.add(Arena.map(grant.arena, grant.nbytes, fds[0]))


def _drop_arenas(connection: Connection, arenas: list[int]) -> None:
    """Tells the service to take these back. Nobody waits for its answer."""
    for arena in arenas:
        if connection.lost is None:
            connection.abandon(connection.ask(messages.ArenaDrop(arena=arena)))


class Answer:
    """What has arrived of one answer. Both clients' streams are made of it."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.text = ""
        self._on_progress = on_progress
        self._exchange: Exchange | None = None
        self._is_cancelled = False

    @property
    def _has_ended(self) -> bool:
        return self._exchange is not None and self._exchange.outcome is not None

    def _next_piece(self) -> str:
        """The next text that has arrived, or an empty string."""
        assert self._exchange is not None
        events = self._exchange.events
        while events:
            event = events.popleft()
            if isinstance(event, messages.Progress) and self._on_progress is not None:
                self._on_progress(event)
            elif isinstance(event, messages.Token) and event.text:
                self.text += event.text
                return event.text
        return ""

    def _finished(self) -> Reply:
        assert self._exchange is not None
        return reply_of(self._exchange.result())

    def _check_end(self) -> None:
        """Raises what went wrong; an end that cancel() asked for is none."""
        assert self._exchange is not None
        outcome = self._exchange.outcome
        asked_for = self._is_cancelled and isinstance(outcome, errors.Cancelled)
        if isinstance(outcome, errors.HearthError) and not asked_for:
            raise outcome
