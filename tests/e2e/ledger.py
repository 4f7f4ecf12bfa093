"""What a daemon holds, in its own books and in the kernel's: nothing may be left after a test."""

import collections
import contextlib
import os
import re
import time
from pathlib import Path

import pytest
from service import wait_until

LIMIT_S = 10.0
IN_BOOKS = ("arenas", "arena_bytes", "results", "result_bytes", "running", "queued", "descriptors")


def open_files(pid):
    """How many descriptors of each kind a process has."""
    kinds = collections.Counter()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kinds[re.sub(r"\d+", "N", os.readlink(fd))] += 1
    return dict(kinds)


def mapped_segments(pid):
    """How many memfds a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:")


def read_books(daemon):
    """Seen by a client that has just come, and from outside."""
    with daemon.connect() as client:
        status = client.status()
        books = {name: getattr(status, name) for name in IN_BOOKS}
        books["clients"] = len(status.clients)
        books["worker"] = status.worker_pid
        for name, pid in (("broker", daemon.process.pid), ("worker", status.worker_pid)):
            books[f"files of the {name}"] = open_files(pid)
            books[f"segments mapped by the {name}"] = mapped_segments(pid)
    return books


def settled_books(daemon):
    """When whoever was here before has left: nothing changes any more."""
    books = read_books(daemon)

    def is_quiet():
        nonlocal books
        time.sleep(0.02)
        before, books = books, read_books(daemon)
        return books == before and books["clients"] == 1

    wait_until(is_quiet, LIMIT_S, "quiet")
    return books


def left_over(before, now):
    """What is held now and was not: {name: (before, now)}. Less is fine: descriptors are closed off
    the loop, so some of an earlier client's may still have counted before."""

    def is_more(name):
        if name == "worker":
            return now[name] != before[name]
        if isinstance(now[name], dict):
            return any(count > before[name].get(kind, 0) for kind, count in now[name].items())
        return now[name] > before[name]

    return {name: (before[name], now[name]) for name in before if is_more(name)}


@contextlib.contextmanager
def balanced(daemon, same_worker=True):
    """Everything that is taken inside is given back within LIMIT_S of its end."""
    before = settled_books(daemon)
    yield before
    now = before

    def is_level():
        nonlocal now
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            now = read_books(daemon)
            if not same_worker:
                now["worker"] = before["worker"]
        return not left_over(before, now)

    try:
        wait_until(is_level, LIMIT_S)
    except AssertionError:
        left = left_over(before, now)
        pytest.fail(f"not given back within {LIMIT_S} s, (before, now): {left}")
