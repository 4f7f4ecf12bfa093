"""Writes the example workflows in both of ComfyUI's formats: example_workflows/*.json for the
browser, example_workflows/api/*.json for its API.

    python client_py/node_examples.py          writes the files
    python client_py/node_examples.py --check  exits with 1 when one is not up to date

An example is written down once, below: what each node has other than its defaults.
"""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from hearth.nodes import all_nodes  # noqa: E402
from made_files import write_or_check  # noqa: E402

FOLDER = HERE.parent / "example_workflows"
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
SMALL, MEDIUM, LARGE = (300, 130), (360, 320), (400, 620)
OURS = {node.node_id: node for node in all_nodes()}
# ComfyUI's own nodes: sockets (name, type), widgets (name, default), outputs (name, type).
CORE: dict[str, tuple[list[Any], list[Any], list[Any]]] = {
    "LoadImage": ([], [("image", "example.png")], [("IMAGE", "IMAGE"), ("MASK", "MASK")]),
    "EmptyImage": (
        [],
        [("width", 160), ("height", 160), ("batch_size", 1), ("color", 16185078)],
        [("IMAGE", "IMAGE")],
    ),
    "ImageCompositeMasked": (
        [("destination", "IMAGE"), ("source", "IMAGE"), ("mask", "MASK")],
        [("x", 52), ("y", 52), ("resize_source", False)],
        [("IMAGE", "IMAGE")],
    ),
    "MaskToImage": ([("mask", "MASK")], [], [("IMAGE", "IMAGE")]),
    "PreviewImage": ([("images", "IMAGE")], [], []),
    "PreviewAny": ([("source", "*")], [], []),
}


@dataclass
class Step:
    """A node: `values` are its widgets that differ from the default, `links` socket: (id, slot)."""

    id: int
    type: str
    title: str
    pos: tuple[int, int]
    size: tuple[int, int] = MEDIUM
    values: dict[str, Any] = field(default_factory=dict)
    links: dict[str, tuple[int, int]] = field(default_factory=dict)


def drawn(first: int, y: int, colour: int, name: str) -> list[Step]:
    """Three nodes that draw a square on a white ground; the last one gives the picture."""
    square = {"width": 56, "height": 56, "color": colour}
    both = {"destination": (first, 0), "source": (first + 1, 0)}
    return [
        Step(first, "EmptyImage", "White ground", (40, y), SMALL),
        Step(first + 1, "EmptyImage", f"{name} square", (40, y + 200), SMALL, square),
        Step(first + 2, "ImageCompositeMasked", "The square on it", (380, y), SMALL, {}, both),
    ]


RED, BLUE = 14034472, 2640602
EXAMPLES: dict[str, list[Step]] = {
    "describe_picture": [
        Step(1, "LoadImage", "Load Image", (40, 80)),
        Step(2, "HearthQwenVL", "Qwen-VL (Hearth)", (440, 80), LARGE,
             {"temperature": 0.0}, {"image": (1, 0)}),
        Step(3, "PreviewAny", "The words", (880, 80), MEDIUM, {}, {"source": (2, 0)}),
        Step(4, "HearthStatus", "Hearth Status", (880, 440), MEDIUM, {}, {"trigger": (2, 0)}),
    ],
    "drawn_square": [
        *drawn(1, 80, RED, "Red"),
        Step(4, "HearthQwenVL", "Qwen-VL (Hearth)", (720, 80), LARGE,
             {"max_tokens": 64, "temperature": 0.0}, {"image": (3, 0)}),
        Step(5, "PreviewAny", "The words", (1160, 80), MEDIUM, {}, {"source": (4, 0)}),
    ],
    "compare_pictures": [
        *drawn(1, 80, RED, "Red"),
        *drawn(4, 480, BLUE, "Blue"),
        Step(7, "HearthQwenVL", "Qwen-VL (Hearth)", (720, 80), LARGE,
             {"preset_prompt": "Compare", "max_tokens": 128, "temperature": 0.0},
             {"image": (3, 0), "image2": (6, 0)}),
        Step(8, "PreviewAny", "The words", (1160, 80), MEDIUM, {}, {"source": (7, 0)}),
    ],
    "batch_caption": [
        Step(1, "HearthModel", "Model (Hearth)", (40, 80), MEDIUM),
        Step(2, "HearthBatchCaption", "Batch Caption (Hearth)", (440, 80), LARGE,
             {"folder": "pictures", "temperature": 0.0},
             {"llm": (1, 0)}),
        Step(3, "PreviewAny", "What was done", (880, 80), MEDIUM, {}, {"source": (2, 0)}),
        Step(4, "PreviewAny", "The captions", (880, 440), MEDIUM, {}, {"source": (2, 1)}),
    ],
    "enhance_prompt": [
        Step(1, "HearthPromptEnhancer", "Prompt Enhancer (Hearth)", (40, 80), LARGE,
             {"prompt": "a lighthouse in a storm", "style": "Cinematic", "max_tokens": 300}),
        Step(2, "PreviewAny", "The new prompt", (480, 80), MEDIUM, {}, {"source": (1, 0)}),
    ],
    "find_objects": [
        Step(1, "LoadImage", "Load Image", (40, 80)),
        Step(2, "HearthFindObjects", "Find Objects (Hearth)", (440, 80), LARGE,
             {}, {"image": (1, 0)}),
        Step(3, "PreviewImage", "What was found", (880, 80), MEDIUM, {}, {"images": (2, 4)}),
        Step(4, "MaskToImage", "Mask to Image", (880, 440), SMALL, {}, {"mask": (2, 2)}),
        Step(5, "PreviewImage", "Where it is", (1220, 440), MEDIUM, {}, {"images": (4, 0)}),
        Step(6, "PreviewAny", "Places and labels", (1280, 80), MEDIUM, {}, {"source": (2, 3)}),
    ],
    "all_parameters": [
        Step(1, "LoadImage", "Load Image", (40, 80)),
        Step(2, "HearthQwenVLAdvanced", "Qwen-VL Advanced (Hearth)", (440, 80), (420, 1080),
             {"temperature": 0.0}, {"image": (1, 0)}),
        Step(3, "PreviewAny", "The words", (900, 80), MEDIUM, {}, {"source": (2, 0)}),
        Step(4, "PreviewAny", "What was thought", (900, 440), MEDIUM, {}, {"source": (2, 1)}),
        Step(5, "PreviewAny", "Where the time went", (1300, 80), LARGE, {}, {"source": (2, 7)}),
    ],
    "chat": [
        *drawn(1, 80, RED, "Red"),
        Step(4, "HearthModel", "Model (Hearth)", (380, 280), MEDIUM),
        Step(5, "HearthChat", "First turn", (780, 80), LARGE,
             {"message": "Describe this picture.", "max_tokens": 128, "temperature": 0.0},
             {"image": (3, 0), "llm": (4, 0)}),
        Step(6, "HearthChat", "Second turn", (1220, 80), LARGE,
             {"message": "What colour is it?", "max_tokens": 128, "temperature": 0.0},
             {"history": (5, 1), "llm": (4, 0)}),
        Step(7, "PreviewAny", "The conversation", (1660, 80), MEDIUM, {}, {"source": (6, 2)}),
    ],
}  # fmt: skip


