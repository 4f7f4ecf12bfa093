"""The allocator of the `in` arenas."""

import itertools
import mmap
import os
import random

import pytest

from hearth import slots

MIB = 1 << 20


def arena(nbytes=MIB, number=1):
    return slots.Arena(number, mmap.mmap(-1, nbytes))


def arenas(*nbytes):
    made = slots.Arenas()
    for number, size in enumerate(nbytes, 1):
        made.add(arena(size, number))
    return made


def test_random_requests_never_overlap_and_coalesce_fully():
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    one = arena()
    made = slots.Arenas()
    made.add(one)
    whole = one.free.ranges
    held = []
    for _ in range(20_000):
        if held and rng.random() < 0.5:
            held.pop(rng.randrange(len(held))).release()
            continue
        nbytes = rng.choice([1, 64, 65, 1000, 12_288, 100_000])
        slot = made.allocate(nbytes)
        if slot is None:
            assert all(end - begin < nbytes + 64 for begin, end in one.free.ranges)
            continue
        assert slot.offset % 64 == 0 and slot.offset >= 4096
        assert slot.nbytes >= nbytes and slot.offset + slot.nbytes <= len(one.memory)
        assert all(
            slot.offset + slot.nbytes <= other.offset or other.offset + other.nbytes <= slot.offset
            for other in held
        )
        held.append(slot)
        ranges = one.free.ranges
        assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(ranges)), (
            "not coalesced"
        )
    for slot in held:
        slot.release()
    assert one.free.ranges == whole


def test_a_slot_is_given_back_once():
    made = arenas(MIB)
    first = made.allocate(64)
    first.release()
    second = made.allocate(64)
    first.release()
    third = made.allocate(64)
    assert second.offset == first.offset != third.offset


def test_a_slot_is_a_context():
    made = arenas(MIB)
    with made.allocate(64) as slot:
        offset = slot.offset
    assert made.allocate(64).offset == offset


def test_a_full_arena_is_followed_by_the_next():
    made = arenas(8192, MIB)
    assert made.allocate(4096).arena == 1
    assert made.allocate(64).arena == 2
    assert made.allocate(2 * MIB) is None


@pytest.mark.parametrize(
    "nbytes, asked",
    [
        (1, 64 * MIB),
        (64 * MIB - 4096, 64 * MIB),
        (64 * MIB - 4095, 256 * MIB),
        (256 * MIB, 1024 * MIB),
        (1024 * MIB, 1024 * MIB + 4096),
        (1024 * MIB + 1, 1024 * MIB + 8192),
    ],
)
def test_arenas_come_in_three_sizes_or_exact(nbytes, asked):
    assert slots.arena_bytes_for(nbytes) == asked
    assert asked - slots.RESERVED_BYTES >= nbytes


def test_mapping_keeps_the_memory_and_closes_the_descriptor():
    fd = os.memfd_create("arena", os.MFD_CLOEXEC)
    os.ftruncate(fd, MIB)
    ours = os.dup(fd)
    mapped = slots.Arena.map(3, MIB, fd)
    with pytest.raises(OSError):
        os.fstat(fd)
    mapped.memory[5000:5003] = b"abc"
    assert os.pread(ours, 3, 5000) == b"abc"
    os.close(ours)
