"""Checks and runs an API-format workflow the way ComfyUI does: one worker thread, one event loop a
workflow, async nodes side by side, results cached by what went into them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import uuid
from typing import Any

import torch

from . import api, modules
from .outcome import Outcome

_CONVERT = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class Executor:
    """Runs workflows one after another; keeps the results of nodes between them."""

    def __init__(self, classes: dict[str, type], world: modules.FakeModules) -> None:
        self._classes, self._world = classes, world
        self._results: dict[Any, tuple[Any, Any]] = {}  # cache key: (output values, ui)

    def check(self, workflow: dict[str, Any]) -> str:
        """ComfyUI's complaints about the workflow, as it makes them when the workflow is queued."""
        return "; ".join(
            f"{node_id} {complaint}"
            for node_id, node in workflow.items()
            for complaint in _complaints(self._classes, self._world, workflow, node)
        )

    def run(self, workflow: dict[str, Any], outcome: Outcome) -> None:
        """In the calling thread, which stands for ComfyUI's worker."""
        interrupt = self._world.interrupt
        interrupt.interrupt_current_processing(False)
        failure: BaseException | None = None
        with torch.inference_mode():
            try:
                asyncio.run(
                    _Workflow(self._classes, self._world, workflow, outcome).run(self._results)
                )
            except interrupt.InterruptProcessingException as stopped:
                failure, outcome.status = stopped, "interrupted"
            except Exception as error:
                failure, outcome.status = error, "error"
                outcome.error, outcome.error_type = str(error), type(error).__name__
        if failure is None:
            outcome.status = "success"


class _Workflow:
    def __init__(
        self,
        classes: dict[str, type],
        world: modules.FakeModules,
        nodes: dict[str, Any],
        outcome: Outcome,
    ) -> None:
        self._classes, self._world, self._nodes, self._outcome = classes, world, nodes, outcome
        self._id = uuid.uuid4().hex
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._keys: dict[str, Any] = {}

    async def run(self, results: dict[Any, tuple[Any, Any]]) -> None:
        """Each node when its links are done. The first failure ends the loop, so all of it."""
        done: dict[str, tuple[Any, ...]] = {}
        while len(done) < len(self._nodes):
            for node_id in self._ready(done):
                await self._start(node_id, done, results)
            waiting = {
                task: node_id for node_id, task in self._tasks.items() if node_id not in done
            }
            finished, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                values, ui = task.result()
                node_id = waiting[task]
                done[node_id] = values
                results[self._keys[node_id]] = (values, ui)
                if ui is not None:
                    self._outcome.outputs[node_id] = ui

    def _ready(self, done: dict[str, Any]) -> list[str]:
        return [
            node_id
            for node_id, node in self._nodes.items()
            if node_id not in self._tasks and all(link[0] in done for link in _links(node).values())
        ]

    async def _start(self, node_id: str, done: dict[str, Any], results: dict[Any, Any]) -> None:
        node = self._nodes[node_id]
        cls = self._classes[node["class_type"]]
        links = _links(node)
        self._keys[node_id] = key = self._key(cls, node, links)
        if key in results:
            self._outcome.cached.append(node_id)
            self._tasks[node_id] = asyncio.create_task(_already(results[key]))
            return
        values = {name: v for name, v in node["inputs"].items() if name not in links}
        values |= {name: done[source][slot] for name, (source, slot) in links.items()}
        self._world.server.last_node_id = node_id
        self._world.interrupt.throw_exception_if_processing_interrupted()
        lists = {n for n, (source, slot) in links.items() if self._gives_list(source, slot)}
        self._tasks[node_id] = asyncio.create_task(
            _call_for_each(cls, values, lists, (self._id, node_id))
        )
        await asyncio.sleep(0)  # a node that never waits is done before the next one starts

    def _gives_list(self, source: str, slot: int) -> bool:
        cls = self._classes[self._nodes[source]["class_type"]]
        if issubclass(cls, api.ComfyNode):
            return bool(cls.GET_SCHEMA().outputs[slot].is_output_list)
        return bool((*getattr(cls, "OUTPUT_IS_LIST", ()), *[False] * (slot + 1))[slot])

    def _key(self, cls: type, node: dict[str, Any], links: dict[str, Any]) -> Any:
        constants = {name: v for name, v in node["inputs"].items() if name not in links}
        changed = getattr(cls, "fingerprint_inputs", None) or getattr(cls, "IS_CHANGED", None)
        # What comes by a link is not known yet: ComfyUI hands None.
        print_ = changed(**constants, **dict.fromkeys(links)) if changed else None
        ancestry = tuple((name, self._keys[source], slot) for name, (source, slot) in links.items())
        # A fresh NaN equals nothing, itself included, as long as the object is another one.
        unique = object() if print_ != print_ else print_
        return (node["class_type"], unique, tuple(sorted(constants.items())), ancestry)


