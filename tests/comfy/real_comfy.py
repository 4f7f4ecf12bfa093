"""Drives a real ComfyUI, headless on the CPU, as fake_comfy drives the harness.

The checkout is only read: models, packs, inputs and the database live in a folder of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import aiohttp
from fake_comfy import Outcome

_START_SECONDS = 180.0
_STOP_SECONDS = 15.0
_WATCHDOG_SECONDS = 120.0
_TEXT_MESSAGE = 3  # type of the binary websocket message that send_progress_text makes
_ENDINGS = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}
# A proxy of the environment must not get between the test and the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RealComfy:
    """One running ComfyUI with one pack. Same names and meanings as FakeComfy."""

    def __init__(self, checkout: Path, pack: Path, base: Path, env: dict[str, str]) -> None:
        self.checkout, self.base, self._env = checkout, base, env
        for folder in ("custom_nodes", "input", "front", "models/text_encoders", "models/LLM"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        (base / "front" / "index.html").write_text("headless")
        (base / "custom_nodes" / "hearth").symlink_to(pack)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._log = base / "comfy.log"

    def __enter__(self) -> RealComfy:
        flags = ["--cpu", "--listen", "127.0.0.1", "--port", str(self._port)]
        flags += ["--base-directory", str(self.base), "--disable-api-nodes"]
        flags += ["--front-end-root", str(self.base / "front")]
        flags += ["--database-url", "sqlite:///:memory:"]
        python = os.environ.get("COMFYUI_PYTHON", sys.executable)
        # ComfyUI must find the pack in custom_nodes, not the package that this process uses.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # Byte code goes to the tests' folder: the checkout stays as it is, later starts are fast.
        byte_code = {
            "PYTHONPYCACHEPREFIX": str(self.base.parent / "byte_code"),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [python, "main.py", *flags],
                cwd=self.checkout,
                env={**inherited, **byte_code, "HF_HUB_OFFLINE": "1", **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_it_listens()
            self._nodes = self._get("/object_info")
            self.version = self._get("/system_stats")["system"]["comfyui_version"]
            self.start_log = self.log()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """As a crash would."""
        self._process.kill()
        self._process.wait()

    def queue(self, workflow: dict[str, Any]) -> None:
        """Has a workflow run without waiting for its end."""
        self.post("/prompt", {"prompt": workflow})

    def post(self, path: str, body: dict[str, Any]) -> None:
        """What the browser sends when a button is pressed."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url(path), json.dumps(body).encode(), headers)
        _opener.open(request, timeout=30).close()

    def log(self) -> str:
        """What ComfyUI printed so far."""
        return self._log.read_text(errors="replace")

    def inputs_of(self, node: str) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Name: (type or choices, options) of every input, as the browser learns them."""
        declared = self._get(f"/object_info/{node}")[node]["input"]
        return {**declared["required"], **declared.get("optional", {})}

    def page(self, path: str) -> str:
        """The text that the web server gives for a path."""
        with _opener.open(self._url(path), timeout=30) as reply:
            return str(reply.read().decode())

    def run(self, workflow: dict[str, Any], interrupt_after: float | None = None) -> Outcome:
        """Runs a workflow to its end. `interrupt_after`: seconds until the user presses cancel."""
        run = self._run(workflow, interrupt_after)
        return asyncio.run(asyncio.wait_for(run, _WATCHDOG_SECONDS))

    async def _run(self, workflow: dict[str, Any], interrupt_after: float | None) -> Outcome:
        outcome, client = Outcome(), uuid.uuid4().hex
        async with aiohttp.ClientSession(trust_env=False) as http:
            socket_url = self._url(f"/ws?clientId={client}")
            async with http.ws_connect(socket_url, max_msg_size=0) as events:
                began = time.perf_counter()
                body = {"prompt": workflow, "client_id": client}
                async with http.post(self._url("/prompt"), json=body) as reply:
                    answer = await reply.json()
                    # With a good branch left, ComfyUI accepts a workflow and runs only that one.
                    if reply.status != 200 or answer["node_errors"]:
                        outcome.status, outcome.error = "rejected", json.dumps(answer)
                        outcome.seconds = time.perf_counter() - began
                        return outcome
                cancel = asyncio.create_task(self._cancel(http, interrupt_after))
                await _follow(events, answer["prompt_id"], outcome, began)
                outcome.seconds = time.perf_counter() - began
                if interrupt_after is not None:
                    outcome.interrupt_seconds = time.perf_counter() - await cancel
        return outcome

    async def _cancel(self, http: aiohttp.ClientSession, after: float | None) -> float:
        """Presses cancel; when that was."""
        if after is None:
            return 0.0
        await asyncio.sleep(after)
        asked = time.perf_counter()
        async with http.post(self._url("/interrupt"), json={}):
            return asked

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def _get(self, path: str) -> Any:
        return json.loads(self.page(path))

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"ComfyUI ended:\n{self.log()[-4000:]}"
            with contextlib.suppress(urllib.error.URLError, OSError):
                self.page("/system_stats")
                return
            time.sleep(0.1)
        raise AssertionError(f"ComfyUI did not start:\n{self.log()[-4000:]}")


async def _follow(events: Any, prompt_id: str, outcome: Outcome, began: float) -> None:
    """Reads the websocket until ComfyUI has ended this workflow and said so."""
    async for message in events:
        if message.type == aiohttp.WSMsgType.BINARY:
            _take_text(message.data, outcome, began)
            continue
        event = json.loads(message.data)
        kind, data = event["type"], event.get("data") or {}
        if data.get("prompt_id", prompt_id) != prompt_id:
            continue
        if kind == "executing" and data.get("node") is None and outcome.status:
            return
        _take_event(kind, data, outcome)


def _take_text(data: bytes, outcome: Outcome, began: float) -> None:
    if struct.unpack(">I", data[:4])[0] != _TEXT_MESSAGE:
        return
    length = struct.unpack(">I", data[4:8])[0]
    outcome.texts.append((data[8 : 8 + length].decode(), data[8 + length :].decode()))
    outcome.text_times.append(time.perf_counter() - began)


def _take_event(kind: str, data: dict[str, Any], outcome: Outcome) -> None:
    if kind == "progress":
        outcome.progress.append((data["node"], data["value"], data["max"]))
    elif kind == "executed":
        outcome.outputs[data["node"]] = data["output"]
    elif kind == "execution_cached":
        outcome.cached = list(data["nodes"])
    elif kind in _ENDINGS:
        outcome.status = _ENDINGS[kind]
        outcome.error = data.get("exception_message", "").strip()
        outcome.error_type = data.get("exception_type", "").rpartition(".")[2]
