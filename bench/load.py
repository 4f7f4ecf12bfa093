"""How fast a model comes and goes: hearth's load beside a plain read of the same files and beside
transformers' from_pretrained, then many loads in a row.

    python bench/random_model.py 2b /tmp/2b --tokenizer DIR     # once: random weights, real shape
    python bench/load.py /tmp/2b [--parts cached,cold,cycles] [--weights bfloat16,int8,int4]

Parts: cached (the files are in the page cache), cold (they are not: posix_fadvise DONTNEED before
every turn), cycles (load, answer, unload, --cycles times: memory that stays, speed that drifts).
In a round the three take turns; every figure is the median of --rounds. Before each turn as much
memory as it needs is taken and given back: a virtual machine may have handed free memory to its
host, and taking that back can last longer than all that is measured here (fresh_memory_s is what
the same memory costs when the machine still has it).
"""

import argparse
import collections
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

import harness
import hearth.client
import served

FOLDER = Path(__file__).parent
PROBE_BYTES = 1 << 30


def main():
    options = parse_options()
    for part in options.parts.split(","):
        for weights in options.weights.split(","):
            figures = PARTS[part](options, weights)
            harness.record(f"load {part} {weights}", {"threads": options.threads, **figures})


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a Qwen3-VL folder")
    parser.add_argument("--parts", default="cached,cold,cycles")
    parser.add_argument("--weights", default="bfloat16,int8,int4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--plain", action="store_true", help="without transformers")
    return parser.parse_args()


# --- parts ------------------------------------------------------------------------------------


def cached(options, weights):
    return timed(options, weights, lambda: read_plainly(options.model))


def cold(options, weights):
    return timed(options, weights, lambda: forget(options.model))


def timed(options, weights, prepare):
    beside_transformers = weights == "bfloat16" and not options.plain
    taken = collections.defaultdict(list)
    torch.set_num_threads(options.threads)
    with started(options, weights) as (client, model):
        for _ in range(options.rounds):
            prepare()
            taken["plain_read_s"].append(read_plainly(options.model))
            prepare()
            taken["fresh_memory_s"].append(settle_memory(options.model))
            placed, ready = load(client, model)
            taken["hearth_weights_s"].append(placed)
            taken["hearth_ready_s"].append(ready)
            client.unload(model)
            client.free_memory()
            if beside_transformers:
                prepare()
                settle_memory(options.model)
                taken["transformers_s"].append(load_with_transformers(options))
    return summary(taken, weight_bytes(options.model) / 1e9)


def summary(taken, gigabytes):
    figures = {"file_gigabytes": gigabytes}
    figures |= {name: harness.median(seconds) for name, seconds in taken.items()}
    ours = taken["hearth_weights_s"]
    figures["hearth_gigabytes_per_second"] = gigabytes / harness.median(ours)
    figures["hearth_over_plain_read"] = ratio(ours, taken["plain_read_s"])
    if "transformers_s" in taken:
        figures["transformers_over_hearth"] = ratio(taken["transformers_s"], ours)
    return figures


def cycles(options, weights, new=48):
    """Memory of the engine's process after each unload, and its speed over the machine's."""
    probe = torch.ones(PROBE_BYTES // 4)
    torch.set_num_threads(options.threads)
    memory, speeds = [], []
    with started(options, weights) as (client, model):
        for _ in range(options.cycles):
            load(client, model)
            before = bandwidth(probe)
            reply = served.greedy(client, model, served.text(64), new)
            speeds.append(reply.receipt.tokens_per_second / ((before + bandwidth(probe)) / 2))
            client.unload(model)
            client.free_memory()
            status = client.status()
            memory.append(private_bytes(status.worker_pid))
            if status.memory_bytes:
                raise SystemExit(f"{status.memory_bytes} bytes are still accounted for")
    return {
        "cycles": options.cycles,
        "resident_after_first_megabytes": memory[0] / 1e6,
        "drift_from_second_megabytes": (memory[-1] - memory[min(1, len(memory) - 1)]) / 1e6,
        "speed_over_bandwidth_max_over_min": max(speeds) / min(speeds),
    }


PARTS = {"cached": cached, "cold": cold, "cycles": cycles}


# --- one of each ------------------------------------------------------------------------------


class started:
    """A private service and a model that it knows and has not loaded."""

    def __init__(self, options, weights):
        self._options, self._weights = options, weights

    def __enter__(self):
        arguments = ("--no-ember", "--threads", str(self._options.threads))
        self._service = harness.service(*arguments)
        self._client = hearth.client.connect(self._service.__enter__())
        return self._client, self._client.offer_model(self._options.model, self._weights)

    def __exit__(self, *failure):
        self._client.close()
        self._service.__exit__(*failure)


def load(client, model):
    """Seconds until all weights are in their place, and until the model answers."""
    placed = []
    began = time.perf_counter()

    def note(progress):
        if progress.done == progress.total:
            placed.append(time.perf_counter() - began)

    client.load(model, on_progress=note)
    ready = time.perf_counter() - began
    return (placed[0] if placed else ready), ready


def load_with_transformers(options):
    command = [sys.executable, FOLDER / "peer_load.py", options.model, str(options.threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def weight_files(folder):
    return sorted(folder.glob("*.safetensors"))


def weight_bytes(folder):
    return sum(file.stat().st_size for file in weight_files(folder))


def read_plainly(folder, block_bytes=1 << 20):
    """Seconds that reading the files from front to back takes, as `cat` does it."""
    block = bytearray(block_bytes)
    began = time.perf_counter()
    for file in weight_files(folder):
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(block):
                pass
    return time.perf_counter() - began


def forget(folder):
    """Takes the files out of the page cache."""
    for file in weight_files(folder):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def settle_memory(folder):
    """Takes a little more memory than the files' bytes and gives it back, twice; returns the
    seconds of the second time."""
    for _ in range(2):
        memory = mmap.mmap(-1, int(1.2 * weight_bytes(folder)), mmap.MAP_PRIVATE)
        memory.madvise(mmap.MADV_HUGEPAGE)
        pages = torch.frombuffer(memory, dtype=torch.uint8)
        began = time.perf_counter()
        pages.zero_()
        taken = time.perf_counter() - began
        del pages
        memory.close()
    return taken


def bandwidth(probe, passes=12):
    """Bytes a second at which this machine reads memory now, for about half a second."""
    began = time.perf_counter()
    for _ in range(passes):
        probe.sum()
    return passes * probe.numel() * 4 / (time.perf_counter() - began)


def private_bytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("the system does not tell the worker's memory")


def ratio(ours, theirs):
    return harness.median([a / b for a, b in zip(ours, theirs, strict=True)])


if __name__ == "__main__":
    sys.exit(main())
