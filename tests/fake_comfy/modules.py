"""ComfyUI's own modules as far as a node pack touches them, put into `sys.modules` for a while."""

from __future__ import annotations

import contextvars
import struct
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from . import api, text_encoders

_CONTEXT: contextvars.ContextVar[Any] = contextvars.ContextVar("executing", default=None)


class Interrupt:
    """`comfy.model_management`: the flag behind the cancel button, and its exception."""

    def __init__(self, version: str) -> None:
        base = Exception if version == "0.3.64" else BaseException
        self.InterruptProcessingException = type("InterruptProcessingException", (base,), {})
        self._set = threading.Event()

    def interrupt_current_processing(self, value: bool = True) -> None:
        (self._set.set if value else self._set.clear)()

    def processing_interrupted(self) -> bool:
        return self._set.is_set()

    def throw_exception_if_processing_interrupted(self) -> None:
        if self._set.is_set():
            self._set.clear()
            raise self.InterruptProcessingException()


class Memory:
    """`comfy.model_management`: memory of the GPU, as its sampler asks for it. `free_bytes` is what
    there is; ComfyUI's own models are of no size."""

    def __init__(self) -> None:
        self.free_bytes = 0.0
        self.asked: list[float] = []

    def get_free_memory(self, dev: Any = None) -> float:
        return self.free_bytes

    def free_memory(
        self, memory_required: float, device: Any, keep_loaded: tuple[Any, ...] = ()
    ) -> list[Any]:
        self.asked.append(memory_required)
        return []

    def unload_all_models(self) -> None:
        self.load(1e30)

    def load(
        self, nbytes: float, device: str = "cuda", keep_loaded: tuple[Any, ...] | None = None
    ) -> None:
        """What happens before a model of so many bytes is loaded."""
        # As there, the function is looked up in its module at every call.
        free_memory = sys.modules["comfy.model_management"].free_memory
        kept = () if keep_loaded is None else (keep_loaded,)
        free_memory(nbytes, SimpleNamespace(type=device), *kept)


class PromptServer:
    """`server.PromptServer.instance`: keeps what it would have sent to the browsers."""

    def __init__(self) -> None:
        self.client_id: str | None = None
        self.last_node_id: str | None = None
        self.sent: list[tuple[float, str, Any, str | None]] = []
        self.on_prompt_handlers: list[Any] = []

    def add_on_prompt_handler(self, handler: Any) -> None:
        self.on_prompt_handlers.append(handler)

    def trigger_on_prompt(self, queued: dict[str, Any]) -> dict[str, Any]:
        for handler in self.on_prompt_handlers:
            queued = handler(queued)
        return queued

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        self.sent.append((time.perf_counter(), event, data, sid))

    def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
        node = str(node_id).encode()
        packed = struct.pack(">I", len(node)) + node + text.encode()
        length = struct.unpack(">I", packed[:4])[0]
        decoded = {"node": packed[4 : 4 + length].decode(), "text": packed[4 + length :].decode()}
        self.send_sync("progress_text", decoded, sid)


def progress_bar_class(version: str, server: PromptServer, interrupt: Interrupt) -> type:
    """`comfy.utils.ProgressBar`: 0.3.64 sends each update, 0.33 ten a second."""

    class ProgressBar:
        def __init__(self, total: int, node_id: str | None = None) -> None:
            self.total, self.node_id, self.current = total, node_id, 0
            self._sent_at = float("-inf")

        def update(self, value: int) -> None:
            self.update_absolute(self.current + value)

        def update_absolute(
            self, value: int, total: int | None = None, preview: Any = None
        ) -> None:
            self.total = self.total if total is None else total
            self.current = min(value, self.total)
            now, final = time.perf_counter(), self.current >= self.total
            if version != "0.3.64" and now - self._sent_at < 0.1 and not final:
                return
            self._sent_at = now
            interrupt.throw_exception_if_processing_interrupted()
            node = self.node_id or getattr(_CONTEXT.get(), "node_id", None) or server.last_node_id
            data = {"value": self.current, "max": self.total, "node": node}
            server.send_sync("progress", data, server.client_id)

    return ProgressBar


def running(prompt_id: str, node_id: str) -> Any:
    """Sets the context that `comfy_execution.utils.get_executing_context` tells."""
    return _CONTEXT.set(SimpleNamespace(prompt_id=prompt_id, node_id=node_id, list_index=0))


class FakeModules:
    """All of them, for one ComfyUI; importable by their `names` while the `with` block lasts."""

    def __init__(self, version: str, base: Path, package: Path) -> None:
        self.interrupt, self.server = Interrupt(version), PromptServer()
        self.checks_v3_choices = version != "0.3.64"
        self.memory = Memory()
        self.installed: dict[str, type] = {}  # node types, once they are there
        models = base / "models"
        self.folders = {
            "text_encoders": ([str(models / "text_encoders"), str(models / "clip")], set()),
            "diffusion_models": ([str(models / "unet"), str(models / "diffusion_models")], set()),
        }
        utils = SimpleNamespace(
            ProgressBar=progress_bar_class(version, self.server, self.interrupt)
        )
        latest = api.latest(version)
        contents: dict[str, Any] = {
            "comfy": {"__path__": [str(package)]},
            "comfy.model_management": {**_members(self.interrupt), **_members(self.memory)},
            "comfy.utils": vars(utils),
            **text_encoders.modules_of(version),
            "comfy_api": {"__path__": []},
            "comfy_api.latest": vars(latest),
            "comfy_execution": {"__path__": []},
            "comfy_execution.utils": {"get_executing_context": lambda: _CONTEXT.get()},
            "folder_paths": {
                "models_dir": str(models),
                "get_input_directory": lambda: str(base / "input"),
                "get_output_directory": lambda: str(base / "output"),
                "folder_names_and_paths": self.folders,
                "get_folder_paths": lambda kind: self.folders[kind][0][:],
            },
            "nodes": {"NODE_CLASS_MAPPINGS": self.installed},
            "server": {"PromptServer": SimpleNamespace(instance=self.server)},
        }
        self.names = set(contents)
        self._modules = {name: _module(name, members) for name, members in contents.items()}

    def __enter__(self) -> FakeModules:
        self._before = {name: sys.modules.get(name) for name in self._modules}
        sys.modules.update(self._modules)
        return self

    def __exit__(self, *_: object) -> None:
        for name, module in self._before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _members(thing: object) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in dir(thing) if not name.startswith("_")}


def _module(name: str, members: dict[str, Any]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module
