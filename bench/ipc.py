"""What the border costs, beside the memory's own speed and beside what others use.

    python bench/ipc.py [--quick]

Whoever is compared takes turns, in rounds: the machine's mood is the same for all. Figures are
medians. hearthd is the one in HEARTH_BIN, else build/release/bin; its engine process needs no
torch. The other programs are in ipc_peers.py, life and death in ipc_life.py.
"""

import argparse
import asyncio
import contextlib
import json
import mmap
import random
import tempfile
import time
from pathlib import Path

import torch

import harness
import hearth.aio
import hearth.tensors
import ipc_life
import ipc_peers
from harness import median, milliseconds, percentile
from hearth.slots import Arena

SIDE = 1024
WARM = 5  # exchanges of a turn, so that most find their memory in the caches, as memcpy does
OFFSET = 4096  # of the first slot in an arena
FRAMES, SAMPLED, HEIGHT, WIDTH = 128, 16, 720, 1280


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the rounds")
    rounds = 6 if parser.parse_args().quick else 30
    torch.set_num_threads(1)
    table = Table()
    peers = ipc_peers.start_all()
    try:
        with harness.service("--no-ember", "--fake") as path:
            border = Border(path)
            empty_requests(border, peers, rounds, table)
            pictures_in(border, peers, rounds, table)
            node_path(border, rounds, table)
            pictures_in_and_out(border, peers, rounds, table)
            video(border, rounds, table)
            border.close()
            ipc_life.measure(path, fake_model(), rounds, table)
    finally:
        for peer in peers.values():
            peer.close()
    table.print()
    harness.record("ipc", table.figures, show=False)


class Table:
    """Rows of the report, and the same as flat figures for the ledger."""

    def __init__(self):
        self.figures = {}
        self._rows = []

    def add(self, name, value, unit, beside="", limit=None, target=""):
        """One figure. limit: what it must not exceed, in the same unit; target says why."""
        key = f"{name.replace(' ', '_').replace(',', '')}_{unit.replace(' ', '_')}"
        self.figures[key] = round(value, 4)
        verdict = "" if limit is None else "reached" if value <= limit else "MISSED"
        shown = f"{value:.4g} {unit}"
        bound = "" if limit is None else f"{limit:.4g} {unit}" + (f" = {target}" if target else "")
        self._rows.append((name, shown, bound, verdict, beside))

    def print(self):
        rows = [("", "measured", "target", "", "beside it"), *self._rows]
        widths = [max(len(row[column]) for row in rows) for column in range(4)] + [0]
        for row in rows:
            print("  ".join(map(str.ljust, row, widths)))


class Border:
    """Both clients of one service, a warm arena of our own, and a model that answers at once."""

    def __init__(self, path):
        self.client = harness.hearth.client.connect(path)
        self.loop = asyncio.new_event_loop()
        self.aio = self.loop.run_until_complete(hearth.aio.connect(path))
        self.model = self.client.offer_model(fake_model())
        self.memory = Arena.map(*granted(self.client)).memory
        self.memory[:] = bytes(len(self.memory))

    def ping(self, count):
        return milliseconds(self.client.ping, count)

    def ping_aio(self, count):
        async def all_of_them():
            samples = []
            for _ in range(count):
                began = time.perf_counter()
                await self.aio.ping()
                samples.append(1000 * (time.perf_counter() - began))
            return samples

        return self.loop.run_until_complete(all_of_them())

    def send_raw(self, picture):
        hearth.tensors.copy_raw(picture, self.memory, OFFSET)
        self.client.ping()

    def send_u8(self, pixels):
        convert(pixels, self.memory)
        self.client.ping()

    def close(self):
        self.aio.close()
        self.loop.close()
        self.client.close()


def granted(client):
    """(id, bytes, descriptor) of an arena, asked for as the client does it."""
    from hearth import messages

    exchange = client._connection.ask(messages.ArenaAsk(nbytes=64 << 20))
    while exchange.outcome is None:
        client._connection.wait(1.0)
    grant = exchange.result()
    return grant.arena, grant.nbytes, exchange.take_fds()[0]


