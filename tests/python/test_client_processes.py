"""Forked children, threads and the pool."""

import os
import threading

import numpy
import pytest

import hearth.client
from hearth import errors, messages
from server import generated, silent, wait_until

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
    return os.waitpid(child, 0)[1] == 0


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
