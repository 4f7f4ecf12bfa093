#!/usr/bin/env python3
"""Does a test notice when a seal, a bound, a quota or a release of the border is missing?

mutate.py BUILD            make every change of mutants.toml in a copy of the tree, one at a time,
                           and run the tests named there; the table goes to BUILD/mutation.md
mutate.py BUILD --only X   only files whose path contains X; of the others, what BUILD remembers
mutate.py BUILD --again    only what was not caught, or not run, the last time
mutate.py --sites          only look for sites that mutants.toml forgets

Ends with 1 when fewer than 95 % are caught, when a survivor has no explanation, when a mutant no
longer applies or compiles, or when there is a site that no mutant covers.

The copy, its objects and the results lie under BUILD; the checkout is only read. Builds without
torch, unoptimised, one compiler at a time; HEARTH_BUILD_WRAPPER, if set, goes before each build.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WANTED_PERCENT = 95
TEST_LIMIT_S = 100  # what takes longer hangs, which is noticed, too
WRAPPER = os.environ.get("HEARTH_BUILD_WRAPPER", "").split()


@dataclass
class Mutant:
    """One change and what should notice it."""

    path: str
    guards: str
    before: str
    after: str
    tests: list[str]
    survives: str = ""  # why no test can see it; empty: one must
    outcome: str = ""
    seconds: float = 0.0


def read_list() -> tuple[list[Mutant], dict[str, object]]:
    listed = tomllib.loads((HERE / "mutants.toml").read_text())
    mutants = [
        Mutant(**{"path": file["path"], "tests": file["tests"], **mutant})
        for file in listed["file"]
        for mutant in file["mutants"]
    ]
    return mutants, listed


# --- sites that the list must know -------------------------------------------------------------


def matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def sites(listed: dict) -> Iterator[tuple[str, int, str]]:
    """Every line that looks like a seal, a bound or a release: path, line number, text."""
    for path in sorted(ROOT.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        rules = [rule for rule in listed["site"] if matches(name, rule["paths"])]
        if not rules or not path.is_file():
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = re.split(r"\s//|\s#\s", line)[0]
            is_body = line[:1].isspace() and not code.lstrip().startswith("def ")
            if is_body and any(re.search(rule["pattern"], code) for rule in rules):
                yield name, number, line.strip()


def covered_lines(mutants: list[Mutant]) -> set[tuple[str, int]]:
    covered = set()
    for mutant in mutants:
        text = (ROOT / mutant.path).read_text()
        at = text.find(mutant.before)
        if at < 0:
            continue
        first = text.count("\n", 0, at) + 1
        covered |= {
            (mutant.path, first + offset) for offset in range(mutant.before.count("\n") + 1)
        }
    return covered


def forgotten_sites(mutants: list[Mutant], listed: dict) -> list[str]:
    covered = covered_lines(mutants)
    forgotten = []
    for path, number, line in sites(listed):
        ignored = any(
            matches(path, [entry["path"]]) and entry["text"] in line
            for entry in listed.get("ignored", [])
        )
        if not ignored and (path, number) not in covered:
            forgotten.append(f"{path}:{number}: {line}")
    return forgotten


# --- the copy --------------------------------------------------------------------------------


def copy_tree(tree: Path) -> None:
    """The checkout as it is, but nothing that git ignores."""
    tree.mkdir(parents=True, exist_ok=True)
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        source, target = ROOT / name, tree / name
        if not source.exists():
            target.unlink(missing_ok=True)
        elif not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def configure(tree: Path, objects: Path) -> None:
    command = ["cmake", "--preset", "no-torch", "-B", objects, "-DCMAKE_CXX_FLAGS_RELEASE=-O0"]
    linker = next((name for name in ("lld", "gold") if shutil.which(f"ld.{name}")), None)
    if linker:  # linking is most of the work
        command.append(f"-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld={linker}")
    subprocess.run(
        [*map(str, command), f"-DHEARTH_PYTHON={sys.executable}"],
        cwd=tree,
        check=True,
        capture_output=True,
    )


def build(objects: Path, targets: set[str]) -> subprocess.CompletedProcess[str]:
    command = [*WRAPPER, "cmake", "--build", str(objects), "-j1", "--target", *sorted(targets)]
    return subprocess.run(command, capture_output=True, text=True)


def is_python(test: str) -> bool:
    return test.endswith(".py")


def targets_of(tests: list[str]) -> set[str]:
    """What must be built for these tests; the programs only for those that run them."""
    targets = {test for test in tests if not is_python(test)}
    if any(test.startswith("tests/e2e") for test in tests) or targets & {"broker_program_test"}:
        targets |= {"hearthd", "hearth-worker"}
    if "worker_process_test" in targets:
        targets.add("hearth-worker")
    return targets


def run_test(test: str, tree: Path, objects: Path) -> str:
    """Empty when it passes, else how it failed."""
    if is_python(test):
        command = [sys.executable, "-m", "pytest", "-q", "-x", *test.split()]
    else:
        command = [str(objects / "tests" / test), "--gtest_brief=1", "--gtest_fail_fast"]
    environment = os.environ | {
        "PYTHONPATH": str(tree / "client_py"),
        "HEARTH_BIN": str(objects / "bin"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    test_process = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = test_process.wait(TEST_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(test_process.pid, signal.SIGKILL)
        test_process.wait()
        return "hangs"
    return "" if code == 0 else "fails" if code > 0 else "crashes"


# --- one mutant after another ------------------------------------------------------------------


def try_mutant(mutant: Mutant, tree: Path, objects: Path) -> None:
    file = tree / mutant.path
    original = file.read_text()
    if original.count(mutant.before) != 1:
        mutant.outcome = f"INVALID: stands there {original.count(mutant.before)} times"
        return
    began = time.monotonic()
    file.write_text(original.replace(mutant.before, mutant.after))
    try:
        for test in mutant.tests:
            targets = set() if is_python(mutant.path) else targets_of([test])
            if targets and build(objects, targets).returncode != 0:
                mutant.outcome = "INVALID: does not compile"
                return
            how = run_test(test, tree, objects)
            if how:
                mutant.outcome = f"caught: {test} {how}"
                return
        mutant.outcome = "explained" if mutant.survives else "SURVIVED"
    finally:
        file.write_text(original)
        mutant.seconds = time.monotonic() - began


def prove_baseline(mutants: list[Mutant], tree: Path, objects: Path) -> bool:
    """Unchanged, every test passes; otherwise all that follows would mean nothing."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    targets = targets_of(tests)
    built = build(objects, targets) if targets else None
    if built and built.returncode != 0:
        print(built.stdout[-4000:])
        return False
    failing = [test for test in tests if run_test(test, tree, objects)]
    for test in failing:
        print(f"{test} fails without any change")
    return not failing


