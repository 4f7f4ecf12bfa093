"""Shared memory in the hands of an enemy: rows of the fault table about arenas."""

import ctypes
import fcntl
import mmap
import os
import random
import threading

import pytest
from hostile import Peer, chat
from service import is_alive

from hearth import messages

SHAPE = (64, 64, 3)
MIB = 1 << 20
LIBC = ctypes.CDLL(None, use_errno=True)
PUNCH_HOLE = 0x02 | 0x01  # and keep the size
ADD_SEALS, SEAL_WRITE, SEAL_FUTURE_WRITE = 1033, 0x08, 0x10


def show(model, tensor, words="hello"):
    return messages.Generate(model=model, messages=chat(tensor, words), temperature=0.0)


def fallocate(fd, mode, offset, nbytes):
    call = LIBC.fallocate64
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(fd, mode, offset, nbytes) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


# --- descriptors ---

FALSE_TENSORS = {
    "an arena that nobody has": {"arena": 4_000_000_000},
    "the arena of another client": {"arena": "foreign"},
    "an arena that was given back": {"arena": "dropped"},
    "more bytes than its shape": {"nbytes": 64 * 64 * 3 + 1},
    "fewer bytes than its shape": {"nbytes": 1},
    "a shape of other bytes than said": {"shape": [64, 64, 4]},
    "a product that overflows": {"shape": [2**31 - 1] * 8, "nbytes": 2**63},
    "a product that wraps to its bytes": {"shape": [2**31, 2**31, 4], "nbytes": 0},
    "bytes near 2^64": {"nbytes": 2**64 - 1},
    "an offset whose end wraps": {"offset": 2**64 - 64},
    "an offset past the end": {"offset": 1 << 30},
    "an end one row past the end": {"offset": MIB - 64 * 64 * 3 + 64},
    "an offset in the first page": {"offset": 64},
    "an offset of an odd byte": {"offset": 4097},
    "nine dimensions": {"shape": [1] * 8 + [64 * 64 * 3]},
    "an element of a type unheard of": {"dtype": "f128"},
    "an element of another size": {"dtype": "f64"},
    "a negative size": {"shape": [-64, -64, 3]},
}


@pytest.mark.fault(9)
def test_no_false_descriptor_of_a_tensor_is_believed(daemon, ledger, resident):
    with Peer(daemon.socket) as peer, Peer(daemon.socket) as other:
        offered = peer.offer(resident)
        arena = peer.arena(MIB)
        dropped = peer.arena(MIB)
        peer.ask(messages.ArenaDrop(arena=dropped.id))
        ids = {"foreign": other.arena(MIB).id, "dropped": dropped.id}
        for name, lies in FALSE_TENSORS.items():
            false = arena.tensor(SHAPE)
            for field, value in lies.items():
                setattr(false, field, ids.get(value, value) if field == "arena" else value)
            ended = peer.ask(show(offered, false))
            assert isinstance(ended, messages.Error), name
            assert ended.code in ("bad_tensor", "bad_request", "bad_picture"), (name, ended.code)
        truth = peer.ask(show(offered, arena.tensor(SHAPE)))
        assert "u8 [64, 64, 3]" in truth.text


@pytest.mark.fault(9)
def test_pictures_without_pixels_harm_nobody(daemon, ledger, resident):
    with Peer(daemon.socket) as peer:
        offered = peer.offer(resident)
        arena = peer.arena(MIB)
        for shape in ((0, 64, 3), (64, 0, 3), (64, 64, 0), (0,), (), (1, 1, 1), (1, 1, 3)):
            ended = peer.ask(show(offered, arena.tensor(shape)))
            assert isinstance(ended, messages.Generated) or ended.code in (
                "bad_tensor",
                "bad_picture",
            ), (shape, ended.code)
        assert peer.is_served()


# --- what its owner does to it meanwhile ---


