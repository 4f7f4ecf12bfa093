// Random texts made of the tokens that masks allow, and masks held against accepting every token.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "models/grammar/grammar.h"

namespace hearth::grammar {

using Bits = std::vector<std::uint32_t>;

inline constexpr std::string_view kCaption =
    R"({"type":"object","properties":{
        "title":{"type":"string","maxLength":80},
        "tags":{"type":"array","items":{"type":"string"},"maxItems":10},
        "count":{"type":"integer","minimum":0,"maximum":1000},
        "mood":{"enum":["happy","sad","neutral"]},
        "people":{"type":"array","items":{"type":"object","properties":{
            "name":{"type":"string"},"age":{"type":["integer","null"]}},"required":["name"]}}},
        "required":["title","tags","mood"]})";

inline Spec caption_spec() {
  return {Syntax::kJsonSchema, std::string(kCaption), Whitespace::kFlexible};
}

inline bool has(const Bits& bits, std::int32_t token) {
  return bits[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1;
}

inline std::vector<std::int32_t> members(const Bits& bits) {
  std::vector<std::int32_t> found;
  for (std::size_t word = 0; word < bits.size(); ++word)
    for (auto rest = bits[word]; rest != 0; rest &= rest - 1)
      found.push_back(static_cast<std::int32_t>(word * 32) + __builtin_ctz(rest));
  return found;
}

// Every token tried one by one.
inline Bits one_by_one(const Matcher& matcher, std::size_t tokens) {
  Bits bits(mask_words(tokens));
  for (std::size_t token = 0; token < tokens; ++token) {
    Matcher copy = matcher;
    if (copy.accept(static_cast<std::int32_t>(token))) bits[token / 32] |= 1u << (token % 32);
  }
  return bits;
}

// A text made of tokens drawn from the masks, which ends as soon as it may.
struct Walk {
  std::string text;
  bool ended = false;
};

inline Walk random_walk(const std::shared_ptr<const Grammar>& grammar, std::int32_t end,
                        std::mt19937& random, int steps, int check_every) {
  const auto& vocabulary = grammar->vocabulary();
  Matcher matcher(grammar, {end});
  Bits bits(mask_words(vocabulary.size()));
  Walk walk;
  for (int step = 0; step < steps && !walk.ended; ++step) {
    const auto masked = matcher.mask(bits);
    EXPECT_TRUE(masked) << masked.error().what << " after " << walk.text;
    const auto allowed = members(bits);
    if (!masked || allowed.empty()) break;
    if (step % check_every == 0) {
      EXPECT_EQ(bits, one_by_one(matcher, vocabulary.size())) << "after " << walk.text;
    }
    const auto token = has(bits, end) ? end : allowed[random() % allowed.size()];
    EXPECT_TRUE(matcher.accept(token)) << token;
    walk.ended = matcher.ended();
    walk.text += vocabulary.bytes_of(token);
  }
  return walk;
}

inline std::vector<std::string> tokens_across_borders() {
  return {"\"",       "\":",        "\": \"", "\",",
          "\", \"",   "\"}",        "{\"",    "[\"",
          "[[",       "]}",         "abc",    "title",
          "ti",       "e\"",        " ",      "  ",
          "\n",       "\n  ",       "é",      "漢字",
          "\xF0\x9F", "\x98\x80\"", "\\u00",  "\\\"",
          "12",       "0.",         "e+1",    "true",
          "null,",    "ab",         "ab",     "this is a longer piece of text",
          "a\"b",     "-",          "-1",     "]]}",
          "}}",       ", "};
}

}  // namespace hearth::grammar
