"""hearth for asyncio: the calls of hearth.client as coroutines.

    async with await hearth.aio.connect() as client:
        reply = await client.generate("ember", chat)
        async for piece in client.stream("ember", chat):
            print(piece, end="", flush=True)

A client belongs to one event loop; any number of its tasks may use it at the same time. A task that
is cancelled cancels its request. shared() lends one client to all tasks of the running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from . import errors, messages, models
from .caller import CANCEL_WAIT_S, POLL_S, Answer, Caller, Interrupted, OnProgress, Steps
from .chat import Reply
from .client import Messages
from .connection import Connection
from .models import Model
from .wire import Exchange

T = TypeVar("T")
_IDLE_CLIENTS = 4


async def connect(
    socket: str | os.PathLike[str] | None = None, timeout: float = 0.3
) -> AsyncClient:
    """As hearth.client.connect()."""
    client = AsyncClient(socket, timeout)
    await client._run(client._ready())
    return client


class AsyncClient(Caller):
    """One connection, for the event loop that uses it first. See hearth.client.Client."""

    def __init__(self, socket: str | os.PathLike[str] | None = None, timeout: float = 0.3) -> None:
        """As connect(), but connects at the first call."""
        super().__init__(socket, timeout)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def offer_model(
        self,
        path_or_files: models.Path | Mapping[str, models.Path],
        dtype: str = "auto",
        *,
        interrupted: Interrupted | None = None,
    ) -> Model:
        """As Client.offer_model()."""
        return await self._run(self._offer(path_or_files, dtype), interrupted)

    @overload
    async def generate(
        self,
        model: Model | str,
        messages: Messages,
        stream: Literal[False] = False,
        *,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Any,
    ) -> Reply: ...
    @overload
    async def generate(
        self,
        model: Model | str,
        messages: Messages,
        stream: Literal[True],
        *,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Any,
    ) -> AsyncStream: ...
    async def generate(
        self,
        model: Model | str,
        messages: Messages,
        stream: bool = False,
        *,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Any,
    ) -> Reply | AsyncStream:
        """As Client.generate()."""
        steps = self._begin_answer(model, messages, sampling)
        answer = AsyncStream(self, steps, interrupted, on_progress)
        return answer if stream else await answer.reply()

    def stream(
        self,
        model: Model | str,
        messages: Messages,
        *,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Any,
    ) -> AsyncStream:
        """The answer as an asynchronous iterator of text pieces, begun by its first step."""
        steps = self._begin_answer(model, messages, sampling)
        return AsyncStream(self, steps, interrupted, on_progress)

    async def load(
        self,
        model: Model | str,
        *,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
    ) -> messages.ModelLoaded:
        """As Client.load()."""
        return await self._run(self._load(model, on_progress), interrupted)

    async def unload(self, model: Model | str) -> bool:
        """As Client.unload()."""
        return await self._run(self._unload(model))

    async def models(self) -> list[messages.ModelEntry]:
        """As Client.models()."""
        return await self._run(self._list_models())

    async def status(self) -> messages.StatusReport:
        """As Client.status()."""
        return await self._run(self._status())

    async def ping(self) -> float:
        """As Client.ping()."""
        return await self._run(self._ping())

    def close(self) -> None:
        """As Client.close()."""
        self._close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- the event loop ---

    def _attach(self, connection: Connection) -> None:
        loop = self._loop = asyncio.get_running_loop()
        connection.on_blocked = lambda: loop.add_writer(connection.fileno(), self._writable)
        connection.on_close = self._detach
        loop.add_reader(connection.fileno(), connection.receive)
        if connection.blocked:
            connection.on_blocked()

    def _detach(self) -> None:
        loop, connection = self._loop, self._connection
        if loop is not None and connection is not None and not loop.is_closed():
            loop.remove_reader(connection.fileno())
            loop.remove_writer(connection.fileno())
        self._loop = None

    def _writable(self) -> None:
        assert self._connection is not None and self._loop is not None
        self._loop.remove_writer(self._connection.fileno())
        self._connection.flush()  # asks for a writer again when bytes remain

    def _enter_loop(self) -> None:
        """Watches the socket from the running loop, if another one did so far."""
        if self._loop is not asyncio.get_running_loop():
            self._detach()
            if self._connection is not None and self._connection.lost is None:
                self._attach(self._connection)

    # --- waiting ---

    async def _run(self, steps: Steps[T], interrupted: Interrupted | None = None) -> T:
        """Drives a call to its end."""
        self._enter_loop()
        try:
            while True:
                _check(interrupted)
                step = next(steps)
                if isinstance(step, Exchange):
                    await self._wait(step, interrupted)
                else:
                    await asyncio.sleep(step)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    async def _wait(self, exchange: Exchange, interrupted: Interrupted | None) -> None:
        """Until an event or the end has arrived. Cancels the request when interrupted."""
        assert self._connection is not None
        try:
            _check(interrupted)
            while not exchange.ready:
                await self._changed(exchange, None if interrupted is None else POLL_S)
                _check(interrupted)
        except asyncio.CancelledError:
            self._drop(exchange)
            raise
        except BaseException:
            await self._give_up(exchange)
            raise

    async def _changed(self, exchange: Exchange, at_most_s: float | None) -> None:
        """Waits for something to arrive for this exchange, or for a time limit."""
        assert self._connection is not None
        limit_s = self._connection.tick()
        if exchange.ready:
            return
        changed = asyncio.get_running_loop().create_future()
        exchange.on_change = lambda: None if changed.done() else changed.set_result(None)
        await asyncio.wait([changed], timeout=limit_s if at_most_s is None else at_most_s)

    async def _give_up(self, exchange: Exchange) -> None:
        """Cancels, and leaves the service a moment to agree."""
        deadline = time.monotonic() + CANCEL_WAIT_S
        try:
            if self._connection is not None:
                self._connection.cancel(exchange)
            while exchange.outcome is None and time.monotonic() < deadline:
                await self._changed(exchange, deadline - time.monotonic())
                exchange.events.clear()
        finally:
            if self._connection is not None:
                self._connection.abandon(exchange)

    def _drop(self, exchange: Exchange) -> None:
        """Cancels without waiting."""
        if self._connection is not None and exchange.outcome is None and not exchange.abandoned:
            self._connection.cancel(exchange)
            self._connection.abandon(exchange)


def _check(interrupted: Interrupted | None) -> None:
    if interrupted is not None and interrupted():
        raise errors.Cancelled("The caller interrupted the request.")


class AsyncStream(Answer):
    """An answer on its way: an asynchronous iterator of text pieces. `text`: what came so far."""

    def __init__(
        self,
        client: AsyncClient,
        steps: Steps[Exchange],
        interrupted: Interrupted | None,
        on_progress: OnProgress | None,
    ) -> None:
        super().__init__(on_progress)
        self._client = client
        self._steps = steps
        self._interrupted = interrupted

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> str:
        if self._exchange is None:
            if self._is_cancelled:
                raise StopAsyncIteration
            self._exchange = await self._client._run(self._steps, self._interrupted)
        while True:
            await self._client._wait(self._exchange, self._interrupted)
            piece = self._next_piece()
            if piece:
                return piece
            if self._has_ended:
                self._check_end()
                raise StopAsyncIteration

    def cancel(self) -> None:
        """As Stream.cancel()."""
        self._is_cancelled = True
        if self._exchange is not None and self._client._connection is not None:
            self._client._connection.cancel(self._exchange)

    async def reply(self) -> Reply:
        """The whole answer, after reading the rest of it. Raises the error that it ended with."""
        async for _ in self:
            pass
        return self._finished()

    def __del__(self) -> None:
        if self._exchange is not None:
            self._client._drop(self._exchange)


class _Lent:
    """A client in use by tasks of one loop."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.borrowers = 0


_lent: dict[tuple[int, tuple[str, ...]], _Lent] = {}
_idle: dict[tuple[str, ...], list[AsyncClient]] = {}


@contextlib.asynccontextmanager
async def shared(
    socket: str | os.PathLike[str] | None = None, timeout: float = 0.3
) -> AsyncIterator[AsyncClient]:
    """Lends the running loop's client. When all its tasks have given it back, its connection and
    shared memory wait for the next loop: a program may run one loop after another.
    """
    fresh = AsyncClient(socket, timeout)
    paths = tuple(fresh._paths)
    idle, key = _idle.setdefault(paths, []), (id(asyncio.get_running_loop()), paths)
    if key not in _lent:
        try:
            _lent[key] = _Lent(idle.pop())
        except IndexError:
            _lent[key] = _Lent(fresh)
    lent = _lent[key]
    lent.borrowers += 1
    try:
        yield lent.client
    finally:
        lent.borrowers -= 1
        if lent.borrowers == 0:
            del _lent[key]
            lent.client._detach()
            if len(idle) < _IDLE_CLIENTS and not lent.client._is_closed:
                idle.append(lent.client)
            else:
                lent.client.close()
