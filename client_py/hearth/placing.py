"""Pictures on their way into a connection's `in` arenas, and the arenas themselves."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from . import errors, messages
from .chat import Chat
from .connection import Connection
from .held import Held, Together, Use
from .slots import Arena, Slot, arena_bytes_for
from .steps import Steps, end_of
from .wire import close_all

T = TypeVar("T")


def placed(connection: Connection, chat: Chat, is_named: bool = False) -> Steps[Together]:
    """The chat's pictures in shared memory; what is held there already is not copied.

    is_named: sets chat.names to what they are called by their content.
    """
    assert connection.welcome is not None
    limits = connection.welcome.limits
    if chat.tensors > limits.tensors:
        raise errors.BadRequest(
            f"{chat.tensors} pictures: the service takes at most {limits.tensors} in one request.",
            "Send fewer pictures.",
        )
    memory = Together()
    slot = None
    try:
        for index, picture in enumerate(chat.held):
            use = yield from held(connection, picture)
            memory.add(use)
            chat.place_held(index, use.slot)
        if chat.nbytes:
            slot = yield from _allocated(connection, chat.nbytes)
            memory.add(slot)
            for _ in chat.place(slot):
                yield 0.0
        if is_named:
            chat.names = yield from _paced(chat.naming(slot))
    except BaseException:
        memory.release()
        raise
    return memory


def _paced(naming: Generator[None, None, T]) -> Steps[T]:
    """Its end; each pause of it is one of ours."""
    while True:
        try:
            next(naming)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield 0.0


def held(connection: Connection, picture: Held) -> Steps[Use]:
    """The picture on this connection, written from its source where it is not there yet."""
    use = connection.held.use(picture)
    if use is not None:
        return use
    slot = yield from _allocated(connection, picture.pixels.nbytes)
    try:
        for _ in picture.pixels.write(slot.memory, slot.offset):
            yield 0.0
    except BaseException:
        slot.release()
        raise
    return connection.held.add(picture, slot)


def _allocated(connection: Connection, nbytes: int) -> Steps[Slot]:
    slot = connection.arenas.allocate(nbytes)
    while slot is None:
        yield from _grow(connection, nbytes)
        slot = connection.arenas.allocate(nbytes)
    return slot


def _grow(connection: Connection, nbytes: int) -> Steps[None]:
    """One more arena with room for `nbytes`, or a moment's wait for one that is on its way. When
    the service has no more to give, what we do not use goes back first."""
    if connection.lost is not None:
        raise connection.lost
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
            drop_arenas(connection, unused)  # the service does this first: frames keep their order
            yield from _ask_for_arena(connection, nbytes)
    finally:
        connection.is_growing = False


def _ask_for_arena(connection: Connection, nbytes: int) -> Steps[None]:
    exchange = connection.ask(messages.ArenaAsk(nbytes=arena_bytes_for(nbytes)))
    grant = yield from end_of(connection, exchange, messages.ArenaGrant)
    fds = exchange.take_fds()
    if len(fds) != 1 or grant.nbytes < arena_bytes_for(nbytes):
        close_all(fds)
        raise errors.Internal(f"{grant.nbytes} bytes granted in {len(fds)} descriptors.")
    connection.arenas.add(Arena.map(grant.arena, grant.nbytes, fds[0]))


def drop_arenas(connection: Connection, arenas: list[int]) -> None:
    """Tells the service to take these back. Nobody waits for its answer."""
    for arena in arenas:
        if connection.lost is None:
            connection.abandon(connection.ask(messages.ArenaDrop(arena=arena)))
