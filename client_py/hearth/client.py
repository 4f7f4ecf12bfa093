"""hearth for Python programs: offer a model, generate text about pictures, see how things are.

    import hearth.client

    with hearth.client.connect() as client:
        chat = [{"role": "user", "content": ["What is in this picture?", picture]}]
        print(client.generate("ember", chat).text)
        for piece in client.generate("ember", chat, stream=True):
            print(piece, end="", flush=True)

Pictures are torch tensors or numpy arrays, u8 or float 0..1, [height, width, channels],
[height, width] or a batch of them; `{"image": picture, "max_pixels": 500_000}` has limits of its
own. `{"video": [frames, height, width, channels], "fps": 24.0}` is a video of which two frames a
second are sent, with `"frames": 16` at most 16, evenly spaced; `"indices": [...]` says that these
frames were chosen already (docs/video.md). put() keeps a picture in shared memory for many
requests. A client belongs to one thread; shared() hands clients out to threads. What fails raises a
HearthError: one class for each error code, such as NotReachable, each saying what to do.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Literal, TypeVar, overload

from . import errors, messages, models
from .admin import AdminCalls
from .errors import HearthError
from .held import Held as Held
from .models import Model
from .pool import Pool
from .replies import Reply as Reply
from .replies import TokenCount as TokenCount
from .results import Encoded as Encoded
from .retry import Request, encode_request, generate_request
from .steps import CANCEL_WAIT_S, POLL_S, Interrupted, OnProgress, Steps
from .streams import Stream as Stream
from .wire import Exchange

T = TypeVar("T")
Messages = Sequence[Mapping[str, Any]]

globals().update(errors.BY_NAME)
if TYPE_CHECKING:

    def __getattr__(name: str) -> type[HearthError]: ...


def connect(socket: str | os.PathLike[str] | None = None, timeout: float = 0.3) -> Client:
    """A client connected to the service.

    socket: where it listens; default: $HEARTH_SOCKET, $XDG_RUNTIME_DIR/hearth/hearth.sock,
    /run/hearth/hearth.sock. Raises NotReachable when nobody answers within `timeout` seconds,
    Version when client and service are too far apart.
    """
    client = Client(socket, timeout)
    client._run(client._ready())
    return client


class Client(AdminCalls):
    """One connection, for one thread at a time. A connection that was lost while no request was
    open is made anew by the next call, which also offers its model again.

    Calls that take `interrupted` ask it at least every 20 ms while they wait. When it returns True
    (then Cancelled is raised) or raises, the request is cancelled first.
    """

    def __init__(self, socket: str | os.PathLike[str] | None = None, timeout: float = 0.3) -> None:
        """As connect(), but connects at the first call."""
        super().__init__(socket, timeout)

    def offer_model(
        self,
        path_or_files: models.Path | Mapping[str, models.Path],
        dtype: str = "auto",
        *,
        head: str = "auto",
        attention: str = "auto",
        interrupted: Interrupted | None = None,
    ) -> Model:
        """Shows a model's files to the service; nothing is loaded yet.

        path_or_files: a Hugging Face folder, one .safetensors file, or {label: path} where labels
        are file names as in such a folder ("tokenizer.json" beside a single file's weights).
        dtype: what the weights are kept in: auto (as the checkpoint has them), float32, bfloat16;
        float8, int8 and int4 are rounded to while loading. docs/speed.md says what that costs.
        head: what the output layer is kept in when dtype rounds: auto (int8) or bfloat16.
        attention: to find faults with: auto, flash, sdpa or eager (docs/protocol.md).
        Raises BadModel or Unsupported, naming file and reason.
        """
        return self._run(self._offer(path_or_files, dtype, head, attention), interrupted)

    @overload
    def generate(
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
    def generate(
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
    ) -> Stream: ...
    def generate(
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
    ) -> Reply | Stream:
        """Continues a chat, loading the model first where needed.

        model: from offer_model(), or the name of a model that the service publishes ("ember").
        messages: turns {"role": "system" | "user" | "assistant", "content": a text, or a list of
        texts, pictures and videos in the order in which the model shall see them}.
        sampling: the parameters of docs/generation.md, such as max_tokens, temperature, seed,
        stop, answers, beams, thinking or json_schema, and min_pixels, max_pixels, priority;
        docs/protocol.md has their defaults and limits.
        stream: True returns an iterator of text pieces instead of the whole Reply. Do not leave it
        unread for long: the service cancels what is open when it has heard nothing for 30 s.
        retry: when the engine, the service or the connection is lost before the first piece was
        delivered, the request is sent once more under the same key, so that it does not run twice.
        reuse: True may give the answer of an earlier equal request of this user: equal model,
        words, pixels and parameters, the seed included. Its receipt says `replayed`. Costs a hash
        of the pixels, about 1 ms a megabyte.
        Raises BadRequest or BadPicture before anything is sent, or the service's error.
        """
        request = generate_request(model, messages, sampling, retry, reuse)
        answer = self._run(self._begin_stream(request, interrupted, on_progress), interrupted)
        return answer if stream else answer.reply

    def encode(
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
        """Hidden states of a chat's prompt: a tensor [tokens, hidden] for one layer, a list of them
        for a sequence of layers.

        layer: 0 is the embeddings, i the output of layer i; -1 the last, after the final norm.
        copy: False gives tensors that lie in shared memory. They may be written to (nobody else
        sees that) and stay valid as long as they are kept, whatever becomes of client and service;
        while they are, they count towards what the service lends this user.
        options: dtype (model, f32, f16, bf16), generation_prompt, min_pixels, max_pixels, priority.
        Raises as generate() does, and OutOfArena when results that are kept fill the memory.
        """
        request = encode_request(model, messages, layer, options, retry)
        steps = self._encode(request, not isinstance(layer, Sequence), copy, on_progress)
        return self._run(steps, interrupted)

    def put(self, picture: object, *, interrupted: Interrupted | None = None) -> Held:
        """Copies a picture, batch or video to shared memory, where it stays: use what this returns
        in its place in messages, as often as you like, without another copy. Equal pictures share
        their memory. Ends with Held.close(), a `with` block or the last reference.
        Raises BadPicture or BadRequest.
        """
        return self._run(self._put(picture), interrupted)

    def trim(self) -> None:
        """Gives all shared memory back that is not in use now, but 8 MiB. A client does it by
        itself at its first call after a minute's pause."""
        self._guarded(lambda: self._tidy(quiet_s=0.0))

    def load(
        self,
        model: Model | str,
        *,
        interrupted: Interrupted | None = None,
        on_progress: OnProgress | None = None,
    ) -> messages.ModelLoaded:
        """Makes a model ready and holds it until unload() or the connection's end."""
        return self._run(self._load(model, on_progress), interrupted)

    def unload(self, model: Model | str) -> bool:
        """Gives up our hold. Returns whether the model is still in memory, for others."""
        return self._run(self._unload(model))

    def count_tokens(
        self,
        model: Model | str,
        messages: Messages,
        *,
        interrupted: Interrupted | None = None,
        **options: Any,
    ) -> TokenCount:
        """What a chat would take of a model's context. The model need not be loaded, and no pixel
        is copied or sent: only the sizes of pictures and videos count.

        options: thinking, min_pixels, max_pixels, as in generate(). Raises as generate() does, but
        a chat that is too long is only counted.
        """
        return self._run(self._count_tokens(model, messages, options), interrupted)

    def plan(self, model: Model | str) -> messages.LoadPlan:
        """What loading a model would take, whether it fits, and which idle models would leave."""
        return self._run(self._plan(model))

    def free_memory(
        self, nbytes: int = 0, *, interrupted: Interrupted | None = None
    ) -> messages.MemoryFreed:
        """Has idle models leave the device until so many bytes are given back, 0: all of them. Who
        holds one finds it warm or cold: its next request brings it back."""
        return self._run(self._free_memory(nbytes), interrupted)

    def models(self) -> list[messages.ModelEntry]:
        """The models that this connection may use."""
        return self._run(self._list_models())

    def status(self) -> messages.StatusReport:
        """How the service is doing: worker, models, clients, memory."""
        return self._run(self._status())

    def ping(self) -> float:
        """Asks for a sign of life. Returns the round trip in milliseconds."""
        return self._run(self._ping())

    def close(self) -> None:
        """Ends the connection; what is open on it is cancelled by the service."""
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _begin_stream(
        self, request: Request, interrupted: Interrupted | None, on_progress: OnProgress | None
    ) -> Steps[Stream]:
        """A step of the call, so that no request is ever open without its Stream to end it."""
        exchange = yield from self._begin(request)
        return Stream(self, request, exchange, interrupted, on_progress)

    # --- waiting ---

    def _run(self, steps: Steps[T], interrupted: Interrupted | None = None) -> T:
        """Drives a call to its end."""
        try:
            return self._guarded(lambda: self._drive(steps, interrupted))
        finally:
            steps.close()

    def _drive(self, steps: Steps[T], interrupted: Interrupted | None) -> T:
        while True:
            if interrupted is not None:
                self._stop_if(interrupted)
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Exchange):
                self._wait(step, interrupted)
            else:
                time.sleep(step)

    def _wait(self, exchange: Exchange, interrupted: Interrupted | None) -> None:
        """Until an event or the end has arrived. Cancels the request when interrupted."""
        assert self._connection is not None
        self._stop_if(interrupted, exchange)
        while not exchange.ready:
            limit_s = self._connection.tick()
            self._connection.wait(limit_s if interrupted is None else min(limit_s, POLL_S))
            self._stop_if(interrupted, exchange)

    def _stop_if(self, interrupted: Interrupted | None, exchange: Exchange | None = None) -> None:
        """Asks the callback, at a point where the connection is in order."""
        if interrupted is None:
            return
        reason: BaseException
        try:
            if not interrupted():
                return
            reason = errors.Cancelled("The caller interrupted the request.")
        except BaseException as raised:
            reason = raised
        if exchange is not None:
            self._give_up(exchange)
        raise _Stopped(reason)

    def _guarded(self, act: Callable[[], T]) -> T:
        """Runs what reads and writes. An exception that a signal handler raised may have come
        between taking bytes and keeping them, so the connection cannot be used any further; its
        end cancels what is open.
        """
        try:
            return act()
        except errors.HearthError:
            raise
        except _Stopped as stopped:
            reason = stopped.reason
        except BaseException:
            if self._connection is not None:
                self._connection.lose(errors.NotReachable("The connection was interrupted."))
            raise
        raise reason

    def _give_up(self, exchange: Exchange) -> None:
        """Cancels, and leaves the service a moment to agree."""
        connection = self._connection
        if connection is None or exchange.outcome is not None:
            return
        deadline = time.monotonic() + CANCEL_WAIT_S
        connection.cancel(exchange)
        while exchange.outcome is None and time.monotonic() < deadline:
            connection.wait(max(0.0, deadline - time.monotonic()))
        connection.abandon(exchange)

    def _drop(self, exchange: Exchange) -> None:
        """Cancels without waiting: nobody is there any more."""
        if self._connection is not None and exchange.outcome is None and not exchange.abandoned:
            self._connection.cancel(exchange)
            self._connection.abandon(exchange)


class _Stopped(Exception):
    """The caller's `interrupted` said so; `reason` is what the caller shall see."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(reason)
        self.reason = reason


_pool: Pool[Client] = Pool()


@contextlib.contextmanager
def shared(socket: str | os.PathLike[str] | None = None, timeout: float = 0.3) -> Iterator[Client]:
    """Lends a client that nobody else uses meanwhile. Afterwards its connection and shared memory
    wait for the next borrower, so that many short calls cost one connection. Do not keep streams.
    """
    client = _pool.take(Client(socket, timeout))
    try:
        yield client
    finally:
        _pool.give_back(client)


def trim_idle() -> float:
    """Lets go of shared memory that clients of shared() have not used for a minute, 8 MiB each
    excepted. From any thread. Returns after how many seconds to call again: infinity for never."""
    return _pool.trim()