def convert(pixels, memory):
    for _ in pixels.write(memory, OFFSET):
        pass


def fake_model(**settings):
    folder = Path(tempfile.mkdtemp(prefix="hearth-fake-"))
    (folder / "config.json").write_text(json.dumps({"model_type": "hearth_fake", **settings}))
    return folder


def in_turn(contenders, rounds):
    """{name: all samples} of {name: function that returns samples}, in a new order each round:
    what one leaves in the caches is not always the same one's burden."""
    samples = {name: [] for name in contenders}
    order = list(contenders)
    shuffle = random.Random(4).shuffle
    for name in order:
        contenders[name]()  # warm
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            samples[name] += contenders[name]()
    return samples


def empty_requests(border, peers, rounds, table):
    contenders = {"blocking": lambda: border.ping(300), "aio": lambda: border.ping_aio(100)}
    for name, peer in peers.items():
        if hasattr(peer, "ping"):
            count = 50 if name == "pyisolate" else 300
            contenders[name] = lambda peer=peer, count=count: peer.ping(count)
    samples = in_turn(contenders, rounds)
    micro = {name: 1000 * median(values) for name, values in samples.items()}
    p99 = {name: 1000 * percentile(values, 0.99) for name, values in samples.items()}
    for name, limit, limit_99 in (("blocking", 60, 500), ("aio", None, None)):
        beside = ", ".join(
            f"{other} {micro[other]:.3g} (x {micro[name] / micro[other]:.2g})"
            for other in micro
            if other in peers
        )
        beside_99 = ", ".join(f"{other} {p99[other]:.3g}" for other in micro if other in peers)
        table.add(f"empty request, {name}, p50", micro[name], "us", beside, limit)
        table.add(f"empty request, {name}, p99", p99[name], "us", beside_99, limit_99)
    for name in peers.keys() & micro.keys():
        table.figures[f"empty_request_{name}_p50_us"] = round(micro[name], 2)


def pictures_in(border, peers, rounds, table):
    """A float picture, used once, into memory that the other side can read."""
    private = torch.empty(1, SIDE, SIDE, 3)
    fresh = Fresh()
    contenders = {
        "hearth": lambda: milliseconds(lambda: border.send_raw(fresh.take()), WARM),
        "memcpy": lambda: milliseconds(lambda: private.copy_(fresh.take()), WARM),
    }
    contenders |= peers_with(peers, "take", fresh)
    samples = in_turn(contenders, rounds)
    middle = {name: median(values) for name, values in samples.items()}
    add_with_peers(
        table,
        "1024x1024x3 float in, raw",
        middle,
        "memcpy",
        limit=1.3 * middle["memcpy"] + 0.15,
        target="1.3 memcpy + 0.15",
    )


class Fresh:
    """Pictures that nobody has sent yet, in warm private memory: take() only when asked."""

    def __init__(self):
        self._source = torch.rand(1, SIDE, SIDE, 3)
        self._ready = [self._source.clone() for _ in range(2)]
        self._next = 0

    def take(self):
        """One that is not moved elsewhere by its use."""
        self._next ^= 1
        return self._ready[self._next]

    def moved(self):
        """One that its use may move to shared memory."""
        return self._source.clone()


def peers_with(peers, question, fresh):
    """What can be asked of them; cloning is not part of the time."""

    def asking(peer):
        return lambda: getattr(peer, question)([fresh.moved()])

    return {name: asking(peer) for name, peer in peers.items() if hasattr(peer, question)}


def add_with_peers(table, name, middle, floor, **limits):
    """Our median in `middle` beside the floor and the peers."""
    ours = middle["hearth"]
    beside = ", ".join(
        f"{other} {value:.3g} (x {ours / value:.2g})"
        for other, value in middle.items()
        if other != "hearth"
    )
    table.add(name, ours, "ms", beside, **limits)
    key = name.replace(" ", "_").replace(",", "")
    table.figures[f"{key}_ratio_to_{floor}"] = round(ours / middle[floor], 4)
    table.figures |= {
        f"{key}_{other}_ms": round(value, 4) for other, value in middle.items() if other != "hearth"
    }


