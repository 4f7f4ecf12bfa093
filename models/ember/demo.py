"""hearth at work, without ComfyUI: one service, several clients, one copy of one model.

Starts hearthd on a socket of its own, lets two client processes describe two pictures at the same
time, kills a third one in the middle of its work, shows what the service holds afterwards, and
stops the service again. Exit code 0 only if every step did what it says.

    python models/ember/demo.py --bin build/release/bin --out build/quickstart
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

import hearth.client
import world

SEEDS = (20, 26)
WATCHDOG_S = 120
RECEIPT_ROWS = (
    "load_ms",
    "preprocess_ms",
    "vision_ms",
    "prefill_ms",
    "decode_ms",
    "total_ms",
    "prompt_tokens",
    "generated_tokens",
    "tokens_per_second",
    "model_loads",
)

console = Console(highlight=False)


def main():
    options = parse_options()
    if options.client is not None:
        return describe(options.socket, options.client)
    if options.victim:
        return hold_everything(options.socket)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hearth-") as folder:
        socket = Path(folder) / "hearth.sock"
        daemon = start_daemon(options.bin, socket, options.out / "hearthd.log")
        try:
            replies = describe_side_by_side(socket, options.out)
            kill_a_client(socket)
        finally:
            stopped_cleanly = stop(daemon)
    show_receipts(replies)
    poster = draw_poster(replies, options.out / "described.png")
    console.print(f"Pictures and words to look at: [bold]{poster}[/]")
    return 0 if stopped_cleanly else fail("hearthd did not stop cleanly")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=Path("build/release/bin"))
    parser.add_argument("--out", type=Path, default=Path("build/quickstart"))
    parser.add_argument("--socket", help=argparse.SUPPRESS)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--victim", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def fail(what):
    console.print(f"[red]{what}[/]")
    return 1


def start_daemon(folder, socket, log):
    """Start hearthd and wait until it answers a ping."""
    began = time.monotonic()
    daemon = subprocess.Popen(
        [folder / "hearthd", "--socket", socket], stderr=log.open("wb"), stdout=subprocess.DEVNULL
    )
    while time.monotonic() - began < WATCHDOG_S:
        if daemon.poll() is not None:
            sys.exit(f"hearthd ended with {daemon.returncode}; its log is {log}")
        try:
            with hearth.client.connect(socket) as client:
                state = client.status().worker_state
                if state == "failed":
                    sys.exit(f"the engine cannot start:\n{log.read_text()}")
                if state == "ready":
                    console.print(f"hearthd is up after {time.monotonic() - began:.1f} s")
                    return daemon
        except hearth.client.NotReachable:
            pass
        time.sleep(0.05)
    daemon.kill()
    sys.exit(f"hearthd was not ready within {WATCHDOG_S} s; its log is {log}")


def stop(daemon):
    """Ask hearthd to stop. Returns whether it ended by itself and well."""
    daemon.send_signal(signal.SIGTERM)
    try:
        return daemon.wait(10) == 0
    except subprocess.TimeoutExpired:
        daemon.kill()
        return False


def start_client(socket, *arguments):
    return subprocess.Popen(
        [sys.executable, __file__, "--socket", socket, *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def describe_side_by_side(socket, out):
    """Two processes, two pictures, one model. Returns each picture's seed, words and receipt."""
    console.print("Two clients, each a process of its own, send a picture to the same model:")
    clients = [start_client(socket, "--client", str(seed)) for seed in SEEDS]
    replies, wrong = [], 0
    for seed, client in zip(SEEDS, clients, strict=True):
        output, _ = client.communicate(timeout=WATCHDOG_S)
        if client.returncode != 0:
            sys.exit(f"the client with picture {seed} failed")
        reply = json.loads(output)
        image, scene = world.draw(seed)
        image.save(out / f"picture-{seed}.png")
        is_true = reply["text"] == world.caption(scene)
        wrong += not is_true
        verdict = "[green]true[/]" if is_true else "[red]not quite[/]"
        console.print(f"  [bold]{reply['text']}[/]  ({verdict})")
        replies.append(reply)
    if wrong:
        sys.exit("ember did not describe what it was shown")
    loads = {reply["receipt"]["model_loads"] for reply in replies}
    if loads != {1}:
        sys.exit(f"the model was loaded {loads} times instead of once")
    console.print("Both were answered by one copy of ember, loaded once.")
    return replies


