"""hearth for asyncio: the calls of hearth.client as coroutines.

    async with await hearth.aio.connect() as client:
        reply = await client.generate("ember", chat)
        async for piece in client.stream("ember", chat):
            print(piece, end="", flush=True)

A client belongs to one event loop; any number of its tasks may use it at the same time: those that
are more than the connection may have open wait for their turn. A task that is cancelled cancels its
request. The loop may stand still for as long as it likes: a thread tells the service that the
program lives. shared() lends one client to all tasks of the running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from . import beats, errors, messages, models
from .admin import AsyncAdminCalls
from .client import Messages
from .connection import Connection
from .held import Held
from .models import Model
from .pool import Pool
from .replies import Reply, TokenCount
from .results import Encoded
from .retry import encode_request, generate_request
from .slots import IDLE_S
from .steps import CANCEL_WAIT_S, POLL_S, Interrupted, OnProgress, Steps
from .streams import AsyncStream as AsyncStream
from .turns import Turns
from .wire import Exchange

T = TypeVar("T")
_OPEN_REQUESTS = 64  # of a connection, until the service has said how many


async def connect(
    socket: str | os.PathLike[str] | None = None, timeout: float = 0.3
) -> AsyncClient:
    """As hearth.client.connect()."""
    client = AsyncClient(socket, timeout)
    await client._run(client._ready())
    return client


class AsyncClient(AsyncAdminCalls):
    """One connection, for the event loop that uses it first. See hearth.client.Client."""

    def __init__(self, socket: str | os.PathLike[str] | None = None, timeout: float = 0.3) -> None:
        """As connect(), but connects at the first call."""
        super().__init__(socket, timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._trimming: asyncio.TimerHandle | None = None
        self._turns = Turns(self._has_room)

    async def offer_model(
        self,
        path_or_files: models.Path | Mapping[str, models.Path],
        dtype: str = "auto",
        *,
        head: str = "auto",
        attention: str = "auto",
        interrupted: Interrupted | None = None,
    ) -> Model:
        """As Client.offer_model()."""
        return await self._run(self._offer(path_or_files, dtype, head, attention), interrupted)

    @overload
    async def generate(
        self,
        model: Model | str,
        messages: Messages,
        stream: Literal[False] = False,
        *,
        retry: bool = True,
        reuse: bool = False,
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
        retry: bool = True,
        reuse: bool = False,
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
        retry: bool = True,
        reuse: bool = False,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Any,
    ) -> Reply | AsyncStream:
        """As Client.generate()."""
        answer = self.stream(
            model,
            messages,
            retry=retry,
            reuse=reuse,
            interrupted=interrupted,
            on_progress=on_progress,
            **sampling,
        )
        return answer if stream else await answer.reply()

    def stream(
        self,
        model: Model | str,
        messages: Messages,
        *,
        retry: bool = True,
        reuse: bool = False,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Any,
    ) -> AsyncStream:
        """The answer as an asynchronous iterator of text pieces, begun by its first step."""
        request = generate_request(model, messages, sampling, retry, reuse)
        return AsyncStream(self, request, interrupted, on_progress)

    async def encode(
        self,
        model: Model | str,
        messages: Messages,
        layer: int | Sequence[int] = -1,
        *,
        copy: bool = True,
        retry: bool = True,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> Encoded:
        """As Client.encode()."""
        request = encode_request(model, messages, layer, options, retry)
        steps = self._encode(request, not isinstance(layer, Sequence), copy, on_progress)
        return await self._run(steps, interrupted)

    async def put(self, picture: object, *, interrupted: Interrupted | None = None) -> Held:
        """As Client.put()."""
        return await self._run(self._put(picture), interrupted)

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

    async def count_tokens(
        self,
        model: Model | str,
        messages: Messages,
        *,
        interrupted: Interrupted | None = None,
        **options: Any,
    ) -> TokenCount:
        """As Client.count_tokens()."""
        return await self._run(self._count_tokens(model, messages, options), interrupted)

    async def plan(self, model: Model | str) -> messages.LoadPlan:
        """As Client.plan()."""
        return await self._run(self._plan(model))

    async def free_memory(
        self, nbytes: int = 0, *, interrupted: Interrupted | None = None
    ) -> messages.MemoryFreed:
        """As Client.free_memory()."""
        return await self._run(self._free_memory(nbytes), interrupted)

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
        connection.exchanges.on_end = self._turns.look
        beats.watch(connection)
        loop.add_reader(connection.fileno(), connection.receive)
        if connection.blocked:
            connection.on_blocked()

    def _detach(self) -> None:
        loop, connection = self._loop, self._connection
        if connection is not None:
            beats.forget(connection)
        if loop is not None and connection is not None and not loop.is_closed():
            loop.remove_reader(connection.fileno())
            loop.remove_writer(connection.fileno())
            connection.on_blocked = lambda: None  # what waits is sent when a loop watches again
        if self._trimming is not None:
            self._trimming.cancel()
            self._trimming = None
        self._loop = None

    def _trim_later(self, after_s: float = IDLE_S) -> None:
        """Idle memory goes back while the loop runs, also when there is no further call."""
        if self._trimming is None and self._loop is not None and after_s < math.inf:
            self._trimming = self._loop.call_later(after_s + 0.1, self._trim_now)

    def _trim_now(self) -> None:
        self._trimming = None
        self._trim_later(self._tidy())

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

    def _has_room(self, calls: int) -> bool:
        """Whether one more call may begin beside so many and what streams have open. A quarter of
        what the connection may have stays for pings and what is given back."""
        welcome, connection = self.welcome, self._connection
        most = welcome.limits.open_requests if welcome is not None else _OPEN_REQUESTS
        taken = calls + (0 if connection is None else len(connection.exchanges))
        return taken < max(most * 3 // 4, 1)

    async def _run(self, steps: Steps[T], interrupted: Interrupted | None = None) -> T:
        """Drives a call to its end, when its turn has come."""
        async with self._turns:
            return await self._drive(steps, interrupted)

    async def _drive(self, steps: Steps[T], interrupted: Interrupted | None) -> T:
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
            if self._connection is not None and self._connection.arenas:
                self._trim_later()

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
        loop = asyncio.get_running_loop()
        changed = loop.create_future()
        exchange.on_change = lambda: None if changed.done() else changed.set_result(None)
        timer = loop.call_later(limit_s if at_most_s is None else at_most_s, exchange.on_change)
        try:
            await changed
        finally:
            timer.cancel()

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


class _Lent:
    """A client in use by tasks of one loop."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.borrowers = 0


_lent: dict[tuple[int, tuple[str, ...]], _Lent] = {}
_pool: Pool[AsyncClient] = Pool()


@contextlib.asynccontextmanager
async def shared(
    socket: str | os.PathLike[str] | None = None, timeout: float = 0.3
) -> AsyncIterator[AsyncClient]:
    """Lends the running loop's client. When all its tasks have given it back, its connection and
    shared memory wait for the next loop: a program may run one loop after another.
    """
    fresh = AsyncClient(socket, timeout)
    key = (id(asyncio.get_running_loop()), fresh.paths)
    if key not in _lent:
        _lent[key] = _Lent(_pool.take(fresh))
    lent = _lent[key]
    lent.borrowers += 1
    try:
        yield lent.client
    finally:
        lent.borrowers -= 1
        if lent.borrowers == 0:
            del _lent[key]
            lent.client._tidy()
            lent.client._detach()
            _pool.give_back(lent.client)


def trim_idle() -> float:
    """As hearth.client.trim_idle(). What a loop uses trims itself while that loop runs."""
    return _pool.trim()
