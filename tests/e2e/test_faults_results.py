"""Results in shared memory: rows of the fault table about out arenas and views of them."""

import ctypes
import fcntl
import gc
import mmap
import os

import numpy
import pytest
from hostile import Peer, chat
from service import wait_until
from test_faults_arenas import ADD_SEALS, PUNCH_HOLE, SEAL_FUTURE_WRITE, SEAL_WRITE, fallocate

from hearth import errors, messages

LONG = "kept " * 200  # hidden states of less than a page are copied whatever one asks for
LIMIT_S = 10.0  # ten times what is promised
SHARED, READ, WRITE = mmap.MAP_SHARED, mmap.PROT_READ, mmap.PROT_WRITE


def ask(words):
    return [{"role": "user", "content": words}]


def encode(model, words="hello", layers=(-1,)):
    return messages.Encode(model=model, messages=chat(words), layers=list(layers))


def slots(encoded):
    return [messages.Slot(arena=one.arena, offset=one.offset) for one in encoded.tensors]


def as_numpy(hidden):
    return numpy.asarray(hidden)


# --- what a client may do to them ---


def make_writable(fd, nbytes):
    """mprotect of a mapping that was made for reading."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = libc.mmap(None, nbytes, READ, SHARED, fd, 0)
    try:
        if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(nbytes), READ | WRITE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    finally:
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(nbytes))


def reopened(fd, deed):
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    try:
        deed(again)
    finally:
        os.close(again)


ATTACKS = {
    "map for writing": lambda fd, size: mmap.mmap(fd, size, SHARED, READ | WRITE),
    "make a mapping writable": make_writable,
    "write": lambda fd, size: os.pwrite(fd, b"x" * 64, 4096),
    "write past the end": lambda fd, size: os.pwrite(fd, b"x" * 64, size),
    "shrink": lambda fd, size: os.ftruncate(fd, 0),
    "grow": lambda fd, size: os.ftruncate(fd, 2 * size),
    "allocate more": lambda fd, size: fallocate(fd, 0, 0, 2 * size),
    "punch": lambda fd, size: fallocate(fd, PUNCH_HOLE, 4096, 4096),
    "seal against its owner": lambda fd, size: fcntl.fcntl(fd, ADD_SEALS, SEAL_WRITE),
    "seal again": lambda fd, size: fcntl.fcntl(fd, ADD_SEALS, SEAL_FUTURE_WRITE),
    "reopen and write": lambda fd, size: reopened(fd, lambda again: os.pwrite(again, b"x", 4096)),
    "reopen and map": lambda fd, size: reopened(
        fd, lambda again: mmap.mmap(again, size, SHARED, READ | WRITE)
    ),
}


@pytest.mark.fault(11)
def test_nothing_that_a_client_does_changes_a_result(daemon, ledger, resident):
    with Peer(daemon.socket) as peer:
        offered = peer.offer(resident)
        encoded = peer.ask(encode(offered))
        (tensor,) = encoded.tensors
        fd = peer.lent[tensor.arena]
        size = os.fstat(fd).st_size
        before = os.pread(fd, tensor.nbytes, tensor.offset)
        for name, attack in ATTACKS.items():
            with pytest.raises(OSError):
                attack(fd, size)
                pytest.fail(f"{name} was let through")
        assert os.pread(fd, tensor.nbytes, tensor.offset) == before
        assert os.fstat(fd).st_size == size
        own = mmap.mmap(fd, size, mmap.MAP_PRIVATE, READ | WRITE)
        own[tensor.offset : tensor.offset + tensor.nbytes] = bytes(tensor.nbytes)
        assert os.pread(fd, tensor.nbytes, tensor.offset) == before, "copy-on-write is ours alone"
        again = peer.ask(encode(offered))
        (tensor,) = again.tensors
        assert os.pread(peer.lent[tensor.arena], tensor.nbytes, tensor.offset) == before


# --- giving back ---


@pytest.mark.fault(16)
def test_a_result_is_released_once_and_by_its_owner(daemon, ledger, resident):
    with Peer(daemon.socket) as peer, Peer(daemon.socket) as other:
        offered = peer.offer(resident)
        held = slots(peer.ask(encode(offered, layers=(0, -1))))
        strange = [
            [messages.Slot(arena=held[0].arena, offset=held[0].offset + 64)],
            [messages.Slot(arena=held[0].arena, offset=2**64 - 64)],
            [messages.Slot(arena=4_000_000_000, offset=4096)],
            [held[0], messages.Slot(arena=0, offset=4096)],
            [held[0], held[0]],
        ]
        for wrong in strange:
            assert peer.ask(messages.Release(slots=wrong)).code == "bad_request"
        assert other.ask(messages.Release(slots=held)).code == "bad_request"
        assert other.is_served()
        with daemon.connect() as watcher:
            assert watcher.status().results == 2, "a refused release releases nothing"
        assert isinstance(peer.ask(messages.Release(slots=held)), messages.Released)
        assert peer.ask(messages.Release(slots=held)).code == "bad_request"
        assert isinstance(peer.ask(messages.Release(slots=[])), messages.Released)
        with daemon.connect() as watcher:
            assert watcher.status().results == 0


@pytest.mark.fault(15)
def test_results_that_are_held_make_the_next_one_wait_until_one_is_released(
    start_daemon, fake_model
):
    """Each is 40 MB, a segment holds one, and the memory of the user two segments."""
    daemon = start_daemon("--user-memory", "160MiB")
    with Peer(daemon.socket) as peer, daemon.connect() as watcher:
        wide = peer.offer(fake_model(script="!hidden 10000"))
        question = encode(wide, "x" * 990)
        held = [peer.ask(question) for _ in range(2)]
        assert all(isinstance(one, messages.Encoded) for one in held)
        waiting = peer.send(question)
        assert peer.is_served() and watcher.status().results == 2
        assert watcher.status().arena_bytes <= 160 << 20
        assert isinstance(peer.ask(messages.Release(slots=slots(held[0]))), messages.Released)
        assert isinstance(peer.answer(waiting), messages.Encoded)


# --- views ---


@pytest.mark.fault(2)
def test_views_stay_readable_when_the_daemon_is_killed(start_daemon, model):
    daemon = start_daemon()
    client = daemon.connect()
    offered = client.offer_model(model)
    view = as_numpy(client.encode(offered, ask(LONG), copy=False).hidden)
    seen = view.copy()
    assert client.status().results == 1
    boot_id = client.welcome.boot_id
    daemon.kill()
    with pytest.raises(errors.NotReachable):
        client.ping()
    assert (view == seen).all()
    daemon.start()
    again = as_numpy(client.encode(offered, ask(LONG), copy=False).hidden)
    assert client.welcome.boot_id != boot_id and client.status().results == 1
    assert (again == seen).all() and (view == seen).all()
    del view, again
    gc.collect()
    client.ping()
    wait_until(lambda: client.status().results == 0, LIMIT_S, "releasing the new result alone")
    client.close()


@pytest.mark.fault(27)
def test_a_view_outlives_its_client_and_is_released_with_its_last_reference(
    daemon, ledger, resident
):
    with daemon.connect() as watcher, daemon.connect() as client:
        offered = client.offer_model(resident)
        encoded = client.encode(offered, ask(LONG), [0, -1], copy=False)
        first, last = (as_numpy(hidden) for hidden in encoded.hidden)
        kept = last[1:, 2:]
        seen = kept.copy()
        del encoded, last
        gc.collect()
        client.ping()
        assert watcher.status().results == 2, "a part of it is still in use"
        del first
        gc.collect()
        client.ping()
        wait_until(lambda: watcher.status().results == 1, LIMIT_S, "releasing one")
        client.close()
        del client
        gc.collect()
        wait_until(lambda: watcher.status().results == 0, LIMIT_S, "the end of its client")
        assert (kept == seen).all()