def table(mutants: list[Mutant]) -> str:
    lines = ["| file | what the site guards | outcome |", "|---|---|---|"]
    for mutant in mutants:
        reason = f" ({mutant.survives})" if mutant.outcome == "explained" else ""
        lines.append(f"| {mutant.path} | {mutant.guards} | {mutant.outcome}{reason} |")
    return "\n".join(lines) + "\n"


def judge(mutants: list[Mutant]) -> tuple[bool, str]:
    caught = sum(mutant.outcome.startswith("caught") for mutant in mutants)
    explained = sum(mutant.outcome == "explained" for mutant in mutants)
    unexplained = [m for m in mutants if m.outcome.startswith(("SURVIVED", "INVALID"))]
    n_run = sum(bool(mutant.outcome) for mutant in mutants)
    percent = 100 * caught / max(n_run, 1)
    summary = (
        f"{caught} of {n_run} mutants caught ({percent:.1f} %), {explained} survivors explained, "
        f"{len(unexplained)} unexplained, {len(mutants) - n_run} not run"
    )
    return percent >= WANTED_PERCENT and not unexplained, summary


def remember(mutants: list[Mutant], folder: Path) -> None:
    """Outcomes of an earlier run for the mutants that this one leaves out."""
    memory = folder / "mutation.json"
    earlier = json.loads(memory.read_text()) if memory.exists() else []
    known = {(each["path"], each["before"], each["after"]): each for each in earlier}
    for mutant in mutants:
        found = known.get((mutant.path, mutant.before, mutant.after))
        if found and not mutant.outcome:
            mutant.outcome, mutant.seconds = found["outcome"], found["seconds"]
        if mutant.survives and mutant.outcome == "SURVIVED":
            mutant.outcome = "explained"


def report(mutants: list[Mutant], folder: Path) -> bool:
    remember(mutants, folder)
    good, summary = judge(mutants)
    (folder / "mutation.md").write_text(f"{summary}\n\n{table(mutants)}")
    (folder / "mutation.json").write_text(
        json.dumps([vars(mutant) for mutant in mutants], indent=1) + "\n"
    )
    print(summary)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation tests of the border.")
    parser.add_argument("build", type=Path, nargs="?")
    parser.add_argument("--only", default="")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--sites", action="store_true")
    asked = parser.parse_args()
    mutants, listed = read_list()
    forgotten = forgotten_sites(mutants, listed)
    print("\n".join(f"no mutant and no reason: {site}" for site in forgotten))
    if asked.sites or asked.build is None:
        return 1 if forgotten else 0
    folder = asked.build.resolve()
    chosen = [mutant for mutant in mutants if asked.only in mutant.path]
    if asked.again:
        remember(mutants, folder)
        chosen = [m for m in chosen if not m.outcome.startswith(("caught", "explained"))]
    tree, objects = folder / "tree", folder / "objects"
    copy_tree(tree)
    configure(tree, objects)
    if not prove_baseline(chosen, tree, objects):
        return 1
    for number, mutant in enumerate(chosen, 1):
        try_mutant(mutant, tree, objects)
        print(
            f"{number:3}/{len(chosen)} {mutant.seconds:5.1f} s  {mutant.outcome}  "
            f"[{mutant.path}: {mutant.guards}]",
            flush=True,
        )
    return 0 if report(mutants, folder) and not forgotten else 1


if __name__ == "__main__":
    sys.exit(main())
