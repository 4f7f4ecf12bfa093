// Thoughts and text of an answer: where they part, what is shown, and how thoughts end.

#include <algorithm>

#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

// Bytes, with "{" for <think> and "}" for </think>.
std::vector<std::int32_t> tokens_of(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (const char byte : text)
    ids.push_back(byte == '{'   ? fake::kThink
                  : byte == '}' ? fake::kThinkEnd
                                : static_cast<std::uint8_t>(byte));
  return ids;
}

struct Parted {
  std::string thinking, text;
  bool operator==(const Parted&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Parted& parted) {
  return out << '[' << parted.thinking << "] " << parted.text;
}

// What is shown of an answer with these tokens, in one piece after the other.
Parted part(std::string_view answer, std::vector<std::string> stop = {}, bool opened = false) {
  TokenPrompt prompt;
  prompt.vocabulary = std::make_shared<fake::ByteVocabulary>();
  prompt.thoughts.begin = fake::kThink;
  prompt.thoughts.end = fake::kThinkEnd;
  prompt.thoughts.opened = opened;
  prompt.sampling.stop = std::move(stop);
  AnswerText text(prompt);
  Parted parted;
  const auto show = [&](const Shown& shown) {
    EXPECT_FALSE(shown.thinking && !parted.text.empty());
    (shown.thinking ? parted.thinking : parted.text) += shown.text;
  };
  for (const std::int32_t id : tokens_of(answer)) {
    show(text.accept(id));
    if (text.stopped()) break;
  }
  show(text.finish());
  return parted;
}

TEST(AnswerText, PartsThoughtsFromTextAndDropsTheNewLinesBetween) {
  EXPECT_EQ(part("{\n\nOne.\nTwo.\n\n}\n\nThree.\n"), (Parted{"One.\nTwo.", "Three.\n"}));
  EXPECT_EQ(part("\nOne.\n}\nTwo.", {}, true), (Parted{"One.", "Two."}));
}

TEST(AnswerText, OfAModelThatDoesNotThinkStaysAsItIs) {
  EXPECT_EQ(part("\n\nOne.\n"), (Parted{"", "\n\nOne.\n"}));
}

TEST(AnswerText, TakesEmptyThoughtsForNone) {
  EXPECT_EQ(part("{\n\n}\n\nOne."), (Parted{"", "One."}));
  EXPECT_EQ(part("}One.", {}, true), (Parted{"", "One."}));
}

TEST(AnswerText, ShowsThoughtsThatNeverEndWithoutTheirLastNewLines) {
  EXPECT_EQ(part("{One\n\n"), (Parted{"One", ""}));
}

TEST(AnswerText, SeeksStopStringsInTheTextOnlyWhereverTokensEnd) {
  EXPECT_EQ(part("{an END}\nthe END of", {"END"}), (Parted{"an END", "the "}));
  EXPECT_EQ(part("{a}b", {"ab"}), (Parted{"a", "b"})) << "no stop string has both";
  EXPECT_EQ(part("{a}\n\n\nb", {"\n\n"}), (Parted{"a", "b"}))
      << "what the layout drops ends nothing";
  EXPECT_EQ(part("{a}b\n\nc", {"\n\n"}), (Parted{"a", "b"}));
}

TEST(AnswerText, EndsACharacterThatTheThoughtsBegan) {
  EXPECT_EQ(part("{a\xE2\x82}b"), (Parted{"a\xEF\xBF\xBD", "b"}));
}

// --- whole answers of the fake model, heard at once or one step late ---------------------------

template <class Batch>
class ThoughtsOf : public testing::Test {
 protected:
  // The script's words are the answer's tokens; braces as above.
  contract::Generated answer(std::string words, std::int32_t thinking_tokens,
                             std::int32_t max_tokens = 64) {
    contract::Generate request = request_for(std::move(words));
    request.thinking_tokens = thinking_tokens;
    request.max_tokens = max_tokens;
    return answer(request);
  }
  contract::Generated answer(const contract::Generate& request) {
    const Running running = batch.run(request);
    EXPECT_TRUE(running.heard->reply) << (running.heard->error ? running.heard->error->what : "");
    EXPECT_EQ(running.heard->streamed, running.heard->reply->text);
    EXPECT_EQ(running.heard->streamed_thoughts, running.heard->reply->thinking);
    EXPECT_EQ(running.heard->streamed_ids, ids_in(running.heard->reply->token_ids));
    return *running.heard->reply;
  }
  static contract::Generate request_for(std::string words) {
    for (const auto& [brace, word] : {std::pair{'{', "<think>"}, std::pair{'}', "</think>"}})
      for (std::size_t at; (at = words.find(brace)) != std::string::npos;)
        words.replace(at, 1, word);
    return greedy(words);
  }

