"""The service's state as a page of ComfyUI's own server, at /hearth: models, memory, clients.

Whoever reaches ComfyUI may look; nothing can be changed here. The page asks for status.json every
two seconds; however many browsers look, the service is asked twice a second at most.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from .. import comfy_api, errors
from ._service import connected

FOLDER = Path(__file__).resolve().parent.parent / "page"
_FILES = {
    "/hearth": ("index.html", "text/html"),
    "/hearth/page.css": ("page.css", "text/css"),
    "/hearth/page.js": ("page.js", "text/javascript"),
}
_KEPT_S = 0.5
_PATIENCE_S = 3.0
_MODEL = ("name", "dtype", "state", "resident_bytes", "image_bytes", "holders", "pinned",
          "leaves_in_ms")  # fmt: skip
_CLIENT = ("client", "pid", "connected_ms", "open_requests", "served", "failed",
           "generated_tokens", "arena_bytes")  # fmt: skip
_ERROR = ("at_ms", "code", "what", "model")
_OWN = ("server", "health", "health_reasons", "mode", "uptime_ms", "running", "slots", "queued",
        "served", "failed", "worker_restarts", "tokens_per_second", "memory_bytes",
        "memory_budget_bytes", "warm_bytes", "warm_budget_bytes")  # fmt: skip


def serve() -> None:
    """Adds the page to ComfyUI's server; nothing where there is none."""
    comfy_api.serve({**{path: _file(*file) for path, file in _FILES.items()},
                     "/hearth/status.json": Asked().answer})  # fmt: skip


def _file(name: str, kind: str) -> comfy_api.Answers:
    async def answer() -> comfy_api.Answer:
        return 200, kind, (FOLDER / name).read_bytes()

    return answer


class Asked:
    """What the service said last, for all browsers."""

    def __init__(self) -> None:
        self._said: tuple[int, dict[str, Any]] = (503, {})
        self._at = float("-inf")
        self._asking: Any = None  # made where the loop runs: Python 3.9

    async def answer(self) -> comfy_api.Answer:
        import asyncio  # not while ComfyUI starts

        self._asking = self._asking or asyncio.Lock()
        async with self._asking:
            if time.monotonic() - self._at >= _KEPT_S:
                self._said = await _ask()
                self._at = time.monotonic()
        status, state = self._said
        return status, "application/json", json.dumps(state, ensure_ascii=False).encode()


async def _ask() -> tuple[int, dict[str, Any]]:
    import asyncio

    try:
        async with connected() as service:
            report = await asyncio.wait_for(service.status(), _PATIENCE_S)
    except asyncio.TimeoutError:
        what = f"The service has not said how it is for {_PATIENCE_S:.0f} s."
        return 503, {"what": what, "hint": "hearth doctor looks for the cause."}
    except errors.HearthError as error:
        return 503, {"what": error.what, "hint": error.hint}
    return 200, state_of(report)


def state_of(report: Any) -> dict[str, Any]:
    """What the page shows of a status report."""
    from ..devices import device_lines  # not while ComfyUI starts

    state = _some(report, _OWN)
    state["devices"] = [device_lines(device)[0] for device in report.devices]
    state["models"] = [_some(model, _MODEL) for model in report.models]
    state["clients"] = [_some(one, _CLIENT) for one in report.clients]
    state["last_errors"] = [_some(one, _ERROR) for one in report.last_errors]
    state["device_state"] = (
        _some(report.device_state, ("memory_used_bytes", "memory_total_bytes"))
        if report.device_state
        else None
    )
    return state


def _some(struct: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in names}
