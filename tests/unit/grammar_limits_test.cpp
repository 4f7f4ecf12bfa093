// Schemas made to cost time or memory: each is compiled or refused with a code, soon, and what is
// compiled goes on to be cheap.
#include <chrono>
#include <functional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/grammar/schema.h"
#include "tests/unit/grammar_for_test.h"

namespace hearth::grammar {
namespace {

using nlohmann::json;

std::string nested(std::string_view open, std::string_view inside, std::string_view close,
                   int levels) {
  std::string text;
  for (int i = 0; i < levels; ++i) text += open;
  text += inside;
  for (int i = 0; i < levels; ++i) text += close;
  return text;
}

std::string wide(int properties, const std::function<json(int)>& schema) {
  json declared = json::object();
  for (int i = 0; i < properties; ++i) declared[fmt::format("property{}", i)] = schema(i);
  return json{{"properties", declared}, {"additionalProperties", true}}.dump();
}

// Each rule refers twice to the next one.
std::string doubling(const char* keyword, int levels) {
  json definitions;
  for (int i = 0; i < levels; ++i) {
    const json next = {{"$ref", fmt::format("#/$defs/r{}", i + 1)}};
    definitions[fmt::format("r{}", i)] = {{keyword, {next, next}}};
  }
  definitions[fmt::format("r{}", levels)] = {{"type", "null"}};
  return json{{"$ref", "#/$defs/r0"}, {"$defs", definitions}}.dump();
}

std::string literals(int count) {
  json values = json::array();
  for (int i = 0; i < count; ++i) values.push_back(fmt::format("value {}", i * 7919));
  return json{{"enum", values}}.dump();
}

// Of many that may be null, each the same large object.
std::string nullables(int references, int members) {
  json large = {{"type", "object"}, {"properties", json::object()}, {"required", json::array()}};
  for (int i = 0; i < members; ++i) {
    large["properties"][fmt::format("m{}", i)] = true;
    large["required"].push_back(fmt::format("m{}", i));
  }
  const json one = {{"oneOf", {{{"$ref", "#/$defs/a"}}, {{"type", "null"}}}}};
  json properties = json::object();
  for (int i = 0; i < references; ++i) properties[fmt::format("p{}", i)] = one;
  return json{{"properties", properties}, {"$defs", {{"a", large}}}}.dump();
}

// Branches that a member tells apart, after another one with many values did not.
std::string tagged(int branches, int values) {
  json list = json::array(), many = json::array();
  for (int i = 0; i < values; ++i) many.push_back(i);
  for (int i = 0; i < branches; ++i)
    list.push_back({{"type", "object"},
                    {"required", {"a", "z"}},
                    {"properties", {{"a", {{"enum", many}}}, {"z", {{"const", i}}}}}});
  return json{{"oneOf", list}}.dump();
}

struct Hostile {
  const char* name;
  std::string text;
  bool compiles;
};

class HostileSchema : public testing::TestWithParam<Hostile> {};

TEST_P(HostileSchema, EndsSoonAndTakesLittleMemory) {
  const auto begin = std::chrono::steady_clock::now();
  const auto grammar = schema(GetParam().text, Whitespace::kFlexible);
  if (!grammar) {
    EXPECT_FALSE(GetParam().compiles) << grammar.error().what;
    EXPECT_EQ(grammar.error().code, Code::kBadRequest) << grammar.error().what;
  } else {
    EXPECT_TRUE(GetParam().compiles);
    Matcher matcher(*grammar, {});
    std::vector<std::uint32_t> bits(mask_words((*grammar)->vocabulary().size()));
    for (int step = 0; step < 300 && matcher.mask(bits); ++step) {
      std::int32_t token = 255;  // from above: no closing bracket where something else may come
      while (token >= 0 && !(bits[token / 32] >> (token % 32) & 1)) --token;
      if (token < 0 || !matcher.accept(token)) break;
    }
    EXPECT_LT((*grammar)->bytes(), std::size_t{128} << 20);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

INSTANTIATE_TEST_SUITE_P(
    Schemas, HostileSchema,
    testing::Values(
        Hostile{"DeepInItself", nested(R"({"items":)", "{}", "}", 50'000), false},
        Hostile{"DeepInBrackets", nested("[", "", "]", 50'000), false},
        Hostile{"AsDeepAsMayBe", nested(R"({"items":)", "{}", "}", kMaxSchemaDepth - 1), true},
        Hostile{"TooLong", std::string(kMaxSchemaBytes + 1, ' '), false},
        Hostile{"TooManyValues", literals(45'000), false},
        Hostile{"ManyLiterals", literals(9'000), true},
        Hostile{"ManyProperties",
                wide(400,
                     [](int) {
                       return json{{"type", "string"}};
                     }),
                true},
        Hostile{"ManyPatterns",
                wide(3'000,
                     [](int i) {
                       return json{{"pattern", fmt::format("^[a-z{}]{{1,20}}$", i)}};
                     }),
                true},
        Hostile{"ManyReferences",
                wide(kMaxSchemaRules + 1,
                     [](int i) {
                       return json{{"$ref", fmt::format("#/properties/property{}", i + 1)}};
                     }),
                false},
        Hostile{"DoublingChoices", doubling("anyOf", 100), true},
        Hostile{"DoublingArrays", doubling("prefixItems", 100), true},
        Hostile{"ManyNullables", nullables(1'000, 10), true},
        Hostile{"ManyNullablesOfManyMembers", nullables(1'000, 8'000), false},
        Hostile{"ManyBranches", tagged(400, 1), true},
        Hostile{"ManyBranchesOfManyValues", tagged(400, 60), false},
        Hostile{"LongString", R"({"minLength":900000000,"maxLength":1000000000})", true},
        Hostile{"LongArray", R"({"items":{"maxItems":1000000},"minItems":1000000})", true},
        Hostile{"LongName", json{{"properties", {{std::string(100'000, 'a'), true}}}}.dump(),
                false},
        Hostile{"AmbiguousPattern", R"({"pattern":"(a|b|ab|ba)*(.*a.{60})+"})", true},
        Hostile{"CirclesWithoutText", R"({"anyOf":[{"$ref":"#"},{"$ref":"#"}]})", false}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace hearth::grammar