  Batch batch{2};
};

using Batches = testing::Types<FakeBatch, BatchOver<LateDecoder>>;
TYPED_TEST_SUITE(ThoughtsOf, Batches);

TYPED_TEST(ThoughtsOf, AnAnswerComeApartFromItsText) {
  const auto reply = this->answer("{abcdef}xyz", 0);
  EXPECT_EQ(reply.thinking, "abcdef");
  EXPECT_EQ(reply.text, "xyz");
  EXPECT_EQ(reply.receipt.thinking_tokens, 6U);
  EXPECT_EQ(reply.receipt.generated_tokens, 12U);
  EXPECT_FALSE(reply.thinking_closed);
  EXPECT_TRUE(reply.warnings.empty());
}

TYPED_TEST(ThoughtsOf, AnAnswerAreClosedAtTheirLimit) {
  const auto reply = this->answer("{abcdef}xyz", 3);
  EXPECT_EQ(reply.thinking, "abc");
  EXPECT_EQ(reply.text, "xyz") << "eight tokens stand in the place of the script's first eight";
  std::vector<std::int32_t> ids = tokens_of("{abc\n}\n\nxyz");
  ids.push_back(fake::kEnd);
  EXPECT_EQ(ids_in(reply.token_ids), ids);
  EXPECT_EQ(reply.receipt.thinking_tokens, 3U);
  EXPECT_TRUE(reply.thinking_closed);
}

TYPED_TEST(ThoughtsOf, AnAnswerOfOneTokenAreClosedBehindIt) {
  const auto reply = this->answer("{abcdef}xyz", 1);
  EXPECT_EQ(reply.thinking, "a");
  EXPECT_EQ(reply.receipt.thinking_tokens, 1U);
  EXPECT_TRUE(reply.thinking_closed);
  EXPECT_TRUE(reply.text.ends_with("xyz"));
}

TYPED_TEST(ThoughtsOf, AnAnswerMayEndByThemselvesBeforeTheLimitAndAreClosedAtIt) {
  EXPECT_FALSE(this->answer("{abc}xyz", 4).thinking_closed);
  EXPECT_EQ(this->answer("{abc}xyz", 4).text, "xyz");
  const auto edge = this->answer("{abc}xyz", 3);
  EXPECT_TRUE(edge.thinking_closed) << "a limit that is reached closes, whatever would have come";
  EXPECT_EQ(edge.thinking, "abc");
}

TYPED_TEST(ThoughtsOf, AnAnswerWithoutAnyAreNotLimited) {
  const auto reply = this->answer("xyz", 1);
  EXPECT_EQ(reply.text, "xyz");
  EXPECT_FALSE(reply.thinking_closed);
}

TYPED_TEST(ThoughtsOf, AnAnswerThatMaxTokensEndsAreKeptAndSaidToLackAText) {
  const auto reply = this->answer("{abcdef}xyz", 0, 4);
  EXPECT_EQ(reply.thinking, "abc");
  EXPECT_EQ(reply.text, "");
  EXPECT_EQ(reply.stop_reason, "max_tokens");
  EXPECT_FALSE(reply.thinking_closed);
  ASSERT_EQ(reply.warnings.size(), 1U);
  EXPECT_NE(reply.warnings[0].find("thinking_tokens"), std::string::npos);
}

TYPED_TEST(ThoughtsOf, AnAnswerMayBeCutWhileTheyAreClosed) {
  for (const std::int32_t max_tokens : {4, 5, 6, 7, 8}) {
    const auto reply = this->answer("{abcdef}xyz", 3, max_tokens);
    EXPECT_EQ(reply.thinking, "abc");
    EXPECT_EQ(reply.text, "");
    EXPECT_EQ(reply.stop_reason, "max_tokens");
    EXPECT_EQ(reply.warnings.empty(), max_tokens > 5) << max_tokens;
  }
}

TYPED_TEST(ThoughtsOf, AnAnswerThatThePromptOpenedNeedNoBeginning) {
  contract::Generate request = this->request_for("abc}xyz");
  request.thinking = "on";
  const auto reply = this->answer(request);
  EXPECT_EQ(reply.thinking, "abc");
  EXPECT_EQ(reply.text, "xyz");
}

TYPED_TEST(ThoughtsOf, AnAnswerAreLimitedBesideAnswersThatAreNot) {
  contract::Generate limited = this->request_for("{abcdef}xyz");
  limited.thinking_tokens = 2;
  const Running first = this->batch.submit(greedy("!count 40"));
  const Running second = this->batch.submit(limited);
  this->batch.finish();
  ASSERT_TRUE(first.heard->reply && second.heard->reply);
  EXPECT_TRUE(first.heard->reply->text.ends_with(" 38 39 40"));
  EXPECT_EQ(second.heard->reply->thinking, "ab");
}

}  // namespace
}  // namespace hearth::generate
