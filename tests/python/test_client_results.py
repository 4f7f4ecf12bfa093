"""Hidden states: what encode() sends and returns, and when their memory goes back."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings

import numpy
import pytest

import hearth.aio
import hearth.client
import server as fake
from hearth import errors, messages, results
from server import encoded, encodes, open_files, silent, wait_until
from test_client_processes import in_child

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]
STATES = numpy.random.default_rng(3).standard_normal((5, 7)).astype("f4")
PACKAGES = ["torch", "numpy"]


@pytest.fixture(params=PACKAGES)
def package(request, monkeypatch):
    """torch, and how things are where it is not installed."""
    if request.param == "torch":
        return pytest.importorskip("torch")
    monkeypatch.setattr(results, "_torch", lambda: None)
    return numpy


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def values(tensor):
    return numpy.array(tensor.tolist(), "f4")


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


def test_a_view_outlives_service_client_and_arena(service, package):
    service.on[messages.Encode] = encodes(STATES)
    client = hearth.client.connect(service.path)
    views = [client.encode("ember", TEXT, copy=False).hidden for _ in range(2)]
    service.peer.send(messages.OutArenaGone(arena=service.arena_count))
    client.ping()
    client.close()
    service.stop()
    del client
    gc.collect()
    for view in views:
        assert (values(view) == STATES).all()
        view += 1


def test_a_view_of_a_lost_connection_is_not_released_on_the_next_one(client, service):
    service.on[messages.Encode] = encodes(STATES)
    hidden = client.encode("ember", TEXT, copy=False).hidden
    service.stop()
    service.start()
    client.encode("ember", TEXT)
    del hidden
    client.ping()
    assert service.peer.released == [(2, 4096)]


def test_a_view_of_an_arena_that_is_gone_is_not_released(client, service):
    service.on[messages.Encode] = encodes(STATES)
    kept = client.encode("ember", TEXT, copy=False).hidden
    service.peer.send(messages.OutArenaGone(arena=1))
    client.ping()
    del kept
    client.ping()
    assert service.peer.released == []


def test_a_release_is_sent_while_another_request_waits(client, service, monkeypatch):
    monkeypatch.setattr("hearth.connection.PING_AFTER_S", 3600.0)  # with which it would go, too
    monkeypatch.setattr("hearth.connection.SILENT_AFTER_S", 3600.0)
    service.on[messages.Encode] = encodes(STATES)
    service.on[messages.Generate] = silent
    kept = [client.encode("ember", TEXT, copy=False).hidden]

    def interrupted():
        if service.peer.messages_of(messages.Generate):
            kept.clear()
        return bool(service.peer.released)

    with pytest.raises(errors.Cancelled):
        client.generate("ember", TEXT, interrupted=interrupted)


def test_a_release_goes_with_any_frame(client, service):
    service.on[messages.Encode] = encodes(STATES)
    service.on[messages.Generate] = silent
    kept = [client.encode("ember", TEXT, copy=False).hidden]
    stream = client.generate("ember", TEXT, stream=True)
    kept.clear()
    stream.cancel()
    wait_until(lambda: service.peer.messages_of(messages.Cancel))
    assert service.peer.released == [(1, 4096)]


def mapped(fds):
    """How many mappings this process has of these files."""
    inodes = {os.fstat(fd).st_ino for fd in fds}
    with open("/proc/self/maps") as maps:
        return sum(int(line.split()[4]) in inodes for line in maps)


@pytest.mark.parametrize("end", ["close", "loss"])
def test_a_connection_that_has_ended_keeps_no_memory(client, service, end):
    service.on[messages.Encode] = encodes(STATES)
    held = client.put(PICTURE)
    client.encode("ember", TEXT)
    peer = service.peer
    fds = [os.dup(fd) for fd in (*peer.arenas.values(), *peer.out.values())]
    assert mapped(fds) == 3
    if end == "close":
        client.close()
    else:
        service.on[messages.Ping] = lambda peer, *_: peer.close()
        with pytest.raises(errors.NotReachable):
            client.ping()
    gc.collect()
    assert mapped(fds) == 0 and not held.is_closed
    for fd in fds:
        os.close(fd)


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


def test_an_answer_that_comes_too_late_is_released(client, service):
    service.on[messages.Encode] = silent
    with pytest.raises(errors.Cancelled):
        client.encode("ember", TEXT, interrupted=lambda: service.peer.ids_of(messages.Encode))
    tensor = service.peer.result(STATES, "f32")
    service.peer.send(encoded(tensor), service.peer.ids_of(messages.Encode)[0])
    client.ping()
    client.ping()
    assert service.peer.released == [(tensor.arena, 4096)]


def test_an_answer_that_comes_with_the_interrupt_is_released_once(client, service):
    service.on[messages.Encode] = silent

    def late(peer, frame, _cancel):
        peer.send(encoded(peer.result(STATES, "f32")), frame.request_id)

    service.on[messages.Cancel] = late
    with pytest.raises(errors.Cancelled):
        client.encode("ember", TEXT, interrupted=lambda: service.peer.ids_of(messages.Encode))
    client.ping()
    assert service.peer.released == [(1, 4096)]


def test_tensors_that_do_not_fit_the_question_are_released(client, service):
    service.on[messages.Encode] = encodes(STATES, STATES)
    with pytest.raises(errors.Internal, match="2 tensors came for 1"):
        client.encode("ember", TEXT)
    client.ping()
    assert sorted(service.peer.released) == [(1, 4096), (1, 8192)]


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


def test_no_descriptor_of_results_stays_open(service):
    def use():
        with hearth.client.connect(service.path) as client:
            service.on[messages.Encode] = encodes(STATES)
            client.encode("ember", TEXT)
            kept = client.encode("ember", TEXT, copy=False)
        assert kept
        wait_until(lambda: service.peer.is_gone)
        for fd in service.peer.out.values():
            os.close(fd)
        service.peer.out = {}

    use()
    gc.collect()
    before = open_files()
    for _ in range(5):
        use()
    gc.collect()
    assert open_files() == before


def test_threads_may_let_go_of_views_while_the_client_works(client, service):
    rounds, threads = 40, 4
    service.on[messages.Encode] = encodes(*[STATES] * threads)
    barrier = threading.Barrier(threads + 1)
    boxes = [[] for _ in range(threads)]

    def drop(box):
        for _ in range(rounds):
            barrier.wait(30)
            box.clear()

    running = [threading.Thread(target=drop, args=[box]) for box in boxes]
    for thread in running:
        thread.start()
    for _ in range(rounds):
        hidden = client.encode("ember", TEXT, list(range(threads)), copy=False).hidden
        for box in boxes:
            box.append(hidden.pop())
        barrier.wait(30)
        client.ping()
    for thread in running:
        thread.join(30)
    client.ping()
    released = service.peer.released
    assert len(released) == len(set(released)) == rounds * threads


def test_many_releases_are_cut_into_messages(client, service):
    service.on[messages.Encode] = encodes(STATES)
    client.encode("ember", TEXT)
    tensors = [
        messages.Tensor(arena=1, offset=64 * i, nbytes=4, dtype="f32", shape=[1])
        for i in range(5000)
    ]
    client._connection.results.discard(tensors)
    client.ping()
    releases = service.peer.messages_of(messages.Release)
    assert [len(release.slots) for release in releases] == [4096, 905]


def test_a_forked_child_lets_go_without_a_word(client, service):
    service.on[messages.Encode] = encodes(STATES)
    kept = [client.encode("ember", TEXT, copy=False).hidden]
    parent = service.peer

    def child():
        assert (values(kept[0]) == STATES).all()
        kept.clear()
        gc.collect()
        client.ping()

    assert in_child(child)
    client.ping()
    assert parent.released == []
    wait_until(lambda: service.peer.is_gone or service.peer is parent)
    assert all(peer.released == [] for peer in service.peers)
    kept.clear()
    client.ping()
    assert parent.released == [(1, 4096)]


def test_a_program_may_end_with_views(service):
    service.on[messages.Encode] = encodes(STATES, STATES)
    program = (
        "import sys, hearth.client\n"
        "client = hearth.client.connect(sys.argv[1])\n"
        "chat = [{'role': 'user', 'content': 'Hello'}]\n"
        "kept = client.encode('ember', chat, [0, 1], copy=False)\n"
        "print(float(kept.hidden[0].sum()))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, service.path], capture_output=True, text=True, timeout=50
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert float(ended.stdout) == pytest.approx(STATES.sum(), abs=1e-4)


def test_the_asyncio_client_encodes_and_releases(service, package):
    service.on[messages.Encode] = encodes(STATES)

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            tasks = (client.encode("ember", CHAT, copy=copy) for copy in (True, False))
            copied, view = await asyncio.gather(*tasks)
            assert (values(copied.hidden) == STATES).all()
            assert (values(view.hidden) == STATES).all()
            await client.ping()
            assert len(service.peer.released) == 1
            del view
            await client.ping()
            assert len(service.peer.released) == 2

    asyncio.run(main())


def test_a_cancelled_task_s_result_is_released(service):
    service.on[messages.Encode] = silent

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            task = asyncio.ensure_future(client.encode("ember", TEXT))
            while not service.peer.ids_of(messages.Encode):
                await asyncio.sleep(0.002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            tensor = service.peer.result(STATES, "f32")
            service.peer.send(encoded(tensor), service.peer.ids_of(messages.Encode)[0])
            await client.ping()
            await client.ping()
            assert service.peer.released == [(tensor.arena, 4096)]

    asyncio.run(main())


def test_a_full_out_arena_is_an_error_of_its_own_that_is_not_retried(client, service):
    service.on[messages.Encode] = fake.fails("out_of_arena", "8 results fill it.", retryable=True)
    with pytest.raises(errors.OutOfArena, match="8 results fill it"):
        client.encode("ember", TEXT)
    assert len(service.peer.messages_of(messages.Encode)) == 1
