"""What each call says to the service, shared by the blocking client and the asyncio one."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Callable, TypeVar

from . import content, errors, messages, models
from .chat import Chat, checked_options
from .connection import Connection
from .dialling import dial, socket_paths
from .held import Held, Together
from .media import medium_of
from .models import Model
from .placing import drop_arenas, held, placed
from .replies import TokenCount, count_of
from .results import Encoded
from .retry import Request, Retry, reconnected
from .slots import IDLE_S
from .steps import OnProgress, Steps, end_of, expect
from .version import VERSION
from .wire import Exchange

T = TypeVar("T")
_REDIAL_S = 0.01


class Caller:
    """A connection that is made when needed, and the calls that use it."""

    def __init__(self, path: str | os.PathLike[str] | None, timeout_s: float) -> None:
        self.paths = tuple(socket_paths(path))
        self._timeout_s = timeout_s
        self._connection: Connection | None = None
        self._welcomed: Connection | None = None  # whose welcome was looked at
        self._is_closed = False

    def _attach(self, connection: Connection) -> None:
        """A new connection is there: watch it."""

    @property
    def welcome(self) -> messages.Welcome | None:
        """What the service said of itself, and its limits; None while not connected."""
        connection = self._connection
        return None if connection is None or connection.lost else connection.welcome

    # --- the connection ---

    def _ready(self) -> Steps[Connection]:
        """The connection, made anew when it was lost while nothing was open."""
        if self._is_closed:
            raise _closed()
        while True:
            connection = self._connection
            if connection is None or not _is_usable(connection):
                connection = yield from self._connect()
            if connection.greeting.outcome is not None:
                if self._welcomed is not connection:
                    _check_welcome(connection)
                    self._welcomed = connection
                self._tidy()
                return connection
            yield 0.001  # another task is connecting

    def _connect(self) -> Steps[Connection]:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                dialled = dial(self.paths, may_retry=time.monotonic() < deadline)
                break
            except BlockingIOError:
                yield _REDIAL_S
                if self._connection is not None and self._connection.lost is None:
                    return self._connection  # another task was faster
        connection = Connection(dialled, _hello(), self._timeout_s)
        self._connection = connection
        self._attach(connection)
        yield connection.greeting
        return connection

    def _close(self) -> None:
        self._is_closed = True
        if self._connection is not None:
            self._connection.lose(_closed())

    def _trim(self) -> float:
        """Gives idle memory back to the system; see Arenas.trim(). Any thread may do it."""
        connection = self._connection
        return math.inf if connection is None else connection.arenas.trim()

    def _tidy(self, quiet_s: float = IDLE_S) -> float:
        """As _trim(), and tells the service what is no longer needed."""
        connection = self._connection
        if connection is None or connection.lost is not None:
            return math.inf
        connection.send_releases()
        if not connection.arenas:
            return math.inf
        connection.held.collect()
        left_s = connection.arenas.trim(quiet_s)
        drop_arenas(connection, connection.arenas.take_idle(quiet_s))
        return left_s

    # --- calls ---

    def _ask(self, message: messages.Struct, kind: type[T]) -> Steps[T]:
        connection = yield from self._ready()
        return (yield from end_of(connection, connection.ask(message), kind))

    def _ping(self) -> Steps[float]:
        began = time.perf_counter()
        yield from self._ask(messages.Ping(), messages.Pong)
        return (time.perf_counter() - began) * 1000

    def _list_models(self) -> Steps[list[messages.ModelEntry]]:
        return (yield from self._ask(messages.ListModels(), messages.ModelList)).models

    def _status(self) -> Steps[messages.StatusReport]:
        return (yield from self._ask(messages.Status(), messages.StatusReport))

    def _repeatable(self, once: Callable[[], Steps[T]]) -> Steps[T]:
        """A call that does no harm twice, begun again when its end was lost. `once` makes the steps
        of one attempt."""
        yield from self._ready()  # a service that is down is an answer of its own
        retry = Retry()
        while True:
            try:
                return (yield from once())
            except errors.HearthError as error:
                if not retry.use(error):
                    raise
                yield from reconnected(self._ready, error)

    def _offer(
        self,
        path_or_files: models.Path | Mapping[str, models.Path],
        dtype: str,
        head: str,
        attention: str,
    ) -> Steps[Model]:
        model = models.find_model(path_or_files, dtype)
        model.head, model.attention = head, attention
        yield from self._repeatable(lambda: self._offer_files(model))
        return model

    def _knowing(self, model: Model | str) -> Steps[tuple[Connection, str]]:
        """A connection on which the model is known, and what the service calls it. The connection
        may be lost and made anew at any step, so it is looked at after the model was offered."""
        while True:
            connection = yield from self._ready()
            if isinstance(model, str):
                return connection, model
            if model.id in connection.offered:
                return connection, model.id
            yield from self._offer_files(model)

    def _offer_files(self, model: Model) -> Steps[None]:
        """The same files and choices get the same id, however many Models they are offered as."""
        connection = yield from self._ready()
        offer = messages.OfferModel(
            name=model.name,
            labels=list(model.files),
            dtype=model.dtype,
            head=model.head,
            attention=model.attention,
        )
        exchange = connection.ask(offer, model.open_files())
        offered = yield from end_of(connection, exchange, messages.ModelOffered)
        model.id, model.family, model.warnings = offered.model, offered.family, offered.warnings
        model.memory = offered.memory
        connection.offered.add(offered.model)

    def _load(
        self, model: Model | str, on_progress: OnProgress | None
    ) -> Steps[messages.ModelLoaded]:
        # Not repeated: a model whose load ends the engine would end it twice.
        connection, name = yield from self._knowing(model)
        exchange = connection.ask(messages.LoadModel(model=name))
        return (yield from end_of(connection, exchange, messages.ModelLoaded, on_progress))

    def _unload(self, model: Model | str) -> Steps[bool]:
        return (yield from self._repeatable(lambda: self._unload_once(model)))

    def _unload_once(self, model: Model | str) -> Steps[bool]:
        connection, name = yield from self._knowing(model)
        connection.offered.discard(name)  # who wants it from here on offers it again
        exchange = connection.ask(messages.UnloadModel(model=name))
        return (yield from end_of(connection, exchange, messages.ModelUnloaded)).resident

    def _plan(self, model: Model | str) -> Steps[messages.LoadPlan]:
        return (yield from self._repeatable(lambda: self._plan_once(model)))

    def _plan_once(self, model: Model | str) -> Steps[messages.LoadPlan]:
        connection, name = yield from self._knowing(model)
        exchange = connection.ask(messages.PlanLoad(model=name))
        return (yield from end_of(connection, exchange, messages.LoadPlan))

    def _count_tokens(
        self, model: Model | str, turns: object, options: dict[str, Any]
    ) -> Steps[TokenCount]:
        chat = Chat(turns)
        chat.outline()
        message = messages.CountTokens(
            model="", messages=chat.messages, **checked_options("count_tokens", options)
        )
        return (yield from self._repeatable(lambda: self._count_once(model, message)))

    def _count_once(self, model: Model | str, message: messages.CountTokens) -> Steps[TokenCount]:
        connection, message.model = yield from self._knowing(model)
        exchange = connection.ask(message)
        return count_of((yield from end_of(connection, exchange, messages.TokensCounted)))

    def _free_memory(self, nbytes: int) -> Steps[messages.MemoryFreed]:
        return (yield from self._ask(messages.FreeMemory(nbytes=nbytes), messages.MemoryFreed))

    def _put(self, picture: object) -> Steps[Held]:
        kept = Held(medium_of(picture, "picture"))
        connection = yield from self._ready()
        (yield from held(connection, kept)).release()
        return kept

    def _encode(
        self, request: Request, is_single: bool, copy: bool, on_progress: OnProgress | None
    ) -> Steps[Encoded]:
        exchange = yield from self._begin(request)
        while True:
            connection = request.connection
            assert connection is not None
            try:
                reply = yield from end_of(connection, exchange, messages.Encoded, on_progress)
                break
            except errors.HearthError as error:
                if not request.use_retry(error):
                    raise
                exchange = yield from self._send_again(request, error)
        assert isinstance(request.message, messages.Encode)
        layers = None if is_single else len(request.message.layers)
        return connection.results.encoded(reply, layers, copy)

    # --- requests that may be sent twice ---

    def _begin(self, request: Request) -> Steps[Exchange]:
        """Sends a request and returns while it is open."""
        try:
            return (yield from self._send(request))
        except errors.HearthError as error:
            if not request.use_retry(error):
                raise
            return (yield from self._send_again(request, error))

    def _send_again(self, request: Request, error: errors.HearthError) -> Steps[Exchange]:
        while True:
            yield from reconnected(self._ready, error)
            try:
                return (yield from self._send(request))
            except errors.HearthError as refused:
                if not request.use_retry(refused):
                    raise
                error = refused

    def _send(self, request: Request) -> Steps[Exchange]:
        request.connection = yield from self._ready()
        connection, memory = yield from self._prepared(request)
        request.connection = connection
        if request.may_reuse and isinstance(request.message, messages.Generate):
            request.message.result_key = content.result_key(request.chat.names)
        try:
            exchange = connection.ask(request.message)
        except errors.HearthError:
            if memory is not None:
                memory.release()
            raise
        exchange.slot = memory
        return exchange

    def _prepared(self, request: Request) -> Steps[tuple[Connection, Together | None]]:
        """A connection on which the model is known and the tensors lie in shared memory. While they
        are brought there, another task may give the model up."""
        while True:
            connection, name = yield from self._knowing(request.model)
            request.message.model = name
            if not request.chat.tensors:
                return connection, None
            memory = yield from placed(connection, request.chat, request.may_reuse)
            if isinstance(request.model, str) or name in connection.offered:
                return connection, memory
            memory.release()


def _closed() -> errors.HearthError:
    return errors.NotReachable("This client was closed.", "Connect again.", retryable=False)


def _hello() -> messages.Hello:
    return messages.Hello(
        oldest=messages.OLDEST_PROTOCOL_VERSION,
        newest=messages.PROTOCOL_VERSION,
        client=f"{_program()} (hearth {VERSION})"[:128],
        instance=_instance(),
    )


def _program() -> str:
    """What this process is called: ComfyUI, by the folder of its main.py, hearth, …"""
    path = sys.argv[0] if sys.argv and sys.argv[0] else "python"
    folder, name = os.path.split(path)
    if name in ("main.py", "__main__.py"):
        name = os.path.basename(os.path.abspath(folder)) or name
    return name[:64]


_instance_of_process: dict[int, str] = {}


def _instance() -> str:
    """A random id of this process; a forked child gets another."""
    return _instance_of_process.setdefault(os.getpid(), os.urandom(16).hex())


def _is_usable(connection: Connection) -> bool:
    """Whether a new request may go there. Notices what happened while nobody was looking."""
    connection.catch_up()
    if connection.leaving and not connection.exchanges:
        connection.lose(errors.ShuttingDown("The service is stopping."))
    return connection.lost is None


def _check_welcome(connection: Connection) -> None:
    ours = f"{messages.OLDEST_PROTOCOL_VERSION} to {messages.PROTOCOL_VERSION}"
    try:
        welcome = expect(connection.greeting, messages.Welcome)
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
