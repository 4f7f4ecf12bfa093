"""Requests that may be sent a second time, and never run twice.

Each carries a random key. When its end was lost with the worker, the service or the connection, the
same request is sent once more under the same key: a service that has the answer gives it again.
"""

from __future__ import annotations

import operator
import os
import random
import time
from collections.abc import Sequence
from typing import Any

from . import errors, messages
from .chat import Chat, checked_options
from .connection import Connection
from .models import Model
from .steps import Steps, pause

RETRY_AFTER_MAX_S = 2.0  # of what the service asks to wait before the second time
RECONNECT_S = 30.0  # how long a call that lost its connection tries to get another
REFUSED_S = 30.0  # how long a call knocks at a service that takes no requests
_BACK_OFF_S = (0.05, 2.0)  # between attempts: doubled from the first to the second
_CURABLE = ("worker_lost", "shutting_down", "not_reachable")


class Retry:
    """What a call that does no harm twice may still do about errors."""

    def __init__(self) -> None:
        self._is_left = True
        self._refused_since: float | None = None

    def use(self, error: errors.HearthError) -> bool:
        """Whether to try again after this error; True once at most. A service that takes no
        requests for now is asked again for a while."""
        if not (self._is_left and error.retryable and error.code in _CURABLE):
            return False
        if error.code == "shutting_down":
            now = time.monotonic()
            self._refused_since = now if self._refused_since is None else self._refused_since
            return now - self._refused_since < REFUSED_S
        self._is_left = False
        return True


class Request:
    """A generate or encode call: what is sent, to whom, and whether it may be sent once more."""

    def __init__(
        self,
        message: messages.Generate | messages.Encode,
        model: Model | str,
        chat: Chat,
        may_retry: bool,
        may_reuse: bool = False,
    ) -> None:
        message.key = os.urandom(16).hex()
        self.message = message
        self.model = model
        self.chat = chat
        self.may_reuse = may_reuse  # an answer of an earlier request that asked the same
        self.connection: Connection | None = None  # on which it was sent last
        self._retry = Retry() if may_retry else None

    def use_retry(self, error: errors.HearthError) -> bool:
        """Whether to send it again after this error; never before there was a connection: a service
        that is down is an answer of its own."""
        return self._retry is not None and self.connection is not None and self._retry.use(error)


def generate_request(
    model: Model | str,
    turns: object,
    options: dict[str, Any],
    retry: bool,
    reuse: bool = False,
) -> Request:
    """Raises BadRequest or BadPicture, naming what is wrong."""
    chat = Chat(turns)
    options = checked_options("generate", options)
    message = messages.Generate(model="", messages=chat.messages, **options)
    return Request(message, model, chat, retry, reuse)


def encode_request(
    model: Model | str,
    turns: object,
    layer: int | Sequence[int],
    options: dict[str, Any],
    retry: bool,
) -> Request:
    """As generate_request()."""
    chat = Chat(turns)
    try:
        layers = [
            operator.index(one) for one in (layer if isinstance(layer, Sequence) else [layer])
        ]
    except TypeError:
        layers = []
    if not 1 <= len(layers) <= 64:
        raise errors.BadRequest(f"layer is {layer!r}.", "Use a number or a list of 1 to 64.")
    options = checked_options("encode", options)
    message = messages.Encode(model="", messages=chat.messages, layers=layers, **options)
    return Request(message, model, chat, retry)


def reconnected(ready: Any, error: errors.HearthError) -> Steps[None]:
    """Waits as long as the service asked, then for a connection that takes requests. `ready` makes
    the steps of one attempt."""
    deadline = time.monotonic() + RECONNECT_S
    wait_s, longest_s = _BACK_OFF_S
    asked_s = min(error.retry_after_ms / 1000, RETRY_AFTER_MAX_S)
    if error.code == "shutting_down":  # everybody is told so at the same time
        asked_s = max(asked_s, wait_s) * random.uniform(1.0, 1.5)
    yield from pause(asked_s)
    while True:
        gone: errors.HearthError
        try:
            connection = yield from ready()
            if not connection.leaving:
                return
            gone = error
        except errors.HearthError as failed:
            gone = failed
        # Many clients lose one service at the same time: they shall not come back at the same time.
        jittered_s = wait_s * random.uniform(0.5, 1.0)
        if not gone.retryable or time.monotonic() + jittered_s > deadline:
            raise gone
        yield from pause(jittered_s)
        wait_s = min(2 * wait_s, longest_s)


def cut_off(error: errors.HearthError) -> errors.HearthError:
    """The same error, for an answer whose beginning was delivered."""
    if error.code not in _CURABLE:
        return error
    return type(error)(
        f"The answer was cut off. {error.what}",
        error.hint,
        retryable=error.retryable,
        retry_after_ms=error.retry_after_ms,
    )
