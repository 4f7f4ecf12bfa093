// JSON schemas (draft 2020-12 and what drafts 6 to 2019-09 share with it) as grammars.
//
// Every document of the grammar is valid; not every valid document is one of the grammar. Members
// come in the schema's order, strings and numbers in a bounded usual form, and members or elements
// that a schema does not mention only where it says so. What cannot be kept to is refused by name,
// with its place in the schema; annotations (title, description, default …) are passed over.
//
// Pure functions; any thread.
#pragma once

#include <string_view>

#include "models/grammar/expressions.h"
#include "models/grammar/json_pieces.h"
#include "shm/base/result.h"

namespace hearth::grammar {

inline constexpr std::size_t kMaxSchemaBytes = std::size_t{256} << 10;
inline constexpr std::size_t kMaxSchemaDepth = 64;
inline constexpr std::size_t kMaxSchemaValues = 40'000;
inline constexpr std::size_t kMaxSchemaRules = 500;  // different $ref
inline constexpr std::size_t kMaxBranches = 500;     // of an anyOf, oneOf or prefixItems
inline constexpr std::size_t kMaxNameBytes = 1024;   // of a property
// Members and literals that are looked at to tell the branches of all oneOf apart.
inline constexpr std::size_t kMaxOneOfEffort = 2'000'000;

// Adds the documents that `text` describes. Errors: bad_request for what is no schema or one that
// no document satisfies, unsupported for a keyword, format or combination that is not kept to.
Result<ExpressionId> add_schema(Expressions& into, std::string_view text, Whitespace whitespace);

}  // namespace hearth::grammar