def trouble(arena, seed, until):
    """Everything a client can do to memory it was given, at random, until told to stop."""
    rng = random.Random(seed)
    done = 0

    def attempt(deed, *arguments):
        try:
            deed(*arguments)
        except (OSError, ValueError):
            return  # refused, as it should be

    while not until.is_set():
        page = 4096 * rng.randrange(len(arena.memory) // 4096)
        deed = rng.randrange(8)
        if deed == 0:
            arena.memory[page : page + 4096] = rng.randbytes(4096)
        elif deed == 1:
            attempt(fallocate, arena.fd, PUNCH_HOLE, page, 4096 * rng.randint(1, 64))
        elif deed == 2:
            attempt(os.ftruncate, arena.fd, rng.choice([0, 1, page, 1 << 40]))
        elif deed == 3:
            attempt(fcntl.fcntl, arena.fd, ADD_SEALS, rng.choice([SEAL_WRITE, SEAL_FUTURE_WRITE]))
        elif deed == 4:
            copy = os.dup(arena.fd)
            mmap.mmap(copy, 4096).close()
            os.close(copy)
        elif deed == 5:
            attempt(arena.memory.madvise, mmap.MADV_REMOVE, page, 4096)
        elif deed == 6:
            again = os.open(f"/proc/self/fd/{arena.fd}", os.O_RDWR)
            attempt(os.pwrite, again, rng.randbytes(64), page)
            os.close(again)
        else:
            attempt(os.posix_fallocate, arena.fd, 0, len(arena.memory) * 2)
        done += 1
    return done


@pytest.mark.fault(10)
@pytest.mark.fault(12)
def test_memory_that_changes_and_vanishes_while_it_is_read_gives_wrong_pictures_at_worst(
    daemon, ledger, resident
):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    with Peer(daemon.socket) as peer, daemon.connect() as beside:
        offered = peer.offer(resident)
        arena = peer.arena(4 * MIB)
        worker = beside.status().worker_pid
        stop, done = threading.Event(), []
        troublers = [
            threading.Thread(target=lambda n=n: done.append(trouble(arena, seed + n, stop)))
            for n in range(2)
        ]
        for thread in troublers:
            thread.start()
        try:
            for number in range(150):
                tensor = arena.tensor((512, 512, 3), offset=4096 * (1 + number % 200))
                ended = peer.ask(show(offered, tensor))
                assert isinstance(ended, messages.Generated), ended.what
                assert ended.text.endswith("hello")
        finally:
            stop.set()
            for thread in troublers:
                thread.join()
        print(f"{sum(done)} deeds")
        assert sum(done) > 1000
        assert beside.status().worker_pid == worker and is_alive(worker)


@pytest.mark.fault(12)
def test_a_hole_is_read_as_black(daemon, ledger, resident):
    with Peer(daemon.socket) as peer:
        offered = peer.offer(resident)
        arena = peer.arena(MIB)
        black = peer.ask(show(offered, arena.tensor(SHAPE))).text
        arena.memory[4096 : 4096 + 64 * 64 * 3] = b"\xff" * (64 * 64 * 3)
        white = peer.ask(show(offered, arena.tensor(SHAPE))).text
        fallocate(arena.fd, PUNCH_HOLE, 0, MIB)
        assert peer.ask(show(offered, arena.tensor(SHAPE))).text == black != white


@pytest.mark.fault(11)
def test_the_size_and_the_seals_of_an_arena_are_fixed(daemon, ledger):
    with Peer(daemon.socket) as peer:
        arena = peer.arena(MIB)
        for size in (0, MIB - 4096, MIB + 4096):
            with pytest.raises(PermissionError):
                os.ftruncate(arena.fd, size)
        with pytest.raises(PermissionError):
            fallocate(arena.fd, 0, 0, 2 * MIB)
        with pytest.raises(PermissionError):
            fcntl.fcntl(arena.fd, ADD_SEALS, SEAL_WRITE)
        assert os.fstat(arena.fd).st_size == MIB


# --- too much of it ---


@pytest.mark.fault(15)
def test_arenas_over_the_limit_are_busy_until_one_goes_back(daemon, ledger):
    with Peer(daemon.socket) as peer:
        held = [peer.arena(MIB) for _ in range(peer.welcome.limits.arenas)]
        for _ in range(50):
            assert peer.ask(messages.ArenaAsk(nbytes=MIB)).code == "busy"
        assert isinstance(peer.ask(messages.ArenaDrop(arena=held[3].id)), messages.ArenaDropped)
        peer.arena(MIB)
        assert peer.ask(messages.ArenaAsk(nbytes=MIB)).code == "busy"


@pytest.mark.fault(15)
def test_bytes_over_the_limit_are_busy_and_cost_nothing(daemon, ledger):
    with Peer(daemon.socket) as peer:
        most = peer.welcome.limits.arena_bytes
        for nbytes in (most + 1, most + MIB, 2 * most):
            error = peer.ask(messages.ArenaAsk(nbytes=nbytes))
            assert error.code in ("busy", "out_of_memory", "bad_request"), error.code
        for nbytes in (0, 4096, (16 << 30) + 1, 2**64 - 1):
            assert peer.ask(messages.ArenaAsk(nbytes=nbytes)).code == "bad_request"
        peer.arena(MIB)


@pytest.mark.fault(16)
def test_an_arena_is_given_back_once_and_by_its_owner(daemon, ledger):
    with Peer(daemon.socket) as peer, Peer(daemon.socket) as other:
        arena = peer.arena(MIB)
        assert other.ask(messages.ArenaDrop(arena=arena.id)).code == "bad_request"
        assert isinstance(peer.ask(messages.ArenaDrop(arena=arena.id)), messages.ArenaDropped)
        assert peer.ask(messages.ArenaDrop(arena=arena.id)).code == "bad_request"
        assert peer.ask(messages.ArenaDrop(arena=0)).code == "bad_request"
