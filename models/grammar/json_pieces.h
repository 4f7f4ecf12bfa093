// The parts that every grammar of a JSON document is put together from.
//
// One thread; adds to the Expressions it was given.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/grammar/expressions.h"

namespace hearth::grammar {

// What may stand between the tokens of a document.
enum class Whitespace {
  kFlexible,  // after { [ , : and before } ]: nothing, a space, or a new line and its indentation
  kCompact,   // nothing
};

inline constexpr std::uint32_t kMaxIndentation = 32;  // spaces or tabs after a new line

struct Property {
  std::string name;
  ExpressionId value = 0;
  bool required = false;
};

// Any number of members with other names than the declared ones.
struct MoreProperties {
  ExpressionId value = 0;
  std::uint32_t min = 0, max = kUnbounded;  // only without declared properties
};

struct Elements {
  std::vector<ExpressionId> first;     // the first elements have a grammar each
  std::optional<ExpressionId> others;  // what follows them; none: nothing may
  std::uint32_t min = 0, max = kUnbounded;
};

// A text as a JSON string with its quotes: what must be escaped is, in its shortest form. UTF-8.
std::string quoted(std::string_view text);

class JsonPieces {
 public:
  JsonPieces(Expressions& into, Whitespace whitespace);

  ExpressionId any();  // any JSON value
  ExpressionId string(std::uint32_t min_characters, std::uint32_t max_characters);
  ExpressionId in_quotes(ExpressionId content);
  // Members in this order. What is not required may be left out.
  ExpressionId object(const std::vector<Property>& properties,
                      const std::optional<MoreProperties>& more);
  ExpressionId array(const Elements& elements);

 private:
  ExpressionId member(ExpressionId name, ExpressionId value);
  ExpressionId other_name(const std::vector<Property>& declared);
  ExpressionId more_members(const std::vector<Property>& declared, const MoreProperties& more,
                            bool is_first);

  Expressions& into_;
  MachineId character_;        // one of a string, escaped or not
  MachineId plain_character_;  // one that is not escaped
  ExpressionId gap_;           // white space where there may be some
  ExpressionId comma_, colon_, quote_;
  ExpressionId any_number_;
  std::optional<ExpressionId> any_;
};

}  // namespace hearth::grammar
