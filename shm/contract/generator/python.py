"""Prints the Python side: one class a struct, and the tables of errors and widgets."""

from __future__ import annotations

from typing import Any

from .schema import FOLDER, INTEGERS, NOTE, Contract, Field, Struct, pascal, quoted

TYPES = {"bool": "bool", "f64": "float", "str": "str", "bin": "bytes"}
TYPES |= dict.fromkeys(INTEGERS, "int")


def is_made_anew(field: Field) -> bool:
    """Whether its default is a value that objects must not share: a list or a struct."""
    is_struct = field.type not in TYPES
    return (field.is_list or is_struct) and not field.required and not field.optional


def parameter(field: Field) -> str:
    hint = field.wrapped(TYPES.get(field.type, pascal(field.type)), "list[{}]", "{} | None")
    if is_made_anew(field):
        return f"        {field.name}: {hint} | None = None,"
    default = "" if field.required else f" = {literal(field.spec.get('default'))}"
    return f"        {field.name}: {hint}{default},"


def assignment(field: Field) -> str:
    if is_made_anew(field):
        fresh = "[]" if field.is_list else f"{pascal(field.type)}()"
        return f"        self.{field.name} = {fresh} if {field.name} is None else {field.name}"
    return f"        self.{field.name} = {field.name}"


def docstring(s: Struct) -> list[str]:
    if not s.fields:
        return [f'    """{s.doc}"""', ""]
    return [
        f'    """{s.doc}',
        "",
        *(f"    {f.name}: {f.doc}" for f in s.fields),
        '    """',
        "",
    ]


def struct_class(contract: Contract, s: Struct) -> str:
    nested = [f"{quoted(f.name)}: {pascal(f.type)}" for f in s.fields if f.type in contract.by_name]
    required = [f.name for f in s.fields if f.required]
    lines = [
        f"class {s.pascal}(Struct):",
        *docstring(s),
        f"    NAME = {quoted(s.name)}",
    ]
    lines += [f"    TYPE = {s.number}", f"    KIND = {quoted(s.kind)}"] if s.number else []
    lines += [f"    REQUIRED = {names(required)}"] if required else []
    lines += [f"    NESTED = {{{', '.join(nested)}}}"] if nested else []
    lines += [f"    __slots__ = {names([f.name for f in s.fields])}"]
    if s.fields:
        lines += ["", "    def __init__(", "        self,", "        *,"]
        lines += [
            *map(parameter, s.fields),
            "    ) -> None:",
            *map(assignment, s.fields),
        ]
    return "\n".join(lines) + "\n\n\n"


def names(words: list[str]) -> str:
    return f"({', '.join(map(quoted, words))}{',' * (len(words) == 1)})"


def longest_texts(contract: Contract) -> dict[int, int]:
    """Of each message, by its type: the most bytes that one of its texts may have."""
    longest = {m.number: longest_text(contract, m) for m in contract.messages}
    return {number: nbytes for number, nbytes in longest.items() if nbytes}


def longest_text(contract: Contract, s: Struct) -> int:
    """0 when no text in it, or in a struct in it, says how long it may be."""
    own = [f.spec.get("max_bytes", 0) for f in s.fields if f.type == "str"]
    inner = [contract.by_name[f.type] for f in s.fields if f.type in contract.by_name]
    return max([0, *own, *(longest_text(contract, one) for one in inner)])


def widgets(contract: Contract) -> dict[str, dict[str, dict[str, Any]]]:
    """What a user interface needs of every request field that has a default and is no list."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for s in contract.messages:
        for field in s.fields if s.kind == "request" else []:
            if "default" in field.spec and not field.is_list:
                table.setdefault(s.name, {})[field.name] = widget(field)
    return table


def widget(field: Field) -> dict[str, Any]:
    spec = dict(field.spec)
    if "max" in spec:
        spec.setdefault("step", 0.01 if field.type == "f64" else 1)
    shown = {key: spec[key] for key in ("default", "min", "max", "step", "choices") if key in spec}
    return shown | {"tooltip": field.doc}


def module(contract: Contract) -> str:
    protocol = contract.schema["protocol"]
    head = (FOLDER / "generator/messages.py.in").read_text()
    marks = {"note": NOTE, "hash": contract.hash, **protocol}
    for mark, value in marks.items():
        head = head.replace(f"@{mark}@", str(value))
    by_type = "".join(f"    {m.number}: {m.pascal},\n" for m in contract.messages)
    errors = {
        word: (e["doc"], e["hint"], e.get("retryable", False))
        for word, e in contract.schema["errors"].items()
    }
    return "".join(
        [
            head,
            "\n\n",
            *(struct_class(contract, s) for s in contract.all),
            f"BY_TYPE: dict[int, type[Struct]] = {{\n{by_type}}}\n\n",
            "# Type: bytes of the longest text that the message may hold\n",
            f"LONGEST_TEXTS: dict[int, int] = {numbers(longest_texts(contract))}\n\n",
            "# Code: (what it means, what the user can do, whether to try again)\n",
            f"ERRORS: dict[str, tuple[str, str, bool]] = {printed(errors)}\n\n",
            f"WIDGETS: dict[str, dict[str, dict[str, Any]]] = {printed(widgets(contract))}\n",
        ]
    )


def numbers(table: dict[int, int]) -> str:
    """A dictionary literal, one entry a line."""
    return "{\n" + "".join(f"    {key}: {value},\n" for key, value in table.items()) + "}"


def printed(table: dict[str, Any], indent: str = "    ") -> str:
    """A dictionary literal, one entry a line; two levels for a table of tables."""
    rows = []
    for key, value in table.items():
        many = isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())
        shown = printed(value, indent + "    ") if many else literal(value)
        rows.append(f"{indent}{quoted(key)}: {shown},\n")
    return "{\n" + "".join(rows) + indent[4:] + "}"


def literal(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        ends = "[]" if isinstance(value, list) else "()"
        return ends[0] + ", ".join(map(literal, value)) + ends[1]
    return repr(value)
