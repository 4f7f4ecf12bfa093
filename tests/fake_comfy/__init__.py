"""A ComfyUI of our own, small enough to run in a unit test.

    with FakeComfy("0.33", pack, base) as comfy:
        outcome = comfy.run({"1": {"class_type": "HearthStatus", "inputs": {}}})

It loads a node pack from its folder under the name ComfyUI would give it, offers the modules that
a pack touches, and runs workflows in a worker thread. tests/comfy runs the same cases against a
real ComfyUI, so whatever is wrong here shows up there.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from .core_nodes import core_nodes
from .executor import Executor, now
from .modules import FakeModules
from .outcome import Outcome
from .text_encoders import nodes_of

__all__ = ["FakeComfy", "Outcome"]

_WATCHDOG_SECONDS = 60.0


class FakeComfy:
    """One ComfyUI with one pack, while the `with` block lasts.

    version: "0.3.64" or "0.33". `nodes` may be added to.
    """

    def __init__(
        self, version: str, pack: Path, base: Path, env: dict[str, str] | None = None
    ) -> None:
        self.version, self._pack, self.base, self._env = version, pack, base, env or {}
        for folder in ("input", "models/text_encoders", "models/LLM", "comfy/text_encoders"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        tokenizer = base / "comfy" / "text_encoders" / "qwen25_tokenizer"
        tokenizer.mkdir(exist_ok=True)
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            (tokenizer / name).write_text("{}")
        self.world = FakeModules(version, base, base / "comfy")

    def __enter__(self) -> FakeComfy:
        self._env_before = {name: os.environ.get(name) for name in self._env}
        os.environ.update(self._env)
        self._modules_before = set(sys.modules)
        self.world.__enter__()
        self.module = _import_pack(self._pack)
        core = {**core_nodes(self.base / "input"), **nodes_of(self.version)}
        self.nodes = {**core, **_nodes_of(self.module)}
        self._executor = Executor(self.nodes, self.world)
        return self

    def __exit__(self, *_: object) -> None:
        self.world.__exit__()
        for name in set(sys.modules) - self._modules_before:
            if name.startswith(str(self._pack)):
                del sys.modules[name]
        for name, value in self._env_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def inputs_of(self, node: str) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Name: (type or choices, options) of every input, as the browser learns them."""
        sections = self.nodes[node].INPUT_TYPES()
        return {**sections["required"], **sections.get("optional", {})}

    def check(self, workflow: dict[str, Any]) -> str:
        """What ComfyUI would complain about when the workflow is queued; empty when nothing."""
        return self._executor.check(workflow)

    def run(self, workflow: dict[str, Any], interrupt_after: float | None = None) -> Outcome:
        """Runs a workflow to its end. `interrupt_after`: seconds until the user presses cancel."""
        outcome = Outcome()
        server = self.world.server
        server.client_id, first, began = "browser", len(server.sent), now()
        self.world.installed.update(self.nodes)
        workflow = server.trigger_on_prompt({"prompt": workflow})["prompt"]
        complaints = self._executor.check(workflow)
        if complaints:
            outcome.status, outcome.error, outcome.seconds = "rejected", complaints, now() - began
            return outcome
        worker = threading.Thread(target=self._executor.run, args=(workflow, outcome), daemon=True)
        worker.start()
        asked = now()
        if interrupt_after is not None:
            worker.join(interrupt_after)
            asked = now()
            self.world.interrupt.interrupt_current_processing()
        worker.join(_WATCHDOG_SECONDS)
        assert not worker.is_alive(), "the workflow did not end"
        outcome.seconds, outcome.interrupt_seconds = now() - began, now() - asked
        for at, event, data, _sid in server.sent[first:]:
            if event == "progress_text":
                outcome.texts.append((data["node"], data["text"]))
                outcome.text_times.append(at - began)
            elif event == "progress":
                outcome.progress.append((data["node"], data["value"], data["max"]))
        return outcome


def _import_pack(folder: Path) -> ModuleType:
    """As ComfyUI imports a folder in custom_nodes: under its path, dots replaced."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _nodes_of(module: ModuleType) -> dict[str, type]:
    """The classes a pack offers; the older form is looked for first."""
    mappings = getattr(module, "NODE_CLASS_MAPPINGS", None)
    if mappings is not None:
        return dict(mappings)

    async def ask() -> list[type]:
        extension = await module.comfy_entrypoint()
        return await extension.get_node_list()

    return {cls.GET_SCHEMA().node_id: cls for cls in asyncio.run(ask())}  # type: ignore[attr-defined]
