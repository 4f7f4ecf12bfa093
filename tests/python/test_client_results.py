"""Hidden states: what encode() sends and returns, and when their memory goes back."""

import asyncio
import gc
import os

import numpy
import pytest

import hearth.aio
import hearth.client
import server as fake
from hearth import errors, messages
from server import (
    CHAT,
    PICTURE,
    STATES,
    TEXT,
    encoded,
    encodes,
    open_files,
    values,
    wait_until,
)


def test_hidden_states_come_with_all_that_belongs_to_them(client, service, package, quiet):
    service.on[messages.Encode] = encodes(STATES)
    found = client.encode("ember", CHAT, 3, dtype="f32", generation_prompt=False, priority="batch")
    assert (values(found.hidden) == STATES).all() and found.hidden.dtype == package.float32
    assert found.prompt_token_ids == [1, 2, 3]
    assert found.receipt.total_ms == 1.0 and found.warnings == []
    (request,) = service.peer.messages_of(messages.Encode)
    assert (request.model, request.layers, request.dtype) == ("ember", [3], "f32")
    assert (request.generation_prompt, request.priority) == (False, "batch")
    picture = request.messages[0].content[1].tensor
    assert service.peer.arena_bytes(picture) == PICTURE.tobytes()


def test_a_copy_is_private_and_its_memory_goes_back_at_once(client, service, package):
    service.on[messages.Encode] = encodes(STATES)
    hidden = client.encode("ember", TEXT).hidden
    (arena, fd) = next(iter(service.peer.out.items()))
    os.pwrite(fd, bytes(STATES.nbytes), 4096)
    assert (values(hidden) == STATES).all()
    client.ping()
    assert service.peer.released == [(arena, 4096)]
    kinds = [type(message) for message in service.peer.received]
    assert kinds.index(messages.Release) < kinds.index(messages.Ping), "with the next frame"


def test_a_view_shows_the_memory_itself_until_nothing_of_it_is_left(client, service, package):
    service.on[messages.Encode] = encodes(STATES)
    hidden = client.encode("ember", TEXT, copy=False).hidden
    (arena, fd) = next(iter(service.peer.out.items()))
    os.pwrite(fd, STATES[::-1].tobytes(), 4096)
    assert (values(hidden) == STATES[::-1]).all()
    part = hidden[1:3].T[2:]
    array = memoryview(numpy.asarray(part))
    del hidden
    gc.collect()
    client.ping()
    del part
    gc.collect()
    client.ping()
    assert service.peer.released == [], "an array made of a slice is left"
    assert array[0, 0] == STATES[3, 2]
    del array
    client.ping()
    assert service.peer.released == [(arena, 4096)]


def test_a_view_may_be_written_and_nobody_else_sees_it(client, service, package, quiet):
    service.on[messages.Encode] = encodes(STATES)
    hidden = client.encode("ember", TEXT, copy=False).hidden
    hidden += 1
    assert (values(hidden) == STATES + 1).all()
    (fd,) = service.peer.out.values()
    assert os.pread(fd, STATES.nbytes, 4096) == STATES.tobytes()


@pytest.mark.parametrize("copy", [True, False])
def test_what_was_written_into_a_view_is_not_in_the_next_result_there(client, service, copy):
    """Pages that were written are this process's own: the trap of copy-on-write."""
    service.on[messages.Encode] = encodes(STATES)
    first = client.encode("ember", TEXT, copy=False).hidden
    first += 1
    del first

    def again(peer, frame, _request):
        tensor = peer.result(STATES * 2, "f32", next(iter(peer.out)))
        peer.send(encoded(tensor), frame.request_id)

    service.on[messages.Encode] = again
    second = client.encode("ember", TEXT, copy=copy).hidden
    assert (values(second) == STATES * 2).all()


def test_a_result_that_shares_its_page_with_others_is_copied(client, service):
    """The service packs results of less than a page; their pages cannot be renewed one by one."""

    def handler(peer, frame, _request):
        arena = next(iter(peer.out), None) or peer.lend()
        offset = 4096 if len(peer.ids_of(messages.Encode)) == 1 else 4096 + 192
        peer.send(encoded(peer.result(STATES, "f32", arena, offset)), frame.request_id)

    service.on[messages.Encode] = handler
    kept = client.encode("ember", TEXT, copy=False).hidden
    kept += 1
    beside = client.encode("ember", TEXT, copy=False).hidden
    assert (values(beside) == STATES).all() and (values(kept) == STATES + 1).all()
    client.ping()
    assert service.peer.released == [(1, 4096 + 192)], "at once"
    beside += 1
    del kept
    client.ping()
    assert len(service.peer.released) == 2


