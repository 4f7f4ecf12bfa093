"""One example of every message: each field set, none to its default; always the same."""

from __future__ import annotations

import struct
from typing import Any

from .schema import INTEGERS, Contract, Field, Struct


def scalar(field: Field, salt: int) -> Any:
    spec, default = field.spec, field.spec.get("default")
    if field.type == "bool":
        return not default
    if "choices" in spec:
        return [word for word in spec["choices"] if word != default or len(spec["choices"]) == 1][
            -1
        ]
    if field.type == "str":
        return f"{field.name} é✓ {salt}"[: spec.get("max_bytes", 64) - 3]
    if field.type == "bin":
        return struct.pack("<4i", salt, -1, 151643, 2**31 - 1)
    if field.type == "f64":
        return next(
            v for v in (0.375, 1.5, spec.get("max")) if v != default and v >= spec.get("min", 0)
        )
    low, high = INTEGERS[field.type]
    low, high = max(low, spec.get("min", low)), min(high, spec.get("max", high))
    return (low, high, max(low, min(high, 7 + 131 * salt)))[salt % 3]


def value(c: Contract, field: Field, salt: int) -> Any:
    def one(i: int) -> Any:
        inner = c.by_name.get(field.type)
        return fields(c, inner, salt + i) if inner else scalar(field, salt + i)

    return [one(0), one(1)] if field.is_list else one(0)


def fields(c: Contract, s: Struct, salt: int) -> dict[str, Any]:
    values = {}
    for i, field in enumerate(s.fields):
        tries = (value(c, field, salt + i + step) for step in range(3))
        values[field.name] = next(
            v for v in tries if v != field.spec.get("default", 0) or v == "in"
        )
    return values


def msgpack(value: Any) -> bytes:
    """The shortest msgpack form, as both languages' packers write it."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, int):
        return msgpack_integer(value)
    if isinstance(value, bytes):
        return sized(len(value), (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, str):
        raw = value.encode()
        return (
            bytes([0xA0 | len(raw)]) if len(raw) < 32 else sized(len(raw), (0xD9, 0xDA, 0xDB))
        ) + raw
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(msgpack, value))
    head = bytes([0x80 | len(value)]) if len(value) < 16 else struct.pack(">BH", 0xDE, len(value))
    return head + b"".join(msgpack(key) + msgpack(item) for key, item in value.items())


def msgpack_integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b", value)
    tags = (
        ((0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q"))
        if value > 0
        else ((0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q"))
    )
    for tag, code in tags:
        try:
            return struct.pack(">B" + code, tag, value)
        except struct.error:
            continue
    raise ValueError(f"{value} fits no msgpack integer")


def sized(length: int, tags: tuple[int, int, int]) -> bytes:
    width = 0 if length < 256 else 1 if length < 65536 else 2
    return struct.pack(">B" + "BHI"[width], tags[width], length)


def readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value
