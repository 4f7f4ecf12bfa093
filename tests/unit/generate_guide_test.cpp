// Answers that the host guides: by grammars, and by what must not come twice.

#include <algorithm>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "models/generate/grammars.h"
#include "models/generate/no_repeat.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

template <class Batch>
class Guided : public testing::Test {
 protected:
  contract::Generated answer(const contract::Generate& request) {
    const Running running = batch.run(request);
    EXPECT_TRUE(running.heard->reply) << (running.heard->error ? running.heard->error->what : "");
    return *running.heard->reply;
  }

  Batch batch{3};
};

using Batches = testing::Types<FakeBatch, BatchOver<LateDecoder>>;
TYPED_TEST_SUITE(Guided, Batches);

contract::Generate by_regex(std::string words, std::string regex) {
  contract::Generate request = greedy(std::move(words));
  request.regex = std::move(regex);
  request.max_tokens = 40;
  return request;
}

TYPED_TEST(Guided, AnswerMatchesItsExpressionWhereTheModelWantsOtherwise) {
  const auto reply = this->answer(by_regex("12a4", "[0-9]{3}"));
  EXPECT_EQ(reply.text, "120") << "of equals the lowest digit";
  EXPECT_EQ(reply.stop_reason, "end_token");
  EXPECT_TRUE(reply.warnings.empty());
}

TYPED_TEST(Guided, AnswerMayEndWhereverItsExpressionMay) {
  EXPECT_EQ(this->answer(by_regex("12", "[0-9]*")).text, "12");
  EXPECT_EQ(this->answer(by_regex("x", "[0-9]*")).text, "0") << "a digit, then its end";
}

TYPED_TEST(Guided, AnswerIsJsonOfItsSchema) {
  contract::Generate request = greedy(R"({"shape":"circle","count":2})");
  request.json_schema = R"({"type":"object","properties":{"shape":{"enum":["circle","star"]},
                            "count":{"type":"integer"}},"required":["shape","count"]})";
  EXPECT_EQ(this->answer(request).text, R"({"shape":"circle","count":2})");
  request.messages = greedy("There is a circle.").messages;
  request.max_tokens = 400;
  const auto forced = this->answer(request);
  const auto json = nlohmann::json::parse(forced.text, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << forced.text;
  EXPECT_TRUE(json["shape"] == "circle" || json["shape"] == "star");
  EXPECT_TRUE(json["count"].is_number_integer());
}

TYPED_TEST(Guided, AnswerThatIsCutIsSaidToBeIncomplete) {
  contract::Generate request = by_regex("12345", "[0-9]{5}");
  request.max_tokens = 3;
  const auto reply = this->answer(request);
  EXPECT_EQ(reply.text, "123");
  EXPECT_EQ(reply.stop_reason, "max_tokens");
  ASSERT_EQ(reply.warnings.size(), 1U);
  EXPECT_NE(reply.warnings[0].find("max_tokens ended"), std::string::npos);
  request.max_tokens = 5;
  EXPECT_TRUE(this->answer(request).warnings.empty()) << "complete, though its end was not drawn";
  request.stop = {"4"};
  const auto stopped = this->answer(request);
  EXPECT_EQ(stopped.text, "123");
  ASSERT_EQ(stopped.warnings.size(), 1U);
  EXPECT_NE(stopped.warnings[0].find("stop string"), std::string::npos);
}

// The two # stand where an empty line is forced between </think> and the grammar.
TYPED_TEST(Guided, AnswerThinksFreelyBeforeItsGrammarBegins) {
  const auto reply = this->answer(by_regex("<think>hm!</think>##ok7", "ok[0-9]"));
  EXPECT_EQ(reply.thinking, "hm!");
  EXPECT_EQ(reply.text, "ok7");
  contract::Generate off = by_regex("<think>hm!</think>##ok7", "ok[0-9]");
  off.thinking = "off";
  EXPECT_TRUE(this->answer(off).thinking.empty()) << "the grammar begins at once";
}

TYPED_TEST(Guided, AnswerDoesNotEndWithinThoughtsWhereAGrammarWaits) {
  contract::Generate request = by_regex("<think>hm", "ok");
  request.thinking_tokens = 5;
  const auto reply = this->answer(request);
  EXPECT_EQ(reply.text, "ok");
  EXPECT_TRUE(reply.thinking_closed);
  EXPECT_EQ(reply.receipt.thinking_tokens, 5U);
}

TYPED_TEST(Guided, AnswersKeepTheirOwnGrammarsInOneBatch) {
  const Running digits = this->batch.submit(by_regex("12a4", "[0-9]{4}"));
  const Running free = this->batch.submit(greedy("!count 30"));
  const Running letters = this->batch.submit(by_regex("ab1d", "[a-z]{4}"));
  this->batch.finish();
  ASSERT_TRUE(digits.heard->reply && free.heard->reply && letters.heard->reply);
  EXPECT_EQ(digits.heard->reply->text, "1204");
  EXPECT_TRUE(free.heard->reply->text.ends_with("29 30"));
  EXPECT_EQ(letters.heard->reply->text, "abad");
}

TYPED_TEST(Guided, AnswerWithRandomNumbersIsTheSameInAnyCompany) {
  contract::Generate request = by_regex("!random 30", "[aeiou]{20}");
  request.temperature = 1.0;
  request.top_k = 0;
  request.top_p = 1.0;
  request.seed = 5;
  const std::string alone = this->answer(request).text;
  EXPECT_GT(std::set<char>(alone.begin(), alone.end()).size(), 2U);
  const Running other = this->batch.submit(greedy("!count 30"));
  const Running again = this->batch.submit(request);
  this->batch.finish();
  EXPECT_EQ(again.heard->reply->text, alone);
}

