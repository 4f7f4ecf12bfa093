"""What the border costs: an empty request, and a 1024x1024 picture on its way in.

    python bench/ipc.py [--repeats 200]

Each figure stands beside the copy or conversion that nobody can avoid, measured in turn with it:
  raw copy     f32 tensor into the arena + an empty request,   beside memcpy into private memory
  node path    f32 tensor to u8 in the arena + an empty request, beside the same conversion into
               private memory
  whole request  the node path through broker and worker, answered with one token by the fake family
  pickle       what packs do today: multiprocessing's shared memory and a pickled message
"""

import argparse
import contextlib
import json
import mmap
import multiprocessing
import tempfile
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import torch

import harness
import hearth.tensors
from hearth.slots import Arena

SIDE = 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    picture = torch.rand(1, SIDE, SIDE, 3)
    with (
        harness.service("--no-ember", "--fake") as socket,
        harness.hearth.client.connect(socket) as client,
    ):
        figures = round_trips(client, 50 * repeats)
        model = client.offer_model(fake_model())
        whole = lambda: client.generate(model, messages_with(picture), max_tokens=1)  # noqa: E731
        whole()  # the arena is granted now, and stays
        memory = Arena.map(*granted(client)).memory
        figures |= raw_copy(client, memory, picture, repeats)
        figures |= node_path(client, memory, picture, repeats)
        figures["whole_request_ms"] = harness.median(harness.milliseconds(whole, repeats))
        figures["broker_rss_mib"] = client.status().rss_bytes / 2**20
    figures |= pickled(picture, repeats)
    harness.record("ipc", figures)


def round_trips(client, count):
    """Empty requests, in microseconds."""
    samples = [1000 * sample for sample in harness.milliseconds(client.ping, count)]
    return {
        "ping_p50_us": harness.percentile(samples, 0.5),
        "ping_p99_us": harness.percentile(samples, 0.99),
    }


def granted(client):
    """(id, bytes, descriptor) of an arena of our own, asked for as the client does it."""
    from hearth import messages

    exchange = client._connection.ask(messages.ArenaAsk(nbytes=64 << 20))
    while exchange.outcome is None:
        client._connection.wait(1.0)
    grant = exchange.outcome
    return grant.arena, grant.nbytes, exchange.take_fds()[0]


def raw_copy(client, memory, picture, repeats):
    private = torch.empty_like(picture)

    def through_the_border():
        hearth.tensors.copy_raw(picture, memory, 4096)
        client.ping()

    return pair("raw", through_the_border, lambda: private.copy_(picture), "memcpy", repeats)


def node_path(client, memory, picture, repeats):
    private = mmap.mmap(-1, len(memory), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pixels = hearth.tensors.Pixels(picture, "picture")

    def through_the_border():
        convert(pixels, memory)
        client.ping()

    return pair("node", through_the_border, lambda: convert(pixels, private), "conversion", repeats)


def convert(pixels, memory):
    for _ in pixels.write(memory, 4096):
        pass


def pair(name, ours, floor, floor_name, repeats):
    """Medians of both, run in turn, and what we add: floor * 1 + excess."""
    ours(), floor()
    samples = [(harness.milliseconds(ours, 1)[0], harness.milliseconds(floor, 1)[0])
               for _ in range(repeats)]  # fmt: skip
    measured, least = (harness.median(column) for column in zip(*samples, strict=True))
    return {
        f"{name}_ms": measured,
        f"{name}_{floor_name}_ms": least,
        f"{name}_ratio": measured / least,
    }


def messages_with(picture):
    return [{"role": "user", "content": [picture, "!count 1"]}]


def fake_model():
    folder = Path(tempfile.mkdtemp(prefix="hearth-fake-"))
    (folder / "config.json").write_text(json.dumps({"model_type": "hearth_fake"}))
    return folder


def pickled(picture, repeats):
    """A fresh segment for each picture and a pickled message through a pipe, answered likewise."""
    resource_tracker.ensure_running()  # one for both, or each would clean up after the other
    ours, theirs = multiprocessing.Pipe()
    peer = multiprocessing.Process(target=answer_pickles, args=(theirs,), daemon=True)
    peer.start()

    def send():
        segment = shared_memory.SharedMemory(create=True, size=picture.numel() * 4)
        torch.frombuffer(segment.buf, dtype=torch.float32).copy_(picture.flatten())
        ours.send((segment.name, picture.shape))
        ours.recv()
        with contextlib.suppress(BufferError):
            segment.close()
        segment.unlink()

    send()
    samples = harness.milliseconds(send, max(repeats // 4, 10))
    peer.terminate()
    return {"pickle_ms": harness.median(samples)}


def answer_pickles(pipe):
    while True:
        name, _ = pipe.recv()
        segment = shared_memory.SharedMemory(name=name)
        pipe.send(len(segment.buf))
        segment.close()


if __name__ == "__main__":
    main()
