"""Answers on their way, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors, messages
from .replies import Reply, reply_of
from .retry import Request, cut_off
from .steps import Interrupted, OnProgress
from .wire import Exchange

if TYPE_CHECKING:
    from .aio import AsyncClient
    from .client import Client


class Answer:
    """What has arrived of one answer. `text`: what has been read so far; `thinking`: the thoughts
    before it. Of several answers both are the first one's."""

    def __init__(
        self, request: Request, interrupted: Interrupted | None, on_progress: OnProgress | None
    ) -> None:
        self.text = ""
        self.thinking = ""
        self._request: Request | None = request  # until it cannot be sent again
        self._interrupted = interrupted
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
            elif isinstance(event, messages.Token) and event.text and event.answer == 0:
                if not event.thinking:
                    self.text += event.text
                    return event.text
                self.thinking += event.text
        outcome = self._exchange.outcome
        if isinstance(outcome, messages.Generated) and outcome.receipt.replayed and not self.text:
            self.text = outcome.text  # its pieces went to the connection that was lost
            return outcome.text
        return ""

    def _delivered(self, piece: str) -> str:
        """The caller gets this: from now on nothing can be taken back."""
        self._request = None
        return piece

    def _error_to_cure(self) -> errors.HearthError | None:
        """The error it ended with, if the request is to be sent again. Ends the answer so far."""
        assert self._exchange is not None
        outcome = self._exchange.outcome
        if self._request is None or self._is_cancelled:
            return None
        if not isinstance(outcome, errors.HearthError) or not self._request.use_retry(outcome):
            self._request = None
            return None
        self.text = self.thinking = ""
        return outcome

    def _finished(self) -> Reply:
        assert self._exchange is not None
        return reply_of(self._exchange.result())

    def _check_end(self) -> None:
        """Raises what went wrong; an end that cancel() asked for is none."""
        assert self._exchange is not None
        outcome = self._exchange.outcome
        asked_for = self._is_cancelled and isinstance(outcome, errors.Cancelled)
        if isinstance(outcome, errors.HearthError) and not asked_for:
            raise cut_off(outcome) if self.text else outcome


class Stream(Answer):
    """An answer on its way: an iterator of text pieces. Several may be read by turns.

    text: what has been read so far    reply: the whole answer, after reading the rest of it
    """

    def __init__(
        self,
        client: Client,
        request: Request,
        exchange: Exchange,
        interrupted: Interrupted | None,
        on_progress: OnProgress | None,
    ) -> None:
        super().__init__(request, interrupted, on_progress)
        self._client = client
        self._exchange: Exchange = exchange

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        piece = self._read()
        if not piece:
            raise StopIteration
        return self._delivered(piece)

    def _read(self) -> str:
        """The next piece, or an empty string at the end."""
        while True:
            self._client._guarded(lambda: self._client._wait(self._exchange, self._interrupted))
            piece = self._next_piece()
            if piece:
                return piece
            if self._has_ended:
                request, error = self._request, self._error_to_cure()
                if request is None or error is None:
                    self._check_end()
                    return ""
                again = self._client._send_again(request, error)
                self._exchange = self._client._run(again, self._interrupted)

    def cancel(self) -> None:
        """Asks the service to stop. The iteration ends as soon as it has; `reply` then raises
        Cancelled. Does nothing when the answer is complete."""
        self._is_cancelled = True
        if self._client._connection is not None:
            self._client._connection.cancel(self._exchange)

    @property
    def reply(self) -> Reply:
        """The whole answer. Raises the error that it ended with."""
        while self._read():
            pass
        return self._finished()

    def __del__(self) -> None:
        self._client._drop(self._exchange)


class AsyncStream(Answer):
    """An answer on its way: an asynchronous iterator of text pieces. `text`: what came so far."""

    def __init__(
        self,
        client: AsyncClient,
        request: Request,
        interrupted: Interrupted | None,
        on_progress: OnProgress | None,
    ) -> None:
        super().__init__(request, interrupted, on_progress)
        self._client = client

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> str:
        piece = await self._read()
        if not piece:
            raise StopAsyncIteration
        return self._delivered(piece)

    async def _read(self) -> str:
        """The next piece, or an empty string at the end."""
        client, interrupted = self._client, self._interrupted
        if self._exchange is None:
            if self._is_cancelled or self._request is None:
                return ""
            self._exchange = await client._run(client._begin(self._request), interrupted)
        while True:
            await client._wait(self._exchange, interrupted)
            piece = self._next_piece()
            if piece:
                return piece
            if self._has_ended:
                request, error = self._request, self._error_to_cure()
                if request is None or error is None:
                    self._check_end()
                    return ""
                self._exchange = await client._run(client._send_again(request, error), interrupted)

    def cancel(self) -> None:
        """As Stream.cancel()."""
        self._is_cancelled = True
        if self._exchange is not None and self._client._connection is not None:
            self._client._connection.cancel(self._exchange)

    async def reply(self) -> Reply:
        """The whole answer, after reading the rest of it. Raises the error that it ended with."""
        while await self._read():
            pass
        return self._finished()

    def __del__(self) -> None:
        if self._exchange is not None:
            self._client._drop(self._exchange)