def shape_of(kind: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Sockets, widgets and outputs of a node type, as in CORE. A widget that the browser puts
    another one after has None for a name there."""
    if kind in CORE:
        sockets, widgets, results = CORE[kind]
        extra = [(None, "image")] if kind == "LoadImage" else []
        return sockets, [*widgets, *extra], results
    node = OURS[kind]
    sockets = [(one.name, one.kind) for one in node.inputs if one.kind not in WIDGETS]
    widgets: list[Any] = []
    for optional in (False, True):  # as ComfyUI sorts them
        for one in node.inputs:
            if one.kind in WIDGETS and one.optional == optional:
                first = list(one.choices())[0] if one.choices else ""
                widgets.append((one.name, one.options.get("default", first)))
                if one.options.get("control_after_generate"):
                    widgets.append((None, "fixed"))
    return sockets, widgets, [(one.name, one.kind) for one in node.outputs]


def for_api(steps: list[Step]) -> dict[str, Any]:
    """What is queued."""
    made = {}
    for step in steps:
        widgets = {name: value for name, value in shape_of(step.type)[1] if name}
        links = {name: [str(source), slot] for name, (source, slot) in step.links.items()}
        made[str(step.id)] = {
            "class_type": step.type,
            "inputs": {**widgets, **step.values, **links},
            "_meta": {"title": step.title},
        }
    return made


def for_browser(name: str, steps: list[Step]) -> dict[str, Any]:
    """What the browser saves."""
    links = [
        (number, source, slot, step.id, socket)
        for number, (step, socket, source, slot) in enumerate(
            ((s, socket, *link) for s in steps for socket, link in s.links.items()), 1
        )
    ]
    kinds = {(step.id, name): kind for step in steps for name, kind in shape_of(step.type)[0]}
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"hearth/{name}")),
        "revision": 0,
        "last_node_id": max(step.id for step in steps),
        "last_link_id": len(links),
        "nodes": [_box(order, step, links) for order, step in enumerate(steps)],
        "links": [
            [number, source, slot, target, _slot(steps, target, socket), kinds[target, socket]]
            for number, source, slot, target, socket in links
        ],
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _slot(steps: list[Step], target: int, socket: str) -> int:
    kind = next(step.type for step in steps if step.id == target)
    return [name for name, _ in shape_of(kind)[0]].index(socket)


def _box(order: int, step: Step, links: list[Any]) -> dict[str, Any]:
    sockets, widgets, results = shape_of(step.type)
    into = {socket: number for number, _, _, target, socket in links if target == step.id}
    out_of = [
        [number for number, source, at, _, _ in links if (source, at) == (step.id, slot)]
        for slot in range(len(results))
    ]
    return {
        "id": step.id,
        "type": step.type,
        "title": step.title,
        "pos": list(step.pos),
        "size": list(step.size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [{"name": n, "type": kind, "link": into.get(n)} for n, kind in sockets],
        "outputs": [
            {"name": n, "type": kind, "links": out_of[slot]}
            for slot, (n, kind) in enumerate(results)
        ],
        "properties": {"Node name for S&R": step.type},
        "widgets_values": [step.values.get(name, value) for name, value in widgets],
    }


def files() -> dict[Path, str]:
    """What each file shall hold."""
    made = {}
    for name, steps in EXAMPLES.items():
        for step in steps:
            known = {widget for widget, _ in shape_of(step.type)[1]}
            assert set(step.values) <= known, (name, step.type)
        made[FOLDER / f"{name}.json"] = for_browser(name, steps)
        made[FOLDER / "api" / f"{name}.json"] = for_api(steps)
    return {path: json.dumps(one, indent=1) + "\n" for path, one in made.items()}


if __name__ == "__main__":
    sys.exit(write_or_check(files()))
