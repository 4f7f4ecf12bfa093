"""Node classes in ComfyUI's current form: `comfy_api.latest`."""

from __future__ import annotations

import inspect
import logging
from typing import Any, Callable

from ._replace import offer_in_browser
from ._schema import Input, Node, fingerprint_of

_CLASS_OF_KIND = {
    "INT": "Int",
    "FLOAT": "Float",
    "STRING": "String",
    "BOOLEAN": "Boolean",
    "COMBO": "Combo",
    "IMAGE": "Image",
    "MASK": "Mask",
    "*": "AnyType",
}


def entry_points(nodes: list[Node], api: Any) -> dict[str, object]:
    """What ComfyUI looks for in a module of this form. `api` is `comfy_api.latest`."""

    class HearthExtension(api.ComfyExtension):  # type: ignore[misc]
        async def on_load(self) -> None:
            try:
                await offer_in_browser()
            except Exception:
                logging.exception("hearth: other packs' nodes are not replaced in the browser")

        async def get_node_list(self) -> list[type]:
            try:
                return [node_class(node, api.io) for node in nodes]
            except Exception:
                # ComfyUI logs one line without a traceback and drops the pack.
                logging.exception("hearth: the nodes do not fit this ComfyUI")
                raise

    async def comfy_entrypoint() -> Any:
        return HearthExtension()

    return {"comfy_entrypoint": comfy_entrypoint}


def node_class(node: Node, io: Any) -> type:
    """The class for one node. ComfyUI runs clones of it, so it keeps no state."""

    def define_schema(_cls: type) -> Any:
        return _schema(node, io)

    async def execute(_cls: type, **values: Any) -> Any:
        shown = await node.run(**node.complete(values))
        ui = {"text": (shown.text,)} if node.shows else None
        return io.NodeOutput(*shown.values, ui=ui)

    body: dict[str, Any] = {
        "__doc__": node.description,
        "define_schema": classmethod(define_schema),
        "execute": classmethod(execute),
    }
    if node.validate is not None:
        body["validate_inputs"] = classmethod(node.validate)
    fingerprint = fingerprint_of(node)
    if fingerprint is not None:
        body["fingerprint_inputs"] = classmethod(lambda _cls, **values: fingerprint(**values))
    return type(node.node_id, (io.ComfyNode,), body)


def _schema(node: Node, io: Any) -> Any:
    # An output's id may not be an input's: both live in one name space.
    outputs = [
        _kind(o.kind, io).Output(
            f"out_{o.name}", display_name=o.name, tooltip=o.tooltip, is_output_list=o.is_list
        )
        for o in node.outputs
    ]
    given = {
        "node_id": node.node_id,
        "display_name": node.display_name,
        "category": node.category,
        "description": node.description,
        "inputs": [_input(one, io) for one in node.inputs],
        "outputs": outputs,
        "is_output_node": node.shows,
        "search_aliases": list(node.search_aliases),
    }
    return io.Schema(**_accepted(io.Schema.__init__, given))


def _kind(name: str, io: Any) -> Any:
    """The class for a socket type; those that are not ComfyUI's own are made by name."""
    known = _CLASS_OF_KIND.get(name)
    return getattr(io, known) if known else io.Custom(name)


def _input(given: Input, io: Any) -> Any:
    make = _kind(given.kind, io).Input
    options = {**given.widget(), "optional": given.optional}
    if given.choices is not None:
        options["options"] = list(given.choices())
    return make(given.name, **_accepted(make.__init__, options))


def _accepted(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Those arguments that this version of ComfyUI knows: 0.3.64 has no `advanced`, for one."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in known}
