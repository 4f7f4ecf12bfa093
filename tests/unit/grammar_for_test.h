// Grammars over small vocabularies, and whole texts held against them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "models/grammar/grammar.h"

namespace hearth::grammar {

// The 256 bytes, then `more`, then an end token without bytes.
inline std::shared_ptr<const Vocabulary> vocabulary_of(std::vector<std::string> more = {}) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.insert(tokens.end(), more.begin(), more.end());
  tokens.emplace_back();
  auto built = Vocabulary::build(std::move(tokens));
  EXPECT_TRUE(built);
  return *built;
}

inline std::int32_t end_of(const Vocabulary& vocabulary) {
  return static_cast<std::int32_t>(vocabulary.size()) - 1;
}

inline Result<std::shared_ptr<const Grammar>> compile(Syntax syntax, std::string_view text,
                                                      Whitespace whitespace) {
  static const auto bytes = vocabulary_of();
  return Grammar::compile({syntax, std::string(text), whitespace}, bytes);
}
inline Result<std::shared_ptr<const Grammar>> regex(std::string_view pattern) {
  return compile(Syntax::kRegularExpression, pattern, Whitespace::kCompact);
}
inline Result<std::shared_ptr<const Grammar>> schema(std::string_view text,
                                                     Whitespace whitespace = Whitespace::kCompact) {
  return compile(Syntax::kJsonSchema, text, whitespace);
}

// Whether the whole text is one of the grammar. Its bytes are accepted one by one.
inline bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar, {end_of(grammar->vocabulary())});
  for (const char byte : text)
    if (!matcher.accept(static_cast<unsigned char>(byte))) return false;
  return matcher.can_end();
}

// One expression or schema, texts that it takes and texts that it does not.
struct Case {
  std::string_view name, text;
  std::vector<std::string_view> taken, refused;
};

inline void check(const Case& one, const Result<std::shared_ptr<const Grammar>>& grammar) {
  ASSERT_TRUE(grammar) << one.text << ": " << grammar.error().what;
  for (const auto text : one.taken)
    EXPECT_TRUE(matches(*grammar, text)) << one.text << "  " << text;
  for (const auto text : one.refused)
    EXPECT_FALSE(matches(*grammar, text)) << one.text << "  " << text;
}

// What cannot be compiled, with the code and a part of the message.
struct Refusal {
  std::string_view text;
  Code code;
  std::string_view says;
};

inline void check(const Refusal& one, const Result<std::shared_ptr<const Grammar>>& grammar) {
  ASSERT_FALSE(grammar) << one.text;
  EXPECT_EQ(grammar.error().code, one.code) << one.text << ": " << grammar.error().what;
  EXPECT_NE(grammar.error().what.find(one.says), std::string::npos)
      << one.text << ": " << grammar.error().what;
}

inline std::string name_of(const testing::TestParamInfo<Case>& one) {
  return std::string(one.param.name);
}

}  // namespace hearth::grammar
