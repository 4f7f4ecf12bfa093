// Masks and steps over small vocabularies.
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/unit/grammar_for_test.h"
#include "tests/unit/grammar_walk_for_test.h"

namespace hearth::grammar {
namespace {

class MaskOf : public testing::TestWithParam<Spec> {};

TEST_P(MaskOf, EqualsAcceptingEveryTokenAtEveryStepOfRandomTexts) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto grammar = Grammar::compile(GetParam(), vocabulary_of(tokens_across_borders()));
  ASSERT_TRUE(grammar) << grammar.error().what;
  for (int text = 0; text < 4; ++text)
    random_walk(*grammar, end_of((*grammar)->vocabulary()), random, 40, 1);
}

INSTANTIATE_TEST_SUITE_P(
    Grammars, MaskOf,
    testing::Values(
        caption_spec(), Spec{Syntax::kJsonSchema, "{}", Whitespace::kFlexible},
        Spec{Syntax::kJsonSchema, R"({"minLength":3,"maxLength":6})", Whitespace::kCompact},
        Spec{Syntax::kJsonSchema, R"({"minimum":-1.5,"maximum":120.25})", Whitespace::kCompact},
        Spec{Syntax::kJsonSchema, R"({"additionalProperties":{"format":"date"}})",
             Whitespace::kFlexible},
        Spec{Syntax::kRegularExpression, ".{2,9}", Whitespace::kCompact},
        Spec{Syntax::kRegularExpression, "(ab|a|title)*[^\"]{0,5}é?", Whitespace::kCompact}));

TEST(Matcher, MakesDocumentsThatAreValid) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto grammar = Grammar::compile(caption_spec(), vocabulary_of(tokens_across_borders()));
  ASSERT_TRUE(grammar);
  int complete = 0;
  for (int text = 0; text < 20; ++text) {
    const auto walk = random_walk(*grammar, end_of((*grammar)->vocabulary()), random, 2000, 2000);
    if (!walk.ended) continue;
    ++complete;
    const auto document = nlohmann::json::parse(walk.text, nullptr, false);
    ASSERT_TRUE(document.is_object()) << walk.text;
    EXPECT_TRUE(document.at("title").is_string());
    EXPECT_LE(document.at("tags").size(), 10u);
    EXPECT_LE(document.value("count", 0), 1000);
    const auto mood = document.at("mood").get<std::string>();
    EXPECT_TRUE(mood == "happy" || mood == "sad" || mood == "neutral");
  }
  EXPECT_GT(complete, 5);
}

TEST(Matcher, EndsOnlyWhereTheTextIsComplete) {
  const auto grammar = regex("ab?");
  ASSERT_TRUE(grammar);
  const auto end = end_of((*grammar)->vocabulary());
  Matcher matcher(*grammar, {end, 7});
  Bits bits(mask_words((*grammar)->vocabulary().size()));
  ASSERT_TRUE(matcher.mask(bits));
  EXPECT_EQ(members(bits), std::vector<std::int32_t>{'a'});
  EXPECT_FALSE(matcher.can_end());
  EXPECT_EQ(matcher.accept(end).error().code, Code::kInternal);
  ASSERT_TRUE(matcher.accept('a'));
  EXPECT_TRUE(matcher.can_end());
  ASSERT_TRUE(matcher.mask(bits));
  EXPECT_EQ(members(bits), (std::vector<std::int32_t>{7, 'b', end}));
  ASSERT_TRUE(matcher.accept(end));
  EXPECT_TRUE(matcher.ended());
  EXPECT_FALSE(matcher.mask(bits));
  EXPECT_FALSE(matcher.accept('b'));
}

