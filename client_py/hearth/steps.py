"""How a call is written once for the blocking client and the asyncio one.

A call is a generator. It yields an Exchange when it needs its end, or a number of seconds to pause
(0: only look whether the caller still wants it). Who drives it does the waiting.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Callable, TypeVar, Union

from . import errors, messages
from .wire import Exchange

if TYPE_CHECKING:
    from .connection import Connection

T = TypeVar("T")
Steps = Generator[Union[Exchange, float], None, T]
OnProgress = Callable[[messages.Progress], None]
Interrupted = Callable[[], bool]

POLL_S = 0.02  # how often an `interrupted` callback is asked
CANCEL_WAIT_S = 0.2  # how long an interrupted call waits for the service to agree


def pause(seconds: float) -> Steps[None]:
    """Lets time pass in pieces, so that the caller can change its mind."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield min(POLL_S, max(0.0, end - time.monotonic()))


def expect(exchange: Exchange, kind: type[T]) -> T:
    """The reply, which must be of this kind. Raises what the request ended with."""
    reply = exchange.result()
    if not isinstance(reply, kind):
        raise errors.Internal(f"The service answered with {reply.NAME}.")
    return reply


def end_of(
    connection: Connection,
    exchange: Exchange,
    kind: type[T],
    on_progress: OnProgress | None = None,
) -> Steps[T]:
    """The reply, after telling of all progress on the way. A caller that leaves earlier cancels the
    request, and what it may have brought already goes back."""
    try:
        while exchange.outcome is None or exchange.events:
            yield exchange
            while exchange.events:
                event = exchange.events.popleft()
                if isinstance(event, messages.Progress) and on_progress is not None:
                    on_progress(event)
    except BaseException:
        connection.cancel(exchange)
        connection.abandon(exchange)
        raise
    return expect(exchange, kind)
