"""Node classes in ComfyUI's first form: dicts and class attributes."""

from __future__ import annotations

from typing import Any

from ._schema import Input, Node, fingerprint_of


def entry_points(nodes: list[Node]) -> dict[str, object]:
    """What ComfyUI looks for in a module of this form."""
    return {
        "NODE_CLASS_MAPPINGS": {node.node_id: node_class(node) for node in nodes},
        "NODE_DISPLAY_NAME_MAPPINGS": {node.node_id: node.display_name for node in nodes},
    }


def node_class(node: Node) -> type:
    """The class for one node."""

    def input_types(_cls: type) -> dict[str, Any]:
        required = {i.name: _declare(i) for i in node.inputs if not i.optional}
        return {
            "required": required,
            "optional": {i.name: _declare(i) for i in node.inputs if i.optional},
        }

    async def execute(_self: object, **values: Any) -> dict[str, Any]:
        shown = await node.run(**node.complete(values))
        return {"ui": {"text": (shown.text,)} if node.shows else {}, "result": shown.values}

    body: dict[str, Any] = {
        "__doc__": node.description,
        "INPUT_TYPES": classmethod(input_types),
        "RETURN_TYPES": tuple(output.kind for output in node.outputs),
        "RETURN_NAMES": tuple(output.name for output in node.outputs),
        "OUTPUT_IS_LIST": tuple(output.is_list for output in node.outputs),
        "OUTPUT_TOOLTIPS": tuple(output.tooltip for output in node.outputs),
        "FUNCTION": "execute",
        "CATEGORY": node.category,
        "DESCRIPTION": node.description,
        "SEARCH_ALIASES": list(node.search_aliases),
        "OUTPUT_NODE": node.shows,
        "execute": execute,
    }
    if node.validate is not None:
        body["VALIDATE_INPUTS"] = classmethod(node.validate)
    fingerprint = fingerprint_of(node)
    if fingerprint is not None:
        body["IS_CHANGED"] = classmethod(lambda _cls, **values: fingerprint(**values))
    return type(node.node_id, (), body)


class _AnyType(str):
    """The type that every other one fits. In this form 0.3.64 compares types by `!=` and knows no
    wildcard, so it must be a string that differs from nothing."""

    def __ne__(self, other: object) -> bool:
        return False

    __eq__ = str.__eq__
    __hash__ = str.__hash__


def _declare(given: Input) -> tuple[Any, dict[str, Any]]:
    kind: Any = list(given.choices()) if given.choices is not None else given.kind
    return (_AnyType(kind) if kind == "*" else kind), given.widget()
