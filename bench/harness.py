"""What all benchmarks share: a private service, the machine's description, the ledger."""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEDGER = Path(__file__).with_name("ledger.jsonl")
sys.path.insert(0, str(ROOT / "client_py"))

import hearth.client  # noqa: E402


@contextlib.contextmanager
def service(*arguments, timeout=60):
    """Start hearthd on a socket of its own; yields the socket's path.

    The binaries come from HEARTH_BIN, else build/release/bin. Its log goes to build/bench.log.
    """
    folder = Path(os.environ.get("HEARTH_BIN", ROOT / "build/release/bin"))
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as scratch:
        socket = Path(scratch) / "hearth.sock"
        with (ROOT / "build/bench.log").open("wb") as log:
            daemon = subprocess.Popen(
                [folder / "hearthd", "--socket", socket, *arguments], stderr=log
            )
        try:
            _wait_until_ready(daemon, socket, timeout)
            yield socket
        finally:
            daemon.terminate()
            daemon.wait(20)


def _wait_until_ready(daemon, socket, timeout):
    began = time.monotonic()
    while time.monotonic() - began < timeout:
        if daemon.poll() is not None:
            break
        with (
            contextlib.suppress(hearth.client.NotReachable),
            hearth.client.connect(socket) as client,
        ):
            if client.status().worker_state == "ready":
                return
        time.sleep(0.05)
    raise SystemExit("hearthd did not become ready; see build/bench.log")


def percentile(samples, share):
    """The value below which `share` (0..1) of the samples lie."""
    ordered = sorted(samples)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def milliseconds(function, repeats):
    """Run `function` that many times; returns each run's wall time in milliseconds."""
    samples = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        samples.append(1000 * (time.perf_counter() - began))
    return samples


def machine():
    """Processor, cores and load, as far as the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


def commit():
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def record(name, figures, show=True):
    """Append `figures`, with machine and commit, to the ledger; show: print them as a table."""
    width = max(len(key) for key in figures)
    if show:
        print(f"\n{name}")
    for key, value in figures.items() if show else ():
        print(
            f"  {key:{width}}  {value:.4g}"
            if isinstance(value, float)
            else f"  {key:{width}}  {value}"
        )
    entry = {"bench": name, "commit": commit(), "machine": machine(), "figures": figures}
    with LEDGER.open("a") as ledger:
        ledger.write(json.dumps(entry) + "\n")


median = statistics.median
