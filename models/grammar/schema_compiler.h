// The walk over a schema that makes it a grammar. Internal to grammar/.
//
// Recursion follows the schema's nesting, which is bounded when it is parsed; what a $ref names is
// walked afterwards, from a list.
//
// One thread; one object a schema.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "models/grammar/json_pieces.h"
#include "models/grammar/schema.h"
#include "models/grammar/schema_keywords.h"

namespace hearth::grammar {

class SchemaCompiler {
 public:
  SchemaCompiler(Expressions& into, ConfigValue root, Whitespace whitespace)
      : into_(into), root_(std::move(root)), pieces_(into, whitespace) {}

  Result<ExpressionId> compile();

 private:
  Result<ExpressionId> value(const ConfigValue& schema, bool is_root = false);
  Result<ExpressionId> decided_by(std::string_view keyword, const ConfigValue& schema,
                                  unsigned types);
  Result<ExpressionId> literals(const ConfigValue& values, bool one, unsigned types);
  Result<ExpressionId> branches(const ConfigValue& list);
  Result<ExpressionId> reference(const ConfigValue& pointer);
  Result<ExpressionId> of_type(unsigned type, const ConfigValue& schema);
  Result<ExpressionId> number(const ConfigValue& schema, bool fractions);
  Result<ExpressionId> string(const ConfigValue& schema);
  Result<ExpressionId> array(const ConfigValue& schema);
  Result<ExpressionId> object(const ConfigValue& schema);
  Result<std::vector<Property>> properties(const ConfigValue& schema,
                                           const std::optional<ExpressionId>& others);
  Result<std::optional<ExpressionId>> other_properties(const ConfigValue& schema);

  Expressions& into_;
  ConfigValue root_;
  JsonPieces pieces_;
  std::map<std::string, ExpressionId, std::less<>> rules_;       // by the text of the $ref
  std::vector<std::pair<ExpressionId, ConfigValue>> to_define_;  // rules still without their part
  std::size_t one_of_effort_ = kMaxOneOfEffort;
};

// What `pointer` ("#/$defs/cat") names below `root`. Errors: bad_request when nothing is there,
// unsupported for a reference into another document.
Result<ConfigValue> resolve(const ConfigValue& root, const ConfigValue& pointer);

// Whether no value can satisfy two of the branches, so that oneOf means anyOf. Errors: unsupported
// where that does not follow from types, literals, or a required property with literals;
// bad_request when more would have to be looked at than `effort` has left, of members and literals.
Result<void> check_exclusive(const ConfigValue& root, const ConfigValue& branches,
                             std::size_t& effort);

}  // namespace hearth::grammar