TEST(Matcher, StaysWhereItWasAfterATokenThatDoesNotMatch) {
  const auto grammar = regex("abc");
  ASSERT_TRUE(grammar);
  Matcher matcher(*grammar, {});
  ASSERT_TRUE(matcher.accept('a'));
  for (const std::int32_t token : {static_cast<std::int32_t>('c'), 256, -1, 100'000}) {
    const auto accepted = matcher.accept(token);
    ASSERT_FALSE(accepted) << token;
    EXPECT_EQ(accepted.error().code, Code::kInternal);
  }
  EXPECT_TRUE(matcher.accept('b'));
}

TEST(Matcher, ClearsTheBitsOfPaddingRows) {
  const auto grammar = regex(".*");
  ASSERT_TRUE(grammar);
  Matcher matcher(*grammar, {});
  Bits bits(mask_words((*grammar)->vocabulary().size()) + 3, ~0u);
  ASSERT_TRUE(matcher.mask(bits));
  EXPECT_TRUE(has(bits, 'a'));
  EXPECT_FALSE(has(bits, 256));
  EXPECT_EQ(bits.back(), 0u);
}

TEST(Matcher, SaysWhichBytesAreForced) {
  const auto grammar = schema(R"({"properties":{"title":{"type":"string"}},"required":["title"]})");
  ASSERT_TRUE(grammar);
  Matcher matcher(*grammar, {});
  EXPECT_EQ(matcher.forced_bytes(), R"({"title":")");
  for (const char byte : std::string_view(R"({"title":"x)"))
    ASSERT_TRUE(matcher.accept(static_cast<unsigned char>(byte)));
  EXPECT_EQ(matcher.forced_bytes(), "");
  ASSERT_TRUE(matcher.accept('"'));
  EXPECT_EQ(matcher.forced_bytes(), "}");
  ASSERT_TRUE(matcher.accept('}'));
  EXPECT_EQ(matcher.forced_bytes(), "");
}

TEST(Matcher, SaysSoWhenTheVocabularyHasNoWayOn) {
  auto letters = Vocabulary::build({"a", "b"});
  ASSERT_TRUE(letters);
  const auto hopeless = Grammar::compile({Syntax::kRegularExpression, "xa", {}}, *letters);
  ASSERT_FALSE(hopeless);
  EXPECT_EQ(hopeless.error().code, Code::kBadRequest);
  const auto later = Grammar::compile({Syntax::kRegularExpression, "axb", {}}, *letters);
  ASSERT_TRUE(later);
  Matcher matcher(*later, {});
  Bits bits(1);
  ASSERT_TRUE(matcher.mask(bits));
  ASSERT_TRUE(matcher.accept(0));
  EXPECT_EQ(matcher.mask(bits).error().code, Code::kBadRequest);
}

TEST(Matcher, ForgetsWhatItFoundOutRatherThanGrow) {
  const auto grammar = regex("(ab|ba|b){0,900000}c");
  ASSERT_TRUE(grammar);
  Matcher matcher(*grammar, {});
  Bits bits(mask_words((*grammar)->vocabulary().size()));
  std::size_t most = 0;
  bool shrank = false;
  for (int step = 0; step < 400'000; ++step) {
    ASSERT_TRUE(matcher.accept(step % 2 ? 'b' : 'a')) << step;
    if (step % 100 != 0) continue;
    ASSERT_TRUE(matcher.mask(bits));
    const auto now = (*grammar)->bytes();
    shrank |= now < most;
    most = std::max(most, now);
  }
  EXPECT_TRUE(shrank) << most;
  EXPECT_LT(most, 2 * Automaton::kFullBytes);
  EXPECT_TRUE(matcher.accept('c'));
  EXPECT_TRUE(matcher.can_end());
}

TEST(Matcher, SharesItsGrammarWithMatchersOnOtherThreads) {
  const auto grammar = Grammar::compile(caption_spec(), vocabulary_of(tokens_across_borders()));
  ASSERT_TRUE(grammar);
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::vector<Walk> walks(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < walks.size(); ++i)
      threads.emplace_back([&, i] {
        std::mt19937 random(seed + static_cast<unsigned>(i));
        walks[i] = random_walk(*grammar, end_of((*grammar)->vocabulary()), random, 300, 1000);
      });
  }
  for (std::size_t i = 0; i < walks.size(); ++i) {
    std::mt19937 random(seed + static_cast<unsigned>(i));
    const auto alone = random_walk(*grammar, end_of((*grammar)->vocabulary()), random, 300, 1000);
    EXPECT_EQ(walks[i].text, alone.text);
  }
}

}  // namespace
}  // namespace hearth::grammar
