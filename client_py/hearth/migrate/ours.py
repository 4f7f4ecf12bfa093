"""The nodes that take the others' place: their inputs as tables."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ..nodes._schema import Input, Node, Output
from .peers import Link, Note

_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


@functools.lru_cache(maxsize=1)
def _nodes() -> dict[str, Node]:
    from ..nodes import all_nodes

    return {node.node_id: node for node in all_nodes()}


class Shape:
    """Inputs and outputs of a node type, in the order in which a browser has them."""

    def __init__(self, inputs: tuple[Input, ...], outputs: tuple[Output, ...], title: str) -> None:
        shown = [*(i for i in inputs if not i.optional), *(i for i in inputs if i.optional)]
        self.widgets = [one for one in shown if one.kind in _WIDGETS]
        self.sockets = [one for one in shown if one.kind not in _WIDGETS]
        self.outputs = outputs
        self.title = title

    def complete(self, made: Mapping[str, Any], note: Note) -> dict[str, Any]:
        """The given values inside our limits, and defaults for all other widgets."""
        values: dict[str, Any] = {one.name: made.get(one.name) for one in self.sockets}
        for one in self.widgets:
            value = made.get(one.name, one.options.get("default"))
            values[one.name] = value if isinstance(value, Link) else _within(one, value, note)
        return {name: value for name, value in values.items() if value is not None}


def shape_of(node_type: str) -> Shape:
    """Of one of our nodes, or of ComfyUI's node for a text."""
    if node_type in _nodes():
        node = _nodes()[node_type]
        return Shape(node.inputs, node.outputs, node.display_name)
    text = Input("value", "STRING", "", {"default": ""})
    return Shape((text,), (Output("STRING", "STRING", ""),), "String")


def _within(one: Input, value: Any, note: Note) -> Any:
    low, high = one.options.get("min"), one.options.get("max")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or low is None:
        return value
    kept = min(max(value, low), high)
    if kept != value:
        note(f"{one.name} was {value}: ours goes from {low} to {high}, so it is {kept}.")
    return kept
