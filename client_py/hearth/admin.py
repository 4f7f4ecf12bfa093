"""Looking after a running service: what is at work, who may stay, when it pauses.

    with hearth.client.connect() as client:
        for job in client.jobs():
            print(job.job, job.client, job.state)
        client.drain(timeout=60)

Client and AsyncClient have these calls. Those marked "administrators" raise Denied for everybody
else: administrators are root, the user who runs the service, and whom its settings name
(docs/service.md).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable, TypeVar

from . import errors, messages
from .caller import Caller
from .models import Model
from .steps import Interrupted, Steps, end_of

T = TypeVar("T")
_PAGE = 256  # records in one reply


class _Steps(Caller):
    """What both kinds of client say."""

    def _about(
        self, model: Model | str, make: Callable[[str], messages.Struct], kind: type[T]
    ) -> Steps[T]:
        connection, name = yield from self._knowing(model)
        return (yield from end_of(connection, connection.ask(make(name)), kind))

    def _do(self, message: messages.Struct) -> Steps[str]:
        return (yield from self._ask(message, messages.Done)).text

    def _list_jobs(self) -> Steps[list[messages.JobEntry]]:
        return (yield from self._ask(messages.ListJobs(), messages.JobList)).jobs

    def _pin(self, model: Model | str, pin: bool) -> Steps[str]:
        def make(name: str) -> messages.Struct:
            return messages.PinModel(model=name, pin=pin)

        return (yield from self._about(model, make, messages.Done)).text

    def _evict(self, model: Model | str, to: str) -> Steps[messages.MemoryFreed]:
        def make(name: str) -> messages.Struct:
            return messages.EvictModel(model=name, to=to)

        return (yield from self._about(model, make, messages.MemoryFreed))

    def _list_requests(self, limit: int, before: int) -> Steps[list[messages.RequestRecord]]:
        records: list[messages.RequestRecord] = []
        while len(records) < limit:
            asked = messages.ListRequests(before=before, limit=min(limit - len(records), _PAGE))
            page = yield from self._ask(asked, messages.RequestList)
            records += page.requests
            if not page.more or not page.requests:
                break
            before = page.requests[-1].request
        return records

    def _show_config(self) -> Steps[messages.ConfigList]:
        return (yield from self._ask(messages.ShowConfig(), messages.ConfigList))

    def _reload_config(self, apply: bool) -> Steps[messages.ConfigReport]:
        asked = messages.ReloadConfig(apply=apply)
        return (yield from self._ask(asked, messages.ConfigReport))

    def _metrics(self) -> Steps[str]:
        return (yield from self._ask(messages.Metrics(), messages.MetricsText)).text


class AdminCalls(_Steps):
    """The calls of the blocking client."""

    if TYPE_CHECKING:

        def _run(self, steps: Steps[T], interrupted: Interrupted | None = None) -> T: ...

    def ask(
        self, message: messages.Struct, kind: type[T], interrupted: Interrupted | None = None
    ) -> T:
        """Sends any request of the contract (docs/protocol.md) and returns its reply, which is of
        this kind. Raises the error that it ended with."""
        return self._run(self._ask(message, kind), interrupted)

    def jobs(self) -> list[messages.JobEntry]:
        """What is at work and what waits: running first, then in the order in which it will be
        served. Administrators see all jobs, others those of their user."""
        return self._run(self._list_jobs())

    def cancel_job(self, job: int) -> str:
        """Ends a request of this user, whichever program sent it; administrators anybody's. The
        program gets Cancelled. Raises Denied or BadRequest. As all calls that return a text: what
        there is to say about it."""
        return self._run(self._do(messages.CancelJob(job=job)))

    def kick(self, connection: int) -> str:
        """Administrators: closes a connection (ids are in status().clients) and takes back all
        that it holds. Its program may connect again."""
        return self._run(self._do(messages.KickClient(connection=connection)))

    def pin(self, model: Model | str, pin: bool = True) -> str:
        """Administrators: the model does not leave the device to make room or for being idle.
        Nothing is loaded. pin: False lets it leave again."""
        return self._run(self._pin(model, pin))

    def evict(
        self, model: Model | str, to: str = "cold", *, interrupted: Interrupted | None = None
    ) -> messages.MemoryFreed:
        """Has a model leave the device that this user holds; administrators any, pinned ones too.
        to: "warm" leaves its weights in pinned memory if there is room, "cold" nothing.
        Raises Busy while it is at work, Denied or UnknownModel."""
        return self._run(self._evict(model, to), interrupted)

    def drain(
        self, timeout: float = 45.0, then: str = "stay", *, interrupted: Interrupted | None = None
    ) -> str:
        """Administrators: takes no new requests and returns when the open ones have ended, which
        they have to within `timeout` seconds. then: "stay" drained until resume(), or "stop" the
        service. Who stops waiting here does not stop the draining: resume() does."""
        message = messages.Drain(timeout_ms=_ms(timeout), then=then)
        return self._run(self._do(message), interrupted)

    def suspend(self, timeout: float = 10.0, *, interrupted: Interrupted | None = None) -> str:
        """Administrators: lets requests at work end for `timeout` seconds, has all others wait,
        and ends the engine process, so that the machine can sleep. resume() goes on."""
        return self._run(self._do(messages.Suspend(timeout_ms=_ms(timeout))), interrupted)

    def resume(self) -> str:
        """Administrators: takes requests again after drain() or suspend()."""
        return self._run(self._do(messages.Resume()))

    def upgrade(self, *, interrupted: Interrupted | None = None) -> str:
        """Administrators: the broker replaces itself by the program that is installed at its path.
        Clients stay connected, and answers under way go on. Raises Version or TimedOut when the new
        program does not pass its own check, Busy when it has to be tried again; then nothing has
        changed."""
        return self._run(self._do(messages.Upgrade()), interrupted)

    def clear_quarantine(self, model: str = "") -> str:
        """Administrators: gives models that ended the engine another chance. model: id or name;
        empty: all of them. status().quarantined lists them."""
        return self._run(self._do(messages.ClearQuarantine(model=model)))

    def requests(self, limit: int = _PAGE, before: int = 0) -> list[messages.RequestRecord]:
        """The latest requests that ended, latest first; administrators see all, others those of
        their user. before: only those with a smaller number, which is `request` of a record."""
        return self._run(self._list_requests(limit, before))

    def show_config(self) -> messages.ConfigList:
        """The settings that count, each with where it was said, and the files that were read
        (docs/config.md)."""
        return self._run(self._show_config())

    def reload_config(self, apply: bool = True) -> messages.ConfigReport:
        """Administrators: has the service read its configuration again. What takes effect live
        counts from here on or, if anything is wrong, nothing: then `problems` says what.
        apply: False only says what would change."""
        return self._run(self._reload_config(apply))

    def metrics(self) -> str:
        """The service's metrics, in Prometheus' text format (docs/metrics.md)."""
        return self._run(self._metrics())


class AsyncAdminCalls(_Steps):
    """The same for the asyncio client."""

    if TYPE_CHECKING:

        async def _run(self, steps: Steps[T], interrupted: Interrupted | None = None) -> T: ...

    async def ask(
        self, message: messages.Struct, kind: type[T], interrupted: Interrupted | None = None
    ) -> T:
        """As Client.ask()."""
        return await self._run(self._ask(message, kind), interrupted)

    async def jobs(self) -> list[messages.JobEntry]:
        """As Client.jobs()."""
        return await self._run(self._list_jobs())

    async def cancel_job(self, job: int) -> str:
        """As Client.cancel_job()."""
        return await self._run(self._do(messages.CancelJob(job=job)))

    async def kick(self, connection: int) -> str:
        """As Client.kick()."""
        return await self._run(self._do(messages.KickClient(connection=connection)))

    async def pin(self, model: Model | str, pin: bool = True) -> str:
        """As Client.pin()."""
        return await self._run(self._pin(model, pin))

    async def evict(
        self, model: Model | str, to: str = "cold", *, interrupted: Interrupted | None = None
    ) -> messages.MemoryFreed:
        """As Client.evict()."""
        return await self._run(self._evict(model, to), interrupted)

    async def drain(
        self, timeout: float = 45.0, then: str = "stay", *, interrupted: Interrupted | None = None
    ) -> str:
        """As Client.drain()."""
        message = messages.Drain(timeout_ms=_ms(timeout), then=then)
        return await self._run(self._do(message), interrupted)

    async def suspend(
        self, timeout: float = 10.0, *, interrupted: Interrupted | None = None
    ) -> str:
        """As Client.suspend()."""
        return await self._run(self._do(messages.Suspend(timeout_ms=_ms(timeout))), interrupted)

    async def resume(self) -> str:
        """As Client.resume()."""
        return await self._run(self._do(messages.Resume()))

    async def upgrade(self, *, interrupted: Interrupted | None = None) -> str:
        """As Client.upgrade()."""
        return await self._run(self._do(messages.Upgrade()), interrupted)

    async def clear_quarantine(self, model: str = "") -> str:
        """As Client.clear_quarantine()."""
        return await self._run(self._do(messages.ClearQuarantine(model=model)))

    async def requests(self, limit: int = _PAGE, before: int = 0) -> list[messages.RequestRecord]:
        """As Client.requests()."""
        return await self._run(self._list_requests(limit, before))

    async def show_config(self) -> messages.ConfigList:
        """As Client.show_config()."""
        return await self._run(self._show_config())

    async def reload_config(self, apply: bool = True) -> messages.ConfigReport:
        """As Client.reload_config()."""
        return await self._run(self._reload_config(apply))

    async def metrics(self) -> str:
        """As Client.metrics()."""
        return await self._run(self._metrics())


def _ms(seconds: float) -> int:
    if not math.isfinite(seconds):
        raise errors.BadRequest(f"A time of {seconds} seconds is none.", "Give a finite number.")
    return round(1000 * seconds)
