// Numbers between bounds, against arithmetic.
#include <random>

#include <fmt/format.h>

#include "tests/unit/grammar_for_test.h"

namespace hearth::grammar {
namespace {

// Hundredths as a decimal without trailing zeros: -1250 is -12.5.
std::string decimal(int hundredths) {
  std::string text = fmt::format("{}{}.{:02}", hundredths < 0 ? "-" : "",
                                 std::abs(hundredths) / 100, std::abs(hundredths) % 100);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

struct Bounds {
  bool integer = false;
  int least = 0, most = 0;  // hundredths
  bool has_least = true, has_most = true, least_excluded = false, most_excluded = false;

  bool hold(int value) const {
    if (integer && value % 100 != 0) return false;
    if (has_least && (least_excluded ? value <= least : value < least)) return false;
    return !has_most || (most_excluded ? value < most : value <= most);
  }

  std::string schema() const {
    std::string text = fmt::format(R"({{"type":"{}")", integer ? "integer" : "number");
    if (has_least)
      text += fmt::format(R"(,"{}":{})", least_excluded ? "exclusiveMinimum" : "minimum",
                          decimal(least));
    if (has_most)
      text +=
          fmt::format(R"(,"{}":{})", most_excluded ? "exclusiveMaximum" : "maximum", decimal(most));
    return text + "}";
  }
};

TEST(NumberRange, IsThatOfArithmetic) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](int limit) {
    return static_cast<int>(random() % static_cast<unsigned>(limit));
  };
  for (int round = 0; round < 150; ++round) {
    Bounds bounds;
    bounds.integer = below(2);
    const int scale = below(3) == 0 ? 100 : 1;  // whole numbers often enough
    bounds.least = (below(24'000) - 12'000) / scale * scale;
    bounds.most = bounds.least + below(below(2) ? 300 : 13'000) / scale * scale;
    bounds.has_least = below(5) > 0;
    bounds.has_most = !bounds.has_least || below(5) > 0;
    bounds.least_excluded = below(2);
    bounds.most_excluded = below(2);
    const auto grammar = schema(bounds.schema());
    const int first = bounds.least - 250, last = bounds.most + 250;
    bool any = !bounds.has_least || !bounds.has_most;
    for (int value = first; value <= last && !any; ++value) any = bounds.hold(value);
    // Hundredths do not show what lies between two neighbours.
    if (!grammar) {
      EXPECT_FALSE(any) << bounds.schema() << ": " << grammar.error().what;
      continue;
    }
    for (int value = first; value <= last; value += 1 + below(7)) {
      const bool holds = bounds.hold(value);
      EXPECT_EQ(matches(*grammar, decimal(value)), holds) << bounds.schema() << " " << value;
      if (bounds.integer || value % 100 == 0) continue;
      EXPECT_EQ(matches(*grammar, decimal(value) + "000"), holds)
          << bounds.schema() << " " << value;
    }
  }
}

TEST(NumberRange, TakesLongFractionsAndTheLargestIntegers) {
  const auto fraction = schema(R"({"exclusiveMinimum":0.1,"maximum":0.125})");
  ASSERT_TRUE(fraction);
  EXPECT_TRUE(matches(*fraction, "0.10000000000000001"));
  EXPECT_TRUE(matches(*fraction, "0.1250000"));
  EXPECT_FALSE(matches(*fraction, "0.1000"));
  EXPECT_FALSE(matches(*fraction, "0.12500001"));
  const auto large = schema(R"({"type":"integer","minimum":999999999999999998})");
  ASSERT_TRUE(large);
  EXPECT_TRUE(matches(*large, "999999999999999999"));
  EXPECT_FALSE(matches(*large, "999999999999999997"));
}

}  // namespace
}  // namespace hearth::grammar
