"""The status page: what ComfyUI's server answers, and what a browser makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from hearth import comfy_api, messages
from hearth.nodes import _page

web = pytest.importorskip("aiohttp.web")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-headless-shell")
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
# A proxy of the environment must not get between the test and the loopback.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

HOSTILE = "<img src=x onerror=document.title='caught'>"
REPORT = messages.StatusReport(
    server="hearthd 0.1.0",
    boot_id="b",
    uptime_ms=3_723_000,
    worker_state="ready",
    worker_restarts=2,
    health="loaded",
    health_reasons=["bad-model is quarantined for 9 min"],
    devices=[messages.Device(kind="cuda", name="A GPU")],
    slots=8,
    running=3,
    queued=1,
    served=41,
    failed=5,
    tokens_per_second=87.5,
    memory_bytes=6 << 30,
    memory_budget_bytes=20 << 30,
    models=[
        messages.ModelEntry(
            model="1", name="qwen3-vl-4b", dtype="bfloat16", state="hot",
            resident_bytes=6 << 30, holders=2, pinned=True,
        ),
        messages.ModelEntry(model="2", name=HOSTILE, state="warm", image_bytes=1 << 30,
                            leaves_in_ms=61_000),
    ],
    clients=[
        messages.ClientEntry(connection=1, client="ComfyUI", pid=77, connected_ms=65_000,
                             open_requests=3, served=40, generated_tokens=1234,
                             arena_bytes=64 << 20)
    ],
    last_errors=[messages.ErrorEntry(at_ms=1_700_000_000_000, code="worker_lost",
                                     what="The engine process ended.", model="qwen3-vl-4b")],
    device_state=messages.DeviceState(memory_used_bytes=9 << 30, memory_total_bytes=24 << 30),
)  # fmt: skip


@contextlib.contextmanager
def comfy_server(monkeypatch: Any) -> Iterator[str]:
    """As much of ComfyUI's server as the page needs. Yields its address."""
    module: Any = ModuleType("server")
    routes = web.RouteTableDef()
    module.PromptServer = SimpleNamespace(instance=SimpleNamespace(routes=routes))
    monkeypatch.setitem(sys.modules, "server", module)
    _page.serve()
    _page.serve()  # another copy of the pack
    loop = asyncio.new_event_loop()
    bound: list[int] = []

    async def start() -> Any:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        bound.append(site._server.sockets[0].getsockname()[1])
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound[0]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def page(service: Any, monkeypatch: Any) -> Iterator[str]:
    monkeypatch.setenv("HEARTH_SOCKET", str(service.path))
    service.on[messages.Status] = lambda peer, frame, request: peer.send(REPORT, frame.request_id)
    with comfy_server(monkeypatch) as address:
        yield address


def got(address: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with opener.open(address, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, dict(refused.headers), refused.read()


def drawn(address: str, *options: str) -> str:
    """The page's document after its scripts have run for some seconds of its own time."""
    assert CHROMIUM is not None
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"]
    words += ["--virtual-time-budget=6000", "--dump-dom", *options, address]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def words_of(document: str) -> str:
    body = document.partition("<body")[2]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body)))


def test_the_page_and_its_files_are_served_as_they_are(page: str) -> None:
    for path, name in (("", "index.html"), ("/page.css", "page.css"), ("/page.js", "page.js")):
        status, headers, body = got(f"{page}/hearth{path}")
        assert status == 200
        assert body == (_page.FOLDER / name).read_bytes()
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_the_state_has_what_the_page_shows_and_no_more(page: str) -> None:
    status, headers, body = got(f"{page}/hearth/status.json")
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    state = json.loads(body)
    assert state["health"] == "loaded" and state["models"][0]["pinned"] is True
    assert "uid" not in state["clients"][0] and "boot_id" not in state


def test_the_service_is_asked_at_most_twice_a_second(page: str, service: Any) -> None:
    began = time.monotonic()
    for _ in range(20):
        got(f"{page}/hearth/status.json")
    took = time.monotonic() - began
    asked = sum(len(peer.messages_of(messages.Status)) for peer in service.peers)
    assert 1 <= asked <= 1 + took / _page._KEPT_S


def test_a_service_that_is_down_is_said_with_what_to_do(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("HEARTH_SOCKET", str(tmp_path / "nobody.sock"))
    with comfy_server(monkeypatch) as address:
        status, _, body = got(f"{address}/hearth/status.json")
        assert status == 503
        assert json.loads(body)["hint"]


def test_a_service_that_does_not_answer_is_said(page: str, service: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(_page, "_PATIENCE_S", 0.2)
    service.on[messages.Status] = lambda peer, frame, request: None
    status, _, body = got(f"{page}/hearth/status.json")
    assert status == 503 and "has not said" in json.loads(body)["what"]


def test_without_a_server_nothing_is_served(monkeypatch: Any) -> None:
    module: Any = ModuleType("server")
    module.PromptServer = SimpleNamespace(instance=SimpleNamespace(routes="a proxy's"))
    monkeypatch.setitem(sys.modules, "server", module)
    comfy_api.serve({})  # raises nothing


@browser
def test_a_browser_shows_models_memory_clients_speed_and_errors(page: str) -> None:
    words = words_of(drawn(f"{page}/hearth"))
    for shown in (
        "model loaded", "bad-model is quarantined for 9 min", "hearthd 0.1.0 · A GPU", "3 of 8",
        "1 waiting", "88", "41", "5 failed", "1 h 2 min", "engine restarted 2 times",
        "6.0 GiB of 20 GiB", "other programs: 3.0 GiB", "qwen3-vl-4b bfloat16 hot 6.0 GiB 2 pinned",
        "leaves in 1 min 1 s", "ComfyUI 77 1 min 5 s 3 40 0 1234 64 MiB",
        "worker_lost The engine process ended. qwen3-vl-4b",
    ):  # fmt: skip
        assert shown in words, (shown, words)


@browser
def test_names_of_others_stay_text(page: str) -> None:
    document = drawn(f"{page}/hearth")
    assert html.escape(HOSTILE, quote=False) in document
    assert "<title>hearth</title>" in document and "onerror=" not in re.sub(
        r"&lt;.*?&gt;", "", re.sub(r'(title|aria-label)="[^"]*"', "", document)
    )


@browser
def test_a_browser_says_that_the_service_is_gone(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("HEARTH_SOCKET", str(tmp_path / "nobody.sock"))
    with comfy_server(monkeypatch) as address:
        words = words_of(drawn(f"{address}/hearth"))
    assert "not reachable" in words and "hearthd" in words
