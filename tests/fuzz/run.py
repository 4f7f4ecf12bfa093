#!/usr/bin/env python3
"""Runs the fuzzers that `cmake --preset fuzz` built, beginning with the committed corpus.

run.py BUILD [TARGET…] [--seconds N]    fuzz each target for N seconds; 1 when one finds something
run.py BUILD [TARGET…] --replay         run the committed corpus only
run.py BUILD [TARGET…] --keep           afterwards write the smallest corpus with the same coverage

What is found lies in BUILD/fuzz-found/<target>/; `fuzz_<target> FILE` runs one such input again.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import seeds

HERE = Path(__file__).resolve().parent
# Bytes of the longest input: what the formats need, no more, for long inputs are slow ones.
MAX_LEN = {"message": 2048, "frame_stream": 4096, "tensor": 128, "chat": 1024}
USUAL_MAX_LEN = 2048
KEPT_BYTES = 40_000  # of corpus a target in the repository
KEPT_INPUTS = 160
# Half the time of a run would go into remembering where freed memory came from.
QUICKER = {"ASAN_OPTIONS": "quarantine_size_mb=8:malloc_context_size=2"}


def fuzzer(build: Path, target: str, *arguments: str | Path) -> list[str]:
    longest = MAX_LEN.get(target, USUAL_MAX_LEN)
    command = [build / "tests" / f"fuzz_{target}", "-rss_limit_mb=512", f"-max_len={longest}"]
    return [str(part) for part in (*command, "-timeout=10", *arguments)]


def fuzz(build: Path, target: str, seconds: int) -> bool:
    """Prints one line; False when something was found."""
    found = build / "fuzz-found" / target
    work = build / "fuzz-corpus" / target
    for folder in (found, work):
        folder.mkdir(parents=True, exist_ok=True)
    command = fuzzer(
        build,
        target,
        f"-max_total_time={seconds}",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/",
        f"-dict={build / 'fuzz-seeds/json.dict'}",
        work,
        build / "fuzz-seeds" / target,
        HERE / "corpus" / target,
    )
    began = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=os.environ | QUICKER
    )
    took = time.monotonic() - began
    runs = re.findall(r"number_of_executed_units:\s*(\d+)", done.stderr)
    cover = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr) or [("0", "0")]
    count = int(runs[-1]) if runs else 0
    verdict = "ok" if done.returncode == 0 else f"FOUND SOMETHING, see {found}"
    print(
        f"{target:14} {count:>12,} runs {count / took:>8,.0f}/s  "
        f"{cover[-1][0]:>5} edges {cover[-1][1]:>6} features  {verdict}",
        flush=True,
    )
    if done.returncode != 0:
        print(done.stderr[-6000:], flush=True)
    return done.returncode == 0


def keep(build: Path, target: str) -> None:
    """Merges all that was found into the smallest set of inputs that reaches the same edges."""
    merged = build / "fuzz-merged" / target
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir(parents=True)
    sources = [
        folder
        for folder in (
            HERE / "corpus" / target,
            build / "fuzz-seeds" / target,
            build / "fuzz-corpus" / target,
        )
        if folder.exists()
    ]
    command = fuzzer(build, target, "-merge=1", "-use_value_profile=0", merged, *sources)
    subprocess.run(command, capture_output=True, check=True)
    inputs = sorted(merged.iterdir(), key=lambda path: path.stat().st_size)
    corpus = HERE / "corpus" / target
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    step = max(1, len(inputs) / KEPT_INPUTS)  # of every size some, large ones only while they fit
    size = 0
    for index in range(min(len(inputs), KEPT_INPUTS)):
        path = inputs[int(index * step)]
        size += path.stat().st_size
        if size <= KEPT_BYTES:
            shutil.copy(path, corpus / path.name)
    print(f"{target:14} {len(list(corpus.iterdir()))} of {len(inputs)} inputs kept", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the fuzzers.")
    parser.add_argument("build", type=Path)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    targets = asked.targets or list(seeds.TARGETS)
    if asked.replay:
        for target in targets:
            folder = HERE / "corpus" / target
            command = fuzzer(asked.build, target, "-runs=0", folder)
            subprocess.run(command, check=True, capture_output=True)
            print(f"{target:14} {len(list(folder.iterdir()))} inputs", flush=True)
        return 0
    seeds.write(asked.build / "fuzz-seeds")
    good = [fuzz(asked.build, target, asked.seconds) for target in targets]
    if asked.keep:
        for target in targets:
            keep(asked.build, target)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