def node_path(border, rounds, table):
    """A float picture to u8 in shared memory, beside torch's conversion in warm private memory and
    beside our own conversion there."""
    picture = torch.rand(1, SIDE, SIDE, 3)
    pixels = hearth.tensors.Pixels(picture, "picture")
    private = mmap.mmap(-1, len(border.memory), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    work, bytes_ = torch.empty_like(picture), torch.empty(picture.shape, dtype=torch.uint8)

    def warm():
        torch.mul(picture, 255.0, out=work)
        bytes_.copy_(work.round_().clamp_(0, 255))

    samples = in_turn(
        {
            "hearth": lambda: milliseconds(lambda: border.send_u8(pixels), WARM),
            "torch, warm": lambda: milliseconds(warm, WARM),
            "as nodes write it": lambda: milliseconds(
                lambda: (picture * 255).round().clamp(0, 255).to(torch.uint8), WARM
            ),
            "ours, private": lambda: milliseconds(lambda: convert(pixels, private), WARM),
        },
        rounds,
    )
    middle = {name: median(values) for name, values in samples.items()}
    limit = 1.15 * min(middle["torch, warm"], middle["ours, private"]) + 0.15
    add_with_peers(
        table,
        "1024x1024x3 float to u8 in",
        middle,
        "ours, private",
        limit=limit,
        target="1.15 of the fastest conversion + 0.15",
    )


def pictures_in_and_out(border, peers, rounds, table):
    """A float picture there and as many bytes back into private memory. Ours goes to the engine
    process as u8 and comes back as hidden states; what the model computed is taken off."""
    fresh = Fresh()
    private, back = torch.empty(1, SIDE, SIDE, 3), torch.empty(1, SIDE, SIDE, 3)

    def hearth_():
        chat = [{"role": "user", "content": [fresh.take(), "!hidden 3072"]}]
        began = time.perf_counter()
        encoded = border.client.encode(border.model, chat, dtype="f32")
        wall = 1000 * (time.perf_counter() - began)
        receipt = encoded.receipt
        return [wall - receipt.preprocess_ms - receipt.vision_ms - receipt.prefill_ms]

    def several():
        return [sample for _ in range(WARM) for sample in hearth_()]

    contenders = {
        "hearth": several,
        "memcpy": lambda: milliseconds(lambda: private.copy_(fresh.take()), WARM),
        "memcpy twice": lambda: milliseconds(lambda: back.copy_(private.copy_(fresh.take())), 1),
    }
    contenders |= peers_with(peers, "send_back", fresh)
    try:
        hearth_()
    except harness.hearth.client.HearthError as error:
        print(f"In and out is left out: {error}")
        return
    samples = in_turn(contenders, max(rounds // 2, 3))
    middle = {name: median(values) for name, values in samples.items()}
    add_with_peers(
        table,
        "1024x1024x3 float in and out",
        middle,
        "memcpy",
        limit=5 * middle["memcpy"],
        target="5 memcpy",
    )


def video(border, rounds, table):
    """128 frames of 720p float, of which the model sees 16: they cross, as u8."""
    frames = torch.empty(FRAMES, HEIGHT, WIDTH, 3)  # what is not sampled is never touched
    sampled = frames[:: FRAMES // SAMPLED]
    sampled.copy_(torch.rand(HEIGHT, WIDTH, 3))
    pixels = hearth.tensors.Pixels(sampled, "video", is_video=True)
    private = torch.empty(sampled.shape)
    samples = in_turn(
        {
            "hearth": lambda: milliseconds(lambda: border.send_u8(pixels), 1),
            "memcpy of the sampled": lambda: milliseconds(lambda: private.copy_(sampled), 1),
        },
        max(rounds // 3, 3),
    )
    middle = {name: median(values) for name, values in samples.items()}
    add_with_peers(table, "128 x 720p float to 16 frames u8 in", middle, "memcpy of the sampled")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
