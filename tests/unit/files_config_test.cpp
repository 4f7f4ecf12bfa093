#include <random>

#include <gtest/gtest.h>

#include "models/files/config.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::files {
namespace {

constexpr std::string_view kConfig =
    R"({"a":{"b":[1,2,{"c":"text"}]},"big":18446744073709551615,"half":0.5,"on":true,)"
    R"("none":null,"twice":1,"twice":2,"minus":-7,"floats":[1,2.5]})";

ConfigValue parsed(std::string_view text) {
  auto value = parse_json("config.json", text);
  EXPECT_TRUE(value) << value.error().what;
  return value ? *value : ConfigValue();
}

template <class T>
std::string problem(const Result<T>& result) {
  EXPECT_FALSE(result);
  return result ? std::string() : result.error().what;
}

TEST(Config, GivesTypedValues) {
  const auto config = parsed(kConfig);
  EXPECT_EQ(*config["minus"].integer(), -7);
  EXPECT_EQ(*config["half"].number(), 0.5);
  EXPECT_EQ(*config["minus"].number(), -7.0);
  EXPECT_TRUE(*config["on"].boolean());
  EXPECT_EQ(*config["a"]["b"].first().next().next()["c"].text(), "text");
  EXPECT_EQ(*config["floats"].numbers(), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(*config["twice"].integer(), 2);
}

TEST(Config, FallsBackOnlyWhereNothingStands) {
  const auto config = parsed(kConfig);
  EXPECT_EQ(*config["absent"].integer_or(3), 3);
  EXPECT_EQ(*config["none"].text_or("x"), "x");
  EXPECT_EQ(*config["a"]["absent"]["deeper"].number_or(1.5), 1.5);
  EXPECT_FALSE(config["half"].integer_or(3));
  EXPECT_FALSE(config["on"].text_or("x"));
}

TEST(Config, NamesFileAndKeyOfWhatIsWrong) {
  const auto config = parsed(kConfig);
  EXPECT_EQ(problem(config["a"]["x"]["y"].integer()), "config.json: a.x.y is missing.");
  EXPECT_EQ(problem(config["half"].integer()), "config.json: half must be an integer.");
  EXPECT_EQ(problem(config["big"].integer()), "config.json: big must be an integer.");
  EXPECT_EQ(problem(config["minus"].integer(0, 9)),
            "config.json: minus is -7, but must be within 0 and 9.");
  EXPECT_EQ(problem(config["a"]["b"].integers()), "config.json: a.b[2] must be an integer.");
  EXPECT_EQ(problem(config["on"].numbers()), "config.json: on must be a list of numbers.");
  EXPECT_EQ(problem(config["none"].text()), "config.json: none must be a string.");
}

TEST(Config, ShortensHostileKeysInMessages) {
  const auto config = parsed("{\"" + std::string(10'000, 'k') + "\":1}");
  EXPECT_LT(problem(config.first().text()).size(), 200U);
}

TEST(Config, RefusesWhatIsNotJson) {
  for (const auto* text : {"", "{", "[1,]", "{\"a\":NaN}", "\"\xff\"", "{} {}", "1e999", "nul"}) {
    const auto value = parse_json("config.json", text);
    ASSERT_FALSE(value) << text;
    EXPECT_EQ(value.error().code, Code::kBadModel);
  }
}

TEST(Config, BoundsDepthNumberAndSize) {
  const JsonLimits limits{.max_bytes = 1000, .max_depth = 5, .max_values = 20};
  const auto refused = [&](std::string_view text) {
    return problem(parse_json("x.json", text, limits));
  };
  EXPECT_NE(refused(std::string(500, '[')).find("deeper than 5"), std::string::npos);
  EXPECT_NE(refused("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]").find("more than 20"),
            std::string::npos);
  EXPECT_NE(refused(std::string(2000, ' ')).find("at most 1000"), std::string::npos);
  EXPECT_TRUE(parse_json("x.json", "[[[[[]]]]]", limits));
}

TEST(Config, ReadsALabelledFileAndNamesAMissingOne) {
  const models::ModelFiles files = {models::file_with("config.json", kConfig)};
  EXPECT_TRUE(read_json(files, "config.json"));
  EXPECT_EQ(problem(read_json(files, "generation_config.json")),
            "generation_config.json is missing from the model's files.");
  EXPECT_FALSE(read_json(files, "config.json", {.max_bytes = 10}));
}

TEST(Config, SurvivesRandomChanges) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string_view alphabet = "{}[]\",:0123456789-.eEtrufalsn\\\x80 ";
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string changed(kConfig);
    for (auto times = random() % 3 + 1; times > 0; --times)
      changed[random() % changed.size()] = alphabet[random() % alphabet.size()];
    const auto value = parse_json("config.json", changed);
    if (!value) continue;
    ++accepted;
    for (auto item = value->first(); item.exists(); item = item.next())
      ASSERT_FALSE(item.path().empty());
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace hearth::files
