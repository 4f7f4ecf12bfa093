"""Prove that hearth works here, without a GPU or a model.

Starts a hearthd of its own with the embedded model on the processor, lets two clients describe two
pictures at the same time, kills a third in the middle of its work, and compares every answer with
what it must be. Nothing is left behind, and a service that runs is not touched.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .. import client, errors
from ..units import span
from . import background
from .output import answers, print_json
from .selftest_client import PICTURES
from .tables import table

EXAMPLES = (("hearth selftest", "a few seconds; exit code 0 only if all of it is right"),)
JSON = (
    '`{"passed", "seconds", "steps": [{"name", "passed", "said"}, …], '
    '"answers": [{"text", "receipt"}, …]}`'
)
_START_LIMIT_S = 60.0
_WORK_LIMIT_S = 60.0  # for a client to say something


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which program."""
    parser.add_argument(
        "--program", metavar="FILE", help="hearthd; default: beside this or on PATH"
    )


def run(options: argparse.Namespace) -> int:
    """All steps; the first that fails ends it."""
    test = _Test(options)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hearth-selftest-") as folder:
        test.run(background.find_program(options.program), Path(folder))
    seconds = time.monotonic() - began
    if options.json:
        print_json(
            {"passed": test.passed, "seconds": round(seconds, 3), "steps": test.steps,
             "answers": test.replies}
        )  # fmt: skip
    else:
        if test.replies:
            answers().print("", _receipts(test.replies), "", sep="\n")
        verdict = "[bold green]All is well" if test.passed else "[bold red]It does not work here"
        answers().print(f"{verdict}[/] after {seconds:.1f} s.")
    return 0 if test.passed else 1


class _Test:
    """The steps, and what became of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._is_quiet = bool(options.json)
        self.steps: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.socket = ""
        self._clients: list[subprocess.Popen[bytes]] = []

    @property
    def passed(self) -> bool:
        """Whether all of them were right."""
        return all(step["passed"] for step in self.steps)

    def step(self, name: str, passed: bool, said: str) -> bool:
        """Notes and shows one."""
        self.steps.append({"name": name, "passed": passed, "said": said})
        if not self._is_quiet:
            mark = "[green]✓[/]" if passed else "[red]✗[/]"
            out = answers()
            out.print(f"{mark} {name}  ", end="")
            out.print(said, style="dim", markup=False)
        return passed

    def run(self, program: Path, folder: Path) -> None:
        """From the start of a service to its end."""
        log = folder / "hearthd.log"
        self.socket = str(folder / "hearth.sock")
        process = _start(program, self.socket, log)
        try:
            began = time.monotonic()
            try:
                report = background.wait_ready(self.socket, process, _START_LIMIT_S, log)
            except errors.HearthError as error:
                self.step("the service starts", False, str(error))
                return
            device = report.devices[0].name if report.devices else "no device"
            self.step("the service starts", True, f"{time.monotonic() - began:.1f} s, on {device}")
            if {one.kind for one in report.devices} == {"none"}:
                self.step("there is an engine", False, "this build is without libtorch")
                return
            self._work()
        finally:
            for one in self._clients:  # before the service: its end would be an error to them
                one.kill()
                one.wait()
            code = _stop(process)
        self.step("it ends when it is asked to", code == 0, f"exit code {code}")

    def _work(self) -> None:
        with client.connect(self.socket) as watcher:
            victim = self._client("victim")
            assert victim.stdout is not None
            is_heard = select.select([victim.stdout], [], [], _WORK_LIMIT_S)[0]
            at_work = bool(is_heard) and victim.stdout.readline() == b"at work\n"
            describers = [self._client(name) for name in PICTURES]
            deadline = time.monotonic() + _WORK_LIMIT_S
            ended = [_output_of(one, deadline) for one in describers]
            victim.kill()
            victim.communicate()
            if not self._compare(ended):
                return
            loads = {reply["receipt"]["model_loads"] for reply in self.replies}
            often = "loaded once" if loads == {1} else f"loaded {max(loads)} times"
            self.step("one copy of the model for all", loads == {1}, often)
            self.step("a third client was killed at work", at_work, f"process {victim.pid}")
            left = _wait_given_back(watcher)
            self.step("what it held was given back", not left, left or "nothing is left of it")

    def _compare(self, ended: list[bytes]) -> bool:
        right = True
        for output, (name, (_, golden)) in zip(ended, PICTURES.items()):
            try:
                reply = json.loads(output)
            except ValueError:
                reply = {"text": "", "receipt": {}}
            right = self.step(name, reply["text"] == golden, reply["text"] or "no answer") and right
            self.replies.append(reply)
        return right

    def _client(self, name: str) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-m", "hearth.cli.selftest_client", self.socket, name]
        # a session of its own: Ctrl-C is for us, and we end it
        self._clients.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, env=environment, start_new_session=True
            )
        )
        return self._clients[-1]


def _start(program: Path, socket: str, log: Path) -> subprocess.Popen[bytes]:
    """On the processor, with nobody's settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_")}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CONFIGURATION_DIRECTORY"):
        environment[name] = os.path.dirname(socket)
    with log.open("wb") as out:
        return subprocess.Popen(
            [str(program), "--socket", socket, "--device", "cpu"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
            start_new_session=True,  # as its clients: Ctrl-C is for us
        )  # fmt: skip


def _output_of(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """All it says until it ends; what has not ended by then is killed, and its words are void."""
    try:
        return process.communicate(timeout=max(0.0, deadline - time.monotonic()))[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return b""


def _stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(20)
        process.kill()
    return process.wait()


def _wait_given_back(watcher: client.Client, limit_s: float = 10.0) -> str:
    """Waits until we are alone and nothing is held; else says what is left."""
    deadline = time.monotonic() + limit_s
    while True:
        report = watcher.status()
        held = {
            "connections": len(report.clients) - 1, "arenas": report.arenas,
            "requests": report.running + report.queued, "results": report.results,
        }  # fmt: skip
        left = ", ".join(f"{count} {what}" for what, count in held.items() if count)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _receipts(replies: list[dict[str, Any]]) -> object:
    made = table("", "Where the time went", *(f">{name}" for name in PICTURES))
    for row in ("queue", "load", "preprocess", "vision", "prefill", "decode", "total"):
        times = [reply["receipt"].get(f"{row}_ms", 0.0) for reply in replies]
        made.add_row(row, *map(span, times))
    for row in ("prompt_tokens", "generated_tokens"):
        numbers = [str(reply["receipt"].get(row, 0)) for reply in replies]
        made.add_row(row.replace("_", " "), *numbers)
    return made
