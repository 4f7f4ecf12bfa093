"""Forked children, threads and the pool."""

import contextlib
import os
import signal
import threading

import numpy
import pytest

import hearth.client
from hearth import errors, messages
from server import generated, open_files, silent, token, wait_until

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]


def in_child(function):
    """Runs `function` in a forked child. Returns whether it returned without an exception."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException as error:
            print(f"in the child: {error!r}", flush=True)
            os._exit(1)
    try:
        return os.waitpid(child, 0)[1] == 0
    except BaseException:  # the watchdog: the child must not outlive the test
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def test_a_forked_child_leaves_the_parent_s_connection_alone(client, service):
    service.on[messages.Generate] = silent
    stream = client.generate("ember", CHAT, stream=True)
    wait_until(lambda: service.peer.messages_of(messages.Generate))
    parent = service.peer

    def child():
        with pytest.raises(errors.NotReachable, match="parent"):
            next(stream)
        client.ping()

    assert in_child(child)
    parent.send(generated("for the parent"), parent.ids_of(messages.Generate)[0])
    assert stream.reply.text == "for the parent"
    assert not parent.messages_of(messages.Cancel) and not parent.messages_of(messages.Ping)
    instances = {peer.messages_of(messages.Hello)[0].instance for peer in service.peers}
    assert len(service.peers) == 2 and len(instances) == 2


def test_the_pool_lends_a_client_to_one_thread_at_a_time(service):
    barrier = threading.Barrier(3)
    failures = []

    def use():
        try:
            with hearth.client.shared(service.path) as client:
                barrier.wait(10)
                assert client.generate("ember", CHAT).text == "a red circle"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures and len(service.peers) == 3
    with hearth.client.shared(service.path) as client:
        client.ping()
    assert len(service.peers) == 3


def test_the_pool_connects_at_the_first_call(tmp_path):
    with (
        hearth.client.shared(tmp_path / "hearth.sock") as client,
        pytest.raises(errors.NotReachable),
    ):
        client.ping()


def test_four_threads_with_eight_requests_each_get_their_own_answers(service):
    """Notes of the border, row 22: the answers of each connection come in reverse order."""
    threads, requests = 4, 8

    def handler(peer, frame, request):
        waiting = peer.__dict__.setdefault("waiting", [])
        waiting.append((frame.request_id, request.messages[0].content[0].text))
        if len(waiting) == requests:
            for request_id, text in reversed(waiting):
                peer.send(token(text[:4]), request_id)
                peer.send(token(text[4:]), request_id)
                peer.send(generated(text), request_id)
            waiting.clear()

    service.on[messages.Generate] = handler
    barrier = threading.Barrier(threads)
    failures = []

    def use(thread):
        try:
            for turn in range(5):
                with hearth.client.shared(service.path) as client:
                    barrier.wait(30)
                    texts = [f"thread {thread} turn {turn} no {n}" for n in range(requests)]
                    chats = [[{"role": "user", "content": [text, PICTURE]}] for text in texts]
                    streams = [client.generate("ember", chat, stream=True) for chat in chats]
                    assert [stream.reply.text for stream in streams] == texts
                    assert [stream.text for stream in streams] == texts
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    running = [threading.Thread(target=use, args=[thread]) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(50)
    assert not failures and len(service.peers) == threads


def test_the_pool_keeps_four_idle_connections_and_closes_the_others(service):
    before = open_files()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(hearth.client.shared(service.path)) for _ in range(7)]
        for client in clients:
            client.ping()
    wait_until(lambda: sum(not peer.is_gone for peer in service.peers) == 4)
    assert len(service.peers) == 7
    wait_until(lambda: open_files() <= before + 4 * 2)  # ours and the service's end of each
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(hearth.client.shared(service.path)).ping()
    assert len(service.peers) == 7, "the idle ones were used"


def test_a_client_that_was_closed_does_not_return_to_the_pool(service):
    with hearth.client.shared(service.path) as client:
        client.ping()
        client.close()
    with hearth.client.shared(service.path) as client:
        client.ping()
    assert len(service.peers) == 2


def test_a_forked_child_has_a_pool_of_its_own(service):
    with hearth.client.shared(service.path) as client:
        client.generate("ember", CHAT)
    (parent,) = service.peers

    def child():
        with hearth.client.shared(service.path) as client:
            assert client.generate("ember", CHAT).text == "a red circle"
        hearth.client.trim_idle()

    assert in_child(child)
    assert len(service.peers) == 2 and not parent.is_gone
    with hearth.client.shared(service.path) as client:
        client.generate("ember", CHAT)
    assert len(service.peers) == 2
    assert len(parent.messages_of(messages.Generate)) == 2


def test_a_fork_while_another_thread_trims_leaves_the_child_free(client, service):
    """The child has a copy of the lock that the thread held, and nobody to open it."""
    service.on[messages.Generate] = silent
    stream = client.generate("ember", CHAT, stream=True)
    locked, forked = threading.Event(), threading.Event()

    def trim():
        with client._connection.arenas._arenas[0].lock:
            locked.set()
            forked.wait(30)

    thread = threading.Thread(target=trim)
    thread.start()
    assert locked.wait(30)

    def child():
        client.ping()

    try:
        assert in_child(child)
    finally:
        forked.set()
        thread.join(30)
    stream.cancel()


def test_a_forked_child_s_pictures_and_streams_end_without_a_word(client, service):
    service.on[messages.Generate] = silent
    kept = [client.put(PICTURE), client.generate("ember", CHAT, stream=True)]
    wait_until(lambda: service.peer.messages_of(messages.Generate))
    received = len(service.peer.received)

    def child():
        kept.clear()

    assert in_child(child)
    client.ping()
    assert len(service.peer.received) == received + 1 and len(service.peers) == 1
    held = len(client._connection.held._slots)
    assert held == 1