def describe(socket, seed):
    """A client: sends the picture of `seed`, prints the reply as JSON."""
    image, _ = world.draw(seed)
    with hearth.client.connect(socket) as client:
        messages = [{"role": "user", "content": [pixels(image), world.PROMPT]}]
        reply = client.generate("ember", messages, temperature=0.0)
    receipt = {name: getattr(reply.receipt, name) for name in RECEIPT_ROWS}
    print(json.dumps({"seed": seed, "text": reply.text, "receipt": receipt}))
    return 0


def pixels(image):
    import numpy

    return numpy.asarray(image)  # u8 [height, width, 3]


def hold_everything(socket):
    """A client that holds an arena and open requests, says so, and waits to be killed."""
    client = hearth.client.connect(socket)
    image, _ = world.draw(SEEDS[0])
    messages = [{"role": "user", "content": [pixels(image), world.PROMPT]}]
    streams = [client.generate("ember", messages, stream=True) for _ in range(8)]
    next(iter(streams[0]))
    print("working", flush=True)
    signal.pause()
    return 1


def kill_a_client(socket):
    """Kill a working client and wait until the service holds nothing of it any more."""
    with hearth.client.connect(socket) as client:
        before = client.status()
        victim = start_client(socket, "--victim")
        if victim.stdout.readline() != "working\n":
            sys.exit("the client that was to be killed ended before it held anything")
        held = client.status()
        if held.arenas <= before.arenas:
            sys.exit("the client that was to be killed holds no shared memory")
        victim.kill()
        victim.wait()
        began = time.monotonic()
        while time.monotonic() - began < WATCHDOG_S:
            after = client.status()
            if holdings(after) == holdings(before):
                break
            time.sleep(0.001)
        else:
            sys.exit(f"left behind by a killed client: {holdings(after)} before {holdings(before)}")
    freed_mib = (held.arena_bytes - after.arena_bytes) / 2**20
    console.print(
        f"A third client was killed (-9) at work: {freed_mib:.0f} MiB of shared memory and all its "
        f"requests were gone {1000 * (time.monotonic() - began):.0f} ms later, nothing is left."
    )


def holdings(status):
    names = ("arenas", "arena_bytes", "running", "queued", "descriptors")
    return {name: getattr(status, name) for name in names}


def show_receipts(replies):
    table = Table(title="Receipts", title_justify="left")
    table.add_column("")
    for reply in replies:
        table.add_column(f"picture {reply['seed']}", justify="right")
    for name in RECEIPT_ROWS:
        cells = (reply["receipt"][name] for reply in replies)
        table.add_row(
            name, *(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
        )
    console.print(table)


def draw_poster(replies, path):
    """The pictures with their words below, as one PNG. Returns its path."""
    scale, margin, line_height = 2, 16, 22
    tiles = [world.draw(reply["seed"])[0] for reply in replies]
    tiles = [
        tile.resize((tile.width * scale, tile.height * scale), Image.LANCZOS) for tile in tiles
    ]
    width = max(tile.width for tile in tiles)
    words = [textwrap.wrap(reply["text"], width // 8) for reply in replies]
    picture_height = max(tile.height for tile in tiles)
    text_height = line_height * max(len(lines) for lines in words)
    size = (len(tiles) * (width + margin) + margin, picture_height + text_height + 3 * margin)
    poster = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(poster), ImageFont.load_default(16)
    for index, (tile, lines) in enumerate(zip(tiles, words, strict=True)):
        left = margin + index * (width + margin)
        poster.paste(tile, (left, margin))
        pen.text(
            (left, picture_height + 2 * margin),
            "\n".join(lines),
            fill="black",
            font=font,
            spacing=4,
        )
    poster.save(path)
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
