"""The part of `comfy_api.latest` that node packs use, in the shape of two ComfyUI versions.

Written from observation of 0.3.64 and 0.33: which arguments an input takes, what a schema knows,
how a class is cloned and locked before it runs, what an input looks like to the browser.
"""

from __future__ import annotations

import dataclasses
import inspect
from types import SimpleNamespace
from typing import Any

_WIDGET = ("default", "socketless", "force_input")
_INPUTS = {  # attribute of io: (socket type, arguments of its own)
    "Int": ("INT", (*_WIDGET, "min", "max", "step", "control_after_generate", "display_mode")),
    "Float": ("FLOAT", (*_WIDGET, "min", "max", "step", "round", "display_mode")),
    "String": ("STRING", (*_WIDGET, "multiline", "placeholder", "dynamic_prompts")),
    "Boolean": ("BOOLEAN", (*_WIDGET, "label_on", "label_off")),
    "Combo": ("COMBO", (*_WIDGET, "options", "control_after_generate", "upload", "remote")),
    "Image": ("IMAGE", ()),
    "Mask": ("MASK", ()),
    "AnyType": ("*", ("extra_dict",)),
}
_COMMON = ("display_name", "optional", "tooltip", "lazy")
_SCHEMA = {
    "node_id": None, "display_name": None, "category": "sd", "inputs": None, "outputs": None,
    "hidden": None, "description": "", "is_input_list": False, "is_output_node": False,
    "is_deprecated": False, "is_experimental": False, "is_api_node": False,
    "not_idempotent": False, "enable_expand": False,
}  # fmt: skip
_SCHEMA_SINCE_0_33 = {
    "search_aliases": None, "is_dev_only": False, "accept_all_inputs": False,
    "essentials_category": None, "has_intermediate_output": False, "price_badge": None,
}  # fmt: skip


def latest(version: str) -> SimpleNamespace:
    """`comfy_api.latest` of that version."""
    new = version != "0.3.64"
    io = SimpleNamespace(ComfyNode=ComfyNode, NodeOutput=NodeOutput)

    def socket(plain: str, own: tuple[str, ...]) -> SimpleNamespace:
        kind = ANY if plain == "*" else plain
        known = (*_COMMON, *own, *(("advanced", "raw_link", "extra_dict") if new else ()))
        return SimpleNamespace(Input=_input_class(kind, known), Output=_output_class(kind))

    for name, (plain, own) in _INPUTS.items():
        setattr(io, name, socket(plain, own))
    io.Custom = lambda kind: socket(kind, ())
    io.Schema = _schema_class({**_SCHEMA, **(_SCHEMA_SINCE_0_33 if new else {})})
    return SimpleNamespace(io=io, ComfyExtension=ComfyExtension)


def _input_class(kind: str, known: tuple[str, ...]) -> type:
    def init(self: Any, id: str, **given: Any) -> None:
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise TypeError(f"__init__() got an unexpected keyword argument {unknown[0]!r}")
        self.id, self.io_type, self.optional = id, kind, given.get("optional", False)
        self.options = {key: value for key, value in given.items() if value is not None}

    keyword = inspect.Parameter.KEYWORD_ONLY
    init.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for name in ("self", "id")
        ]
        + [inspect.Parameter(name, keyword, default=None) for name in dict.fromkeys(known)]
    )
    return type("Input", (), {"__init__": init})


def _output_class(kind: str) -> type:
    def init(
        self: Any, id: str, display_name: str = "", tooltip: str = "", is_output_list: bool = False
    ) -> None:
        self.id, self.io_type, self.is_output_list = id, kind, is_output_list
        self.display_name, self.tooltip = display_name or kind, tooltip

    return type("Output", (), {"__init__": init})


def _schema_class(fields: dict[str, Any]) -> type:
    def validate(self: Any) -> None:
        ids = [one.id for one in [*self.inputs, *self.outputs]]
        doubled = {one for one in ids if ids.count(one) > 1}
        if doubled:
            raise ValueError(f"ids must be unique, but {sorted(doubled)} are not")

    declared = [(name, Any, dataclasses.field(default=value)) for name, value in fields.items()]
    return dataclasses.make_dataclass("Schema", declared, namespace={"validate": validate})


class AnyType(str):
    """A socket type that differs from none, as ComfyUI's own wildcard."""

    def __ne__(self, other: object) -> bool:
        return False

    __eq__ = str.__eq__
    __hash__ = str.__hash__


ANY = AnyType("*")


class ComfyExtension:
    async def get_node_list(self) -> list[type]:
        raise NotImplementedError


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None, expand: Any = None) -> None:
        self.args, self.ui, self.expand = args, ui, expand


class ComfyNode:
    """Base of V3 nodes, with the names of the first form derived from the schema."""

    RELATIVE_PYTHON_MODULE = ""

    @classmethod
    def GET_SCHEMA(cls) -> Any:
        schema = cls.define_schema()  # type: ignore[attr-defined]
        schema.validate()
        return schema

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        sections: dict[str, dict[str, Any]] = {"required": {}, "optional": {}}
        for one in cls.GET_SCHEMA().inputs:
            options = {key: value for key, value in one.options.items() if key != "optional"}
            sections["optional" if one.optional else "required"][one.id] = (one.io_type, options)
        return sections

    @classmethod
    def locked_clone(cls) -> type:
        """What `execute` gets as its class: a copy on which nothing can be set."""

        class Locked(type(cls)):  # type: ignore[misc]
            def __setattr__(self, name: str, value: Any) -> None:
                raise AttributeError(f"Cannot modify class attribute {name!r} on locked class")

        return Locked(f"{cls.__name__}Clone", (cls,), {})
