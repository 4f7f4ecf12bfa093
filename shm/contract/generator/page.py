"""Prints docs/protocol.md: protocol.md.in with the tables of errors, messages and structs."""

from __future__ import annotations

import struct
from typing import Any

from .golden import msgpack
from .schema import FOLDER, NOTE, Contract, Field, Struct

WHO = {
    "connection": "connection",
    "request": "request, from the client",
    "event": "event, from the service",
    "reply": "reply, from the service",
    "link": "between broker and worker only",
}


def page(contract: Contract) -> str:
    marks = {
        "note": NOTE,
        "hash": contract.hash,
        "version": str(contract.schema["protocol"]["version"]),
        "example": example(contract),
        "errors": errors(contract),
        "messages": "\n\n".join(map(section, contract.messages)),
        "structs": "\n\n".join(map(section, contract.structs)),
    }
    text = (FOLDER / "generator/protocol.md.in").read_text()
    for mark, value in marks.items():
        text = text.replace(f"@{mark}@", value)
    return text


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def errors(contract: Contract) -> str:
    rows = [
        [f"`{word}`", e["doc"], e["hint"], "yes" if e.get("retryable") else ""]
        for word, e in contract.schema["errors"].items()
    ]
    return table(["code", "meaning", "what to do", "retryable"], rows)


def section(s: Struct) -> str:
    title = f"### {s.name}" + (f" ({s.number})" if s.number else "")
    marks = [WHO[s.kind]] if s.kind else []
    marks += ["open"] if s.open else []
    marks += ["carries descriptors"] if s.descriptors else []
    lines = [title, "", f"*{'; '.join(marks)}.* {s.doc}" if marks else s.doc]
    rows = [[f"`{f.name}`", type_text(f), presence(f), f.doc + rules(f)] for f in s.fields]
    return "\n".join(
        [*lines, "", table(["field", "type", "default", "meaning"], rows)] if rows else lines
    )


def type_text(field: Field) -> str:
    name = field.type
    linked = (
        name
        if name in ("bool", "str", "bin", "f64") or name[1:].isdigit()
        else f"[{name}](#{name})"
    )
    return f"list of {linked}" if field.is_list else linked


def presence(field: Field) -> str:
    if field.optional:
        return "optional"
    return "required" if field.required else f"`{literal(field.spec['default'])}`"


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else '""'


def rules(field: Field) -> str:
    spec, parts = field.spec, []
    if "choices" in spec:
        parts.append("one of " + ", ".join(f"`{word}`" for word in spec["choices"]))
    if "min" in spec or "max" in spec:
        parts.append(f"{spec.get('min', '')}…{spec.get('max', '')}")
    parts += [f"at most {spec['max_items']} items"] if "max_items" in spec else []
    parts += (
        [f"at most {spec['max_bytes']} bytes" + " each" * field.is_list]
        if "max_bytes" in spec
        else []
    )
    return f" ({'; '.join(parts)})" if parts else ""


def example(contract: Contract) -> str:
    message = contract.by_name["arena_ask"]
    values = {"direction": "in", "nbytes": 67108864}
    body = msgpack(values)
    header = struct.pack("<4sIIBBH", b"HRT1", len(body), 7, message.number, 0, 0)
    pieces = [
        (header[:4], "magic"),
        (header[4:8], f"body_len {len(body)}"),
        (header[8:12], "request_id 7"),
        (header[12:], f"type {message.number} ({message.name}), flags 0, no descriptors"),
        (body[:1], f"map of {len(values)}"),
    ]
    for name, value in values.items():
        pieces.append((msgpack(name), f'"{name}"'))
        pieces.append((msgpack(value), literal(value)))
    lines = [f"{raw.hex(' '):<32} {meaning}" for raw, meaning in pieces]
    return "\n".join(["```text", *lines, "```"])
