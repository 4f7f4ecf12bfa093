"""messages.toml, read and checked."""

from __future__ import annotations

import hashlib
import json
import keyword
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
NOTE = "Generated from shm/contract/messages.toml by generate.py; edit that file instead."
INTEGERS = {
    "i32": (-(2**31), 2**31 - 1),
    "i64": (-(2**63), 2**63 - 1),
    "u32": (0, 2**32 - 1),
    "u64": (0, 2**64 - 1),
}
SCALARS = {"bool", "f64", "str", "bin", *INTEGERS}
RULES = {"min", "max", "max_items", "max_bytes", "choices"}
KNOWN = RULES | {"type", "doc", "default", "optional", "step"}
RESERVED = {
    "public",
    "private",
    "class",
    "default",
    "delete",
    "new",
    "operator",
    "template",
    "this",
}
KINDS = ("connection", "request", "event", "reply", "link")


class Field:
    def __init__(self, owner: str, name: str, spec: dict[str, Any]) -> None:
        assert not set(spec) - KNOWN, f"{owner}.{name}: unknown keys {set(spec) - KNOWN}"
        assert not keyword.iskeyword(name) and name not in RESERVED, f"{owner}.{name} is a keyword"
        self.name, self.spec, self.doc = name, spec, spec["doc"]
        self.is_list = spec["type"].startswith("[")
        self.type = spec["type"].strip("[]")
        self.optional = spec.get("optional", False)
        self.required = not self.optional and "default" not in spec

    def wrapped(self, inner: str, around_list: str, around_optional: str) -> str:
        inner = around_list.format(inner) if self.is_list else inner
        return around_optional.format(inner) if self.optional else inner


class Struct:
    def __init__(self, name: str, spec: dict[str, Any]) -> None:
        self.name, self.doc, self.open = name, spec["doc"], spec.get("open", False)
        self.pascal = pascal(name)
        self.number, self.kind = spec.get("type"), spec.get("kind")
        self.descriptors = spec.get("descriptors", False)
        self.fields = [Field(name, key, field) for key, field in spec.get("fields", {}).items()]


class Contract:
    def __init__(self, text: str) -> None:
        self.schema = tomllib.loads(text)
        self.structs = [Struct(*item) for item in self.schema["structs"].items()]
        self.messages = [Struct(*item) for item in self.schema["messages"].items()]
        self.all = self.structs + self.messages
        self.by_name = {s.name: s for s in self.all}
        assert len(self.by_name) == len(self.all), "a struct and a message share a name"
        assert len({m.number for m in self.messages}) == len(self.messages), "a type is used twice"
        assert all(m.kind in KINDS for m in self.messages)
        self.hash = hashlib.sha256(json.dumps(without_docs(self.schema)).encode()).hexdigest()[:16]


def pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def without_docs(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {key: without_docs(value) for key, value in tree.items() if key not in ("doc", "hint")}


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