def test_several_layers_are_several_tensors_that_go_one_by_one(client, service, package):
    service.on[messages.Encode] = encodes(STATES, STATES * 2, STATES * 3)
    hidden = client.encode("ember", TEXT, (0, 5, -1), copy=False).hidden
    assert [(values(one) == STATES * n).all() for one, n in zip(hidden, (1, 2, 3), strict=True)]
    assert service.peer.messages_of(messages.Encode)[0].layers == [0, 5, -1]
    del hidden[1]
    client.ping()
    assert [offset for _, offset in service.peer.released] == [8192]
    hidden.clear()
    client.ping()
    assert sorted(offset for _, offset in service.peer.released) == [4096, 8192, 12288]
    assert len(service.peer.messages_of(messages.Release)) == 2, "both in one message"


@pytest.mark.parametrize("layer", [[], [1] * 65, "x", None, 1.5])
def test_a_layer_that_is_none_is_refused(client, service, layer):
    with pytest.raises(errors.BadRequest, match="layer"):
        client.encode("ember", TEXT, layer)
    assert not service.peer.messages_of(messages.Encode)


def test_an_option_of_generate_is_refused_by_encode(client):
    with pytest.raises(errors.BadRequest, match="no parameter max_tokens of encode"):
        client.encode("ember", TEXT, max_tokens=3)
    with pytest.raises(errors.BadRequest, match="dtype is 'f64': use one of model, f32"):
        client.encode("ember", TEXT, dtype="f64")


@pytest.mark.parametrize("copy", [True, False])
def test_bf16_is_exact(client, service, package, copy):
    bits = (STATES.view("u4") >> 16).astype("u2")
    service.on[messages.Encode] = encodes(bits, dtype="bf16")
    hidden = client.encode("ember", TEXT, copy=copy).hidden
    wanted = (bits.astype("u4") << 16).view("f4")
    assert hidden.dtype == (numpy.float32 if package is numpy else package.bfloat16)
    assert (values(hidden) == wanted).all()


@pytest.mark.parametrize("copy", [True, False])
def test_a_prompt_of_no_tokens_is_an_empty_tensor(client, service, package, copy):
    service.on[messages.Encode] = encodes(STATES[:0])
    hidden = client.encode("ember", TEXT, copy=copy).hidden
    assert tuple(hidden.shape) == (0, 7)
    client.ping()
    assert len(service.peer.released) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"arena": 77},
        {"offset": 1 << 40},
        {"offset": (1 << 20) - 4},
        {"nbytes": 144},
        {"shape": [5, 8]},
        {"shape": [-5, -7]},
        {"dtype": "f99"},
        {"dtype": "f99", "nbytes": 0, "shape": [0]},
        {"offset": 4097},
    ],
)
def test_a_description_that_cannot_be_is_an_error_and_no_crash(client, service, wrong):
    def handler(peer, frame, _request):
        tensor = peer.result(STATES, "f32")
        for name, value in wrong.items():
            setattr(tensor, name, value)
        peer.send(encoded(tensor), frame.request_id)

    service.on[messages.Encode] = handler
    with pytest.raises(errors.Internal, match="cannot be"):
        client.encode("ember", TEXT)
    client.ping()


@pytest.mark.parametrize("sizes", [[], [8192, 8192], [4096], [12288]])
def test_an_arena_without_exactly_its_memory_ends_the_connection(client, service, sizes):
    def handler(peer, _frame, _request):
        fds = [os.memfd_create("x", os.MFD_CLOEXEC) for _ in sizes]
        for fd, size in zip(fds, sizes, strict=True):
            os.ftruncate(fd, size)
        peer.send(messages.OutArena(arena=1, nbytes=8192), fds=fds)
        for fd in fds:
            os.close(fd)

    service.on[messages.Encode] = handler
    before = open_files()
    with pytest.raises(errors.Internal, match="out_arena 1"):
        client.encode("ember", TEXT)
    wait_until(lambda: service.peer.is_gone)
    assert open_files() <= before


def test_a_full_out_arena_is_an_error_of_its_own_that_is_not_retried(client, service):
    service.on[messages.Encode] = fake.fails("out_of_arena", "8 results fill it.", retryable=True)
    with pytest.raises(errors.OutOfArena, match="8 results fill it"):
        client.encode("ember", TEXT)
    assert len(service.peer.messages_of(messages.Encode)) == 1


def test_an_exception_of_the_caller_s_own_function_cancels_the_request(client, service):
    def handler(peer, frame, _request):
        peer.send(messages.Progress(stage="prefill"), frame.request_id)

    def on_progress(_progress):
        raise ZeroDivisionError

    service.on[messages.Encode] = handler
    with pytest.raises(ZeroDivisionError):
        client.encode("ember", TEXT, on_progress=on_progress)
    wait_until(lambda: service.peer.is_gone)

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            with pytest.raises(ZeroDivisionError):
                await client.encode("ember", TEXT, on_progress=on_progress)
            await client.ping()

    asyncio.run(main())
    assert service.peer.ids_of(messages.Cancel) == service.peer.ids_of(messages.Encode)
