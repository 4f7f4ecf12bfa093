"""Memory, tokens, cancelling and death: what the border costs besides time per byte."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import torch

import harness
import hearth.client
from harness import median, milliseconds

CLIENTS = 16
SIDE = 1024
TOKENS = 300  # about as many as `!count 110` answers
STEP_MS = 10  # of the cancelled answers
CLIENT_THAT_DIES = """
import sys, time
import hearth.client
client = hearth.client.connect(sys.argv[1])
model = client.offer_model(sys.argv[2])
picture = memoryview(bytes(1024 * 1024 * 3)).cast("B", (1024, 1024, 3))
client.generate(model, [{"role": "user", "content": [picture, "!count 1"]}], max_tokens=1)
for piece in client.generate(
    model, [{"role": "user", "content": [picture, "!count 999 !wait step 20"]}], stream=True
):
    print(piece, flush=True)
"""


def measure(path, folder, rounds, table):
    """Adds all figures of this file."""
    first_use(path, folder, rounds, table)
    idle_clients(path, folder, table)
    tokens(path, folder, rounds, table)
    cancelling(path, folder, rounds, table)
    deaths(path, folder, max(rounds // 2, 3), table)


def chat(*content):
    return [{"role": "user", "content": list(content)}]


def first_use(path, folder, rounds, table):
    """What the first picture of a connection costs more than the next one."""
    picture = torch.rand(1, SIDE, SIDE, 3)
    first, later = [], []
    for _ in range(max(rounds // 3, 3)):
        with hearth.client.connect(path) as client:
            model = client.offer_model(folder)
            ask = lambda: client.generate(model, chat(picture, "!count 1"), max_tokens=1)  # noqa: B023, E731
            client.generate(model, chat("!count 1"), max_tokens=1)
            first += milliseconds(ask, 1)
            later.append(median(milliseconds(ask, 5)))
    arena = 64 / 12
    table.add(
        "first use of an arena (64 MiB), penalty",
        median(first) - median(later),
        "ms",
        f"first {median(first):.3g}, later {median(later):.3g}",
        7 * arena,
        "7 for each 12.6 MB",
    )


def idle_clients(path, folder, table):
    """Broker and shared memory while 16 clients that have sent a picture do nothing."""
    picture = torch.rand(1, SIDE, SIDE, 3)
    with contextlib.ExitStack() as stack:
        observer = stack.enter_context(hearth.client.connect(path))
        before, empty = observer.status(), memfd_bytes(path)
        clients = [stack.enter_context(hearth.client.connect(path)) for _ in range(CLIENTS)]
        for client in clients:
            model = client.offer_model(folder)
            client.generate(model, chat(picture, "!count 1"), max_tokens=1)
        status, filled = observer.status(), memfd_bytes(path)
        for client in clients:
            client.trim()  # as it does by itself at its first call after a minute's pause
        trimmed = memfd_bytes(path)
        table.add(
            f"broker's memory with {CLIENTS} idle clients",
            status.rss_bytes / 2**20,
            "MiB",
            f"{before.rss_bytes / 2**20:.3g} with one",
            30,
        )
        granted = (status.arena_bytes - before.arena_bytes) / CLIENTS / 2**20
        shared = (filled - empty) / CLIENTS / 2**20
        table.add("shared memory of an idle client", shared, "MiB", f"granted {granted:.3g}", 128)
        shared = (trimmed - empty) / CLIENTS / 2**20
        table.add("the same after a minute", shared, "MiB", "", 8)


def memfd_bytes(path):
    """Memory in all arenas that the broker holds, in bytes that exist."""
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(os.fspath(path))
        credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    folder = Path(f"/proc/{struct.unpack('3i', credentials)[0]}/fd")
    blocks = 0
    for fd in folder.iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(fd).startswith("/memfd:"):
                blocks += fd.stat().st_blocks
    return 512 * blocks


def tokens(path, folder, rounds, table):
    """What reading a streamed token costs the client's processor."""
    count = max(rounds // 3, 2)
    with hearth.client.connect(path) as client:
        model = client.offer_model(folder)
        pieces, used, took = 0, 0.0, 0.0
        for _ in range(count):
            began, cpu = time.perf_counter(), time.process_time()
            stream = client.generate(
                model, chat("!count 110 !wait step 5"), stream=True, max_tokens=TOKENS
            )
            pieces += sum(1 for _ in stream)
            used += time.process_time() - cpu
            took += time.perf_counter() - began
    table.add(
        "client's processor time a token",
        1e6 * used / (count * TOKENS),
        "us",
        f"{count * TOKENS / took:.3g} tokens/s",
        40,
    )
    table.add("frames a second of a stream", pieces / took, "frames/s", "", 33)


def cancelling(path, folder, rounds, table):
    """From cancel() to the answer's end, at steps of STEP_MS."""
    with hearth.client.connect(path) as client:
        model = client.offer_model(folder)

        def once():
            question = chat(f"!count 999 !wait step {STEP_MS}")
            stream = client.generate(model, question, stream=True, max_tokens=1000)
            next(stream)
            stream.cancel()
            return milliseconds(lambda: sum(1 for _ in stream), 1)[0]

        samples = [once() for _ in range(rounds)]
    table.add(
        "cancel to end",
        median(samples),
        "ms",
        f"worst {max(samples):.3g}; steps of {STEP_MS}",
        STEP_MS + 20,
        "a step + 20",
    )


def deaths(path, folder, count, table):
    """From kill -9 of a client with a running answer to its memory being back."""
    with hearth.client.connect(path) as observer:
        observer.load(observer.offer_model(folder))  # or the first child's would stay behind
        before = observer.status()
        samples = [die(path, folder, observer, before.arena_bytes) for _ in range(count)]
        after = settled(observer, before.descriptors)
    table.add(
        "client's death to its memory back",
        median(samples),
        "ms",
        f"worst {max(samples):.3g}",
        1000,
    )
    table.add(
        f"left behind by {count} deaths",
        float(after.arena_bytes - before.arena_bytes + after.descriptors - before.descriptors),
        "bytes and descriptors",
        "",
        0,
    )


def settled(observer, descriptors):
    """The status when the dead clients' descriptors are closed, or ten seconds have passed: the
    service may watch a process for five seconds that can come back for its work."""
    deadline = time.monotonic() + 10
    while (status := observer.status()).descriptors > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)
    return status


def die(path, folder, observer, baseline):
    """One client is killed while its answer streams; milliseconds until nothing of it is left."""
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT / "client_py")}
    child = subprocess.Popen(
        [sys.executable, "-c", CLIENT_THAT_DIES, str(path), str(folder)],
        stdout=subprocess.PIPE,
        env=environment,
    )
    with child:
        child.stdout.readline()  # it streams
        assert observer.status().arena_bytes > baseline
        began = time.perf_counter()
        child.kill()
        while (status := observer.status()).arena_bytes > baseline or status.running:
            assert time.perf_counter() - began < 30, "nothing came back within 30 s"
        return 1000 * (time.perf_counter() - began)
