"""Workflows in the API format: what a browser queues."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from . import values
from .ours import shape_of
from .peers import PEERS, Link

OURS = frozenset(peer.target for peer in PEERS.values())


def convert_prompt(
    prompt: dict[str, Any], installed: Container[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The workflow with our nodes in the others' place, and what a user should know.

    installed: node types that are there: those are left alone
    Choices of our own nodes that a browser copied from a replaced node get our names. The outputs
    of all these nodes are one text each, so the links of others stay as they are.
    """
    notes: list[str] = []
    made = {}
    for node_id, node in prompt.items():
        if not isinstance(node, dict) or not isinstance(node.get("inputs"), dict):
            made[node_id] = node
        elif node.get("class_type") in PEERS and node["class_type"] not in installed:
            made[node_id] = _converted(node_id, node, notes)
        elif node.get("class_type") in OURS:
            made[node_id] = {**node, "inputs": _renamed(node["inputs"])}
        else:
            made[node_id] = node
    return made, notes


def _converted(node_id: str, node: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    peer = PEERS[node["class_type"]]

    def note(text: str) -> None:
        notes.append(f"{node['class_type']} ({node_id}): {text}")

    given = {name: _link(value) for name, value in node["inputs"].items()}
    target, made = peer.convert(given, note)
    shape = shape_of(target)
    inputs = {
        name: list(value) if isinstance(value, Link) else value
        for name, value in shape.complete(made, note).items()
    }
    return {"class_type": target, "inputs": inputs, "_meta": {"title": shape.title}}


def _link(value: Any) -> Any:
    is_one = isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
    return Link(value) if is_one else value


def _renamed(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: values.CHOICES[name].get(value, value)
        if name in values.CHOICES and isinstance(value, str)
        else value
        for name, value in inputs.items()
    }
