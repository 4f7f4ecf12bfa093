"""When the memory of results goes back, whatever ends first: a view, the client, the service."""

import asyncio
import gc
import os
import subprocess
import sys
import threading

import pytest

import hearth.aio
import hearth.client
from hearth import errors, messages
from server import (
    CHAT,
    PICTURE,
    STATES,
    TEXT,
    encoded,
    encodes,
    open_files,
    silent,
    values,
    wait_until,
)
from test_client_processes import in_child


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
