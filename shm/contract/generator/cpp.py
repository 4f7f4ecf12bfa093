"""Prints the C++ side: error codes, plain structs, field tables, instantiations."""

from __future__ import annotations

import json
from collections.abc import Callable

from .schema import INTEGERS, KINDS, NOTE, Contract, Field, Struct, pascal, quoted

TYPES = {"bool": "bool", "f64": "double", "str": "std::string", "bin": "std::string"}
TYPES |= {name: f"std::{'u' * (name[0] == 'u')}int{name[1:]}_t" for name in INTEGERS}


def member(field: Field) -> str:
    name = field.wrapped(
        TYPES.get(field.type, pascal(field.type)),
        "std::vector<{}>",
        "std::optional<{}>",
    )
    default = field.spec.get("default", [] if field.type in ("str", "bin") else 0)
    if field.optional or field.is_list or default in ([], "") or field.type not in TYPES:
        return f"  {name} {field.name};  // {field.doc}"
    default = "false" if field.type == "bool" and not default else json.dumps(default)
    return f"  {name} {field.name} = {default};  // {field.doc}"


def struct(s: Struct) -> str:
    number = [f"  static constexpr std::uint8_t kType = {s.number};"] if s.number else []
    same = f"  friend bool operator==(const {s.pascal}&, const {s.pascal}&) = default;"
    members = [member(field) for field in s.fields]
    return "\n".join([f"// {s.doc}", f"struct {s.pascal} {{", *number, *members, same, "};\n"])


def header(c: Contract) -> str:
    return f"""// What hearth's processes say to each other, as plain structs.
// {NOTE}
// Any thread: values and pure functions.
// clang-format off
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.h"

namespace hearth::contract {{

inline constexpr std::uint32_t kProtocolVersion = {c.schema["protocol"]["version"]};
inline constexpr std::uint32_t kOldestProtocolVersion = {c.schema["protocol"]["oldest"]};
inline constexpr std::string_view kSchemaHash = "{c.hash}";

// Who may send a message and what may follow it: see messages.toml.
enum class Kind {{ kUnknown, {", ".join("k" + pascal(kind) for kind in KINDS)} }};

std::string_view name_of_type(std::uint8_t type);  // "unknown" for types nobody declared
Kind kind_of_type(std::uint8_t type);
bool may_carry_descriptors(std::uint8_t type);

{chr(10).join(struct(s) for s in c.all)}
// The message's body: one msgpack map, keys in the order above, absent optionals left out. Trusts
// its caller: limits are checked by who reads.
template <class Message>
std::string pack(const Message& message);

// Checks everything the contract says of the message. Errors: bad_request, naming the field.
template <class Message>
Result<Message> unpack(std::span<const std::byte> body);

}}  // namespace hearth::contract
"""


def rule(field: Field) -> str:
    spec, real = field.spec, field.type == "f64"
    parts = [
        f".name = {quoted(field.name)}",
        f".required = {str(field.required).lower()}",
    ]
    parts += [".is_bin = true"] if field.type == "bin" else []
    for key in ("min", "max"):
        if key in spec:
            suffix = "u" if key == "max" and not real else ""
            parts.append(f".{key}_{'real' if real else 'integer'} = {spec[key]}{suffix}")
    parts += [f".{key} = {spec[key]}" for key in ("max_items", "max_bytes") if key in spec]
    parts += [f".choices = {field.name}_choices"] if "choices" in spec else []
    return f"    visit(Rule{{{', '.join(parts)}}}, m.{field.name});"


def fields(s: Struct) -> str:
    choices = [
        f"  static constexpr std::string_view {f.name}_choices[] = "
        f"{{{', '.join(map(quoted, f.spec['choices']))}}};"
        for f in s.fields
        if "choices" in f.spec
    ]
    unused = "" if s.fields else "[[maybe_unused]] "
    return "\n".join(
        [
            "template <>",
            f"struct Fields<{s.pascal}> {{",
            f"  static constexpr std::string_view kName = {quoted(s.name)};",
            f"  static constexpr bool kOpen = {str(s.open).lower()};",
            *choices,
            "  template <class M, class Visit>",
            f"  static void each({unused}M& m, {unused}Visit&& visit) {{",
            *map(rule, s.fields),
            "  }",
            "};\n",
        ]
    )


def tables(c: Contract) -> str:
    calls = "\n".join(f"  visit.template operator()<{m.pascal}>();" for m in c.messages)
    return f"""// The fields of every message with their rules, for code that walks over messages.
// {NOTE}
// clang-format off
#pragma once

#include "shm/contract/messages.h"
#include "shm/contract/rule.h"

namespace hearth::contract {{

{chr(10).join(fields(s) for s in c.all)}
// Calls visit.operator()<Message>() for every message.
template <class Visit>
void each_message(Visit&& visit) {{
{calls}
}}

}}  // namespace hearth::contract
"""


def source(c: Contract) -> str:
    def cases(answer_of: Callable[[Struct], str]) -> str:
        groups: dict[str, list[str]] = {}
        for m in c.messages:
            groups.setdefault(answer_of(m), []).append(f"case {m.number}:")
        return "\n".join(f"    {' '.join(g)} return {answer};" for answer, g in groups.items())

    both = "\n".join(
        f"template std::string pack(const {m.pascal}&);\n"
        f"template Result<{m.pascal}> unpack(std::span<const std::byte>);"
        for m in c.messages
    )
    return f"""// {NOTE}
// clang-format off
#include "shm/contract/messages.h"

#include "shm/contract/codec.h"
#include "shm/contract/fields.h"

namespace hearth::contract {{

std::string_view name_of_type(std::uint8_t type) {{
  switch (type) {{
{cases(lambda m: quoted(m.name))}
    default: return "unknown";
  }}
}}

Kind kind_of_type(std::uint8_t type) {{
  switch (type) {{
{cases(lambda m: "Kind::k" + pascal(m.kind))}
    default: return Kind::kUnknown;
  }}
}}

bool may_carry_descriptors(std::uint8_t type) {{
  switch (type) {{
{cases(lambda m: str(m.descriptors).lower())}
    default: return false;
  }}
}}

{both}

}}  // namespace hearth::contract
"""


def codes(c: Contract) -> str:
    errors = c.schema["errors"]
    codes = "\n".join(f"  k{pascal(word)},  // {e['doc']}" for word, e in errors.items())
    rows = "\n".join(
        f"    {{{quoted(word)}, {quoted(e['hint'])}, {str(e.get('retryable', False)).lower()}}},"
        for word, e in errors.items()
    )
    return f"""// What can go wrong, as a word that programs can act on.
// {NOTE}
// clang-format off
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hearth {{

enum class Code : std::uint8_t {{
{codes}
}};

struct CodeText {{
  std::string_view name;
  std::string_view hint;  // what the user can do
  bool retryable;         // the same request may succeed when sent again
}};

inline constexpr CodeText kCodeTexts[] = {{
{rows}
}};

constexpr std::string_view name_of(Code code) {{ return kCodeTexts[std::size_t(code)].name; }}
constexpr std::string_view hint_of(Code code) {{ return kCodeTexts[std::size_t(code)].hint; }}
constexpr bool retryable(Code code) {{ return kCodeTexts[std::size_t(code)].retryable; }}

constexpr std::optional<Code> parse_code(std::string_view name) {{
  for (std::size_t i = 0; i < std::size(kCodeTexts); ++i)
    if (kCodeTexts[i].name == name) return Code(i);
  return std::nullopt;
}}

}}  // namespace hearth
"""
