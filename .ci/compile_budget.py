#!/usr/bin/env python3
"""Which sources pull in too much: a heavy file is a heavy header that escaped its folder.

compile_budget.py MEGABYTES BUILD_DIR…    fails and names every source whose includes add up to more

Counts the bytes of all files that a source includes, from Ninja's record of dependencies: the same
on every machine, however busy. Seconds (from Ninja's log) are shown beside it and decide nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def included_megabytes(build: Path) -> dict[str, float]:
    """Megabytes of source text behind every object file."""
    sizes: dict[str, int] = {}
    found: dict[str, float] = {}
    target = ""
    listing = ["ninja", "-C", str(build), "-t", "deps"]
    for line in subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    ):
        if ": #deps" in line:
            target = line.partition(":")[0]
            found[target] = 0.0
        elif line.strip():
            path = build / line.strip()
            if line not in sizes:
                sizes[line] = path.stat().st_size if path.exists() else 0
            found[target] += sizes[line] / 1e6
    return {target: size for target, size in found.items() if target.endswith(".o")}


def seconds(build: Path) -> dict[str, float]:
    """How long each object took when it was made last."""
    rows = [line.split("\t") for line in (build / ".ninja_log").read_text().splitlines()]
    return {row[3]: (int(row[1]) - int(row[0])) / 1000 for row in rows if len(row) == 5}


def is_within(build: Path, limit: float) -> bool:
    """Prints what is over the limit, else what took longest."""
    sizes, took = included_megabytes(build), seconds(build)
    if not sizes:
        print(f"{build}: nothing was compiled, so nothing was checked")
        return False
    heavy = sorted((target for target in sizes if sizes[target] > limit), key=sizes.__getitem__)
    for target in heavy or sorted(sizes, key=lambda target: -took.get(target, 0.0))[:3]:
        print(f"  {sizes[target]:5.1f} MB {took.get(target, 0.0):5.1f} s  {build}/{target}")
    if heavy:
        print(f"The files above include more than {limit:g} MB of source text.")
    return not heavy


def main() -> int:
    limit, builds = float(sys.argv[1]), [Path(build) for build in sys.argv[2:]]
    return 0 if builds and all([is_within(build, limit) for build in builds]) else 1


if __name__ == "__main__":
    sys.exit(main())