async def _already(result: Any) -> Any:
    return result


async def _call_for_each(
    cls: type, values: dict[str, Any], lists: set[str], context: tuple[str, str]
) -> tuple[tuple[Any, ...], Any]:
    """Runs a node once, or for each element of the lists that come in, all side by side; the last
    values count, and all that was shown. A failure waits for the others, which go on."""
    tasks = []
    for index in range(max((len(values[name]) for name in lists), default=1)):
        given = {n: v[min(index, len(v) - 1)] if n in lists else v for n, v in values.items()}
        tasks.append(asyncio.create_task(_call(cls, given, context)))
        await asyncio.sleep(0)  # one that never waits is done before the next one starts
        if tasks[-1].done():
            tasks[-1].result()
    await asyncio.gather(*tasks, return_exceptions=True)
    results = [task.result() for task in tasks]
    shown: dict[str, Any] = {}
    for _, ui in results:
        for name, part in (ui or {}).items():
            shown[name] = (*shown.get(name, ()), *part)
    return (results[-1][0], shown or results[-1][1]) if results else ((), None)


async def _call(
    cls: type, values: dict[str, Any], context: tuple[str, str]
) -> tuple[tuple[Any, ...], Any]:
    """Runs one node; gives its output values and what it shows."""
    modules.running(*context)
    if issubclass(cls, api.ComfyNode):
        execute = cls.execute.__func__  # type: ignore[attr-defined]
        given = execute(cls.locked_clone(), **values)
    else:
        given = getattr(cls(), cls.FUNCTION)(**values)  # type: ignore[attr-defined]
    if inspect.isawaitable(given):
        given = await given
    if isinstance(given, api.NodeOutput):
        return given.args, given.ui
    if isinstance(given, dict):
        return given.get("result", ()), given.get("ui")
    return given, None


def _links(node: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: value for name, value in node["inputs"].items() if isinstance(value, list)}


def _complaints(
    classes: dict[str, type],
    world: modules.FakeModules,
    workflow: dict[str, Any],
    node: dict[str, Any],
) -> list[str]:
    cls = classes[node["class_type"]]
    declared = cls.INPUT_TYPES()  # type: ignore[attr-defined]
    validate = getattr(cls, "validate_inputs", None) or getattr(cls, "VALIDATE_INPUTS", None)
    own = inspect.getfullargspec(validate).args[1:] if validate else []
    found = [
        f"{n}: Required input is missing" for n in declared["required"] if n not in node["inputs"]
    ]
    for name, (kind, options) in {**declared["required"], **declared.get("optional", {})}.items():
        if name in node["inputs"]:
            unchecked = name in own or (kind == "COMBO" and not world.checks_v3_choices)
            found += _complaints_about(classes, workflow, node, (name, kind, options), unchecked)
    if validate:
        named = {
            n: v if not isinstance(v, list) else None for n, v in node["inputs"].items() if n in own
        }
        verdict = validate(**named)
        found += [] if verdict is True else [f"{own}: {verdict}"]
    return found


def _complaints_about(
    classes: dict[str, type],
    workflow: dict[str, Any],
    node: dict[str, Any],
    declared: Any,
    unchecked: bool,
) -> list[str]:
    name, kind, options = declared
    value = node["inputs"][name]
    if isinstance(value, list):
        source = classes[workflow[value[0]]["class_type"]]
        given = _return_types(source)[value[1]]
        # Not `==`: ComfyUI asks for difference, and its wildcard differs from nothing.
        return [f"{name}: {given} is not {kind}"] if given != kind else []
    with contextlib.suppress(KeyError, TypeError):
        value = node["inputs"][name] = _CONVERT[kind](value)
    if unchecked:
        return []
    choices = kind if isinstance(kind, list) else options.get("options")
    if choices is not None and value not in choices:
        return [f"{name}: {value!r} not in {choices}"]
    if "min" in options and value < options["min"]:
        return [f"{name}: Value {value} smaller than min of {options['min']}"]
    if "max" in options and value > options["max"]:
        return [f"{name}: Value {value} bigger than max of {options['max']}"]
    return []


def _return_types(cls: type) -> list[str]:
    if issubclass(cls, api.ComfyNode):
        return [output.io_type for output in cls.GET_SCHEMA().outputs]
    return list(cls.RETURN_TYPES)  # type: ignore[attr-defined]


def now() -> float:
    """Seconds of the clock that all times of an outcome are taken from."""
    return time.perf_counter()