// No run of three that prompt and answer have together comes twice.
TYPED_TEST(Guided, AnswerRepeatsNoRun) {
  contract::Generate request = greedy("abcabcabcabcabc");
  request.no_repeat_ngram = 3;
  request.max_tokens = 30;
  const auto reply = this->answer(request);
  std::vector<std::int32_t> said = ids_in(reply.prompt_token_ids);
  const std::size_t prompt_tokens = said.size();
  for (const std::int32_t id : ids_in(reply.token_ids)) said.push_back(id);
  std::set<std::vector<std::int32_t>> runs;
  for (std::size_t at = 0; at + 3 <= said.size(); ++at) {
    const bool is_new = runs.insert({said.begin() + static_cast<std::ptrdiff_t>(at),
                                     said.begin() + static_cast<std::ptrdiff_t>(at) + 3})
                            .second;
    EXPECT_TRUE(is_new || at + 3 <= prompt_tokens) << at;
  }
}

TYPED_TEST(Guided, AnswerRepeatsARunWhereItsGrammarLeavesNothingElseAndSaysSo) {
  contract::Generate request = by_regex("a", "xxxxx");
  request.no_repeat_ngram = 1;
  const auto reply = this->answer(request);
  EXPECT_EQ(reply.text, "xxxxx");
  ASSERT_EQ(reply.warnings.size(), 1U);
  EXPECT_NE(reply.warnings[0].find("no_repeat_ngram"), std::string::npos);
}

TEST(RepeatingIds, AreThoseThatTransformersForbids) {
  std::ifstream file(HEARTH_SOURCE_DIR "/tests/data/generate/processors.json");
  int compared = 0;
  const nlohmann::json fixture = nlohmann::json::parse(file);
  for (const auto& row : fixture["cases"]) {
    const bool alone = row.size() == 6 && row.contains("no_repeat_ngram");
    if (!alone) continue;
    auto said = row["prompt"].get<std::vector<std::int32_t>>();
    for (const auto& id : row["answer"]) said.push_back(id);
    const auto out = repeating_ids(said, row["no_repeat_ngram"]);
    std::vector<std::int32_t> kept;
    for (std::int32_t id = 0; id < static_cast<std::int32_t>(row["logits"].size()); ++id) {
      const bool is_out = std::find(out.begin(), out.end(), id) != out.end();
      if (!is_out && !row["logits"][static_cast<std::size_t>(id)].is_null()) kept.push_back(id);
    }
    EXPECT_EQ(kept, row["kept"].get<std::vector<std::int32_t>>()) << row.dump();
    ++compared;
  }
  EXPECT_GE(compared, 12);
}

TEST(RepeatingIds, OfTooShortATextAreNone) {
  const std::vector<std::int32_t> said = {1, 2};
  EXPECT_TRUE(repeating_ids(said, 4).empty());
  EXPECT_TRUE(repeating_ids(said, 3).empty());
  EXPECT_TRUE(repeating_ids({}, 1).empty());
  EXPECT_EQ(repeating_ids(said, 1), said);
}

// --- what is compiled, and for how long it is kept ----------------------------------------------

Grammars letters() {
  return Grammars([] { return std::vector<std::string>{"a", "b", "c", ""}; });
}

contract::Generate expression(std::string regex) {
  contract::Generate request;
  request.regex = std::move(regex);
  return request;
}

TEST(Grammars, AreCompiledOnceForEachUser) {
  Grammars grammars = letters();
  const auto first = *grammars.of(expression("a+"), 1);
  EXPECT_EQ(*grammars.of(expression("a+"), 1), first);
  EXPECT_NE(*grammars.of(expression("a+"), 2), first);
  EXPECT_NE(*grammars.of(expression("b+"), 1), first);
  EXPECT_EQ(*grammars.of(expression(""), 1), nullptr);
}

TEST(Grammars, KeepSoManyAndDropTheLongestUnused) {
  Grammars grammars = letters();
  const auto used = *grammars.of(expression("a"), 1);
  const auto unused = *grammars.of(expression("b"), 1);
  for (std::size_t more = 2; more <= Grammars::kMostKept; ++more) {
    EXPECT_EQ(*grammars.of(expression("a"), 1), used);
    ASSERT_TRUE(grammars.of(expression("a{" + std::to_string(more) + "}"), 1));
  }
  EXPECT_EQ(*grammars.of(expression("a"), 1), used);
  EXPECT_NE(*grammars.of(expression("b"), 1), unused);
}

TEST(Grammars, NameTheFieldAndWhatIsWrongWithIt) {
  Grammars grammars = letters();
  contract::Generate schema;
  schema.json_schema = R"({"type":"object","unevaluatedProperties":false})";
  const auto unsupported = grammars.of(schema, 0);
  ASSERT_FALSE(unsupported);
  EXPECT_EQ(unsupported.error().code, Code::kUnsupported);
  EXPECT_TRUE(unsupported.error().what.starts_with("json_schema: ")) << unsupported.error().what;
  EXPECT_NE(unsupported.error().what.find("unevaluatedProperties"), std::string::npos);
  schema.json_schema = "{";
  EXPECT_EQ(grammars.of(schema, 0).error().code, Code::kBadRequest);
  const auto dialect = grammars.of(expression("(?<=a)b"), 0);
  ASSERT_FALSE(dialect);
  EXPECT_EQ(dialect.error().code, Code::kUnsupported);
  EXPECT_TRUE(dialect.error().what.starts_with("regex: ")) << dialect.error().what;
}

}  // namespace
}  // namespace hearth::generate
