// Beam search: its bookkeeping against transformers, then in a batch over the fake model.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/generate/beam_search.h"
#include "models/generate/token_scores.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

// --- transformers' beam search over a toy model: tests/fixtures/make_beam_tables.py ---

nlohmann::json read_tables() {
  std::ifstream file(HEARTH_SOURCE_DIR "/tests/data/generate/beam_tables.json");
  return nlohmann::json::parse(file);
}

BeamSearch search(const nlohmann::json& document, const nlohmann::json& wanted) {
  const auto prompt = document["prompt"].get<std::vector<std::int32_t>>();
  const auto table =
      document["tables"][wanted["table"].get<std::size_t>()].get<std::vector<std::vector<float>>>();
  Sampling sampling;
  sampling.repetition_penalty = wanted["repetition_penalty"];
  sampling.no_repeat_ngram = wanted["no_repeat_ngram"];
  TokenScores scores(prompt, sampling);
  BeamSearch::Rules rules;
  rules.beams = wanted["beams"];
  rules.max_tokens = wanted["max_tokens"];
  rules.length_penalty = wanted["length_penalty"];
  rules.early_stopping = wanted["early_stopping"];
  rules.end_ids = wanted["ends"].get<std::vector<std::int32_t>>();
  BeamSearch beams(rules);
  while (!beams.over()) {
    std::vector<std::vector<float>> rows;
    for (const BeamSearch::Running& beam : beams.running()) {
      const std::int32_t last = beam.ids.empty() ? prompt.back() : beam.ids.back();
      rows.push_back(table[(static_cast<std::size_t>(last) + 5 * beam.ids.size()) % table.size()]);
      scores.process(beam.ids, rows.back());
    }
    beams.advance(rows);
  }
  return beams;
}

TEST(BeamSearch, FindsWhatTransformersFinds) {
  constexpr double kTolerance = 2e-5;  // of a score; fp32 sums
  const nlohmann::json document = read_tables();
  ASSERT_GT(document["cases"].size(), 400U);
  for (const nlohmann::json& wanted : document["cases"]) {
    SCOPED_TRACE(wanted.dump());
    const BeamSearch beams = search(document, wanted);
    ASSERT_EQ(beams.finished().size(), wanted["sequences"].size());
    for (std::size_t i = 0; i < beams.finished().size(); ++i) {
      EXPECT_EQ(beams.finished()[i].ids, wanted["sequences"][i].get<std::vector<std::int32_t>>());
      EXPECT_NEAR(beams.finished()[i].score, wanted["scores"][i].get<double>(),
                  kTolerance * std::max(1.0, std::abs(wanted["scores"][i].get<double>())));
    }
  }
}

TEST(BeamSearch, EndsWhereAStopRuleSaysSo) {
  BeamSearch::Rules rules;
  rules.beams = 2;
  rules.max_tokens = 9;
  std::size_t step = 0;
  rules.stops = [&step](std::int32_t, std::int32_t token) { return step == 1 && token == 0; };
  BeamSearch beams(rules);
  const std::vector<float> row = {-0.1F, -2.5F, -9.0F};
  for (; !beams.over(); ++step)
    beams.advance(std::vector<std::vector<float>>(beams.running().size(), row));
  EXPECT_EQ(beams.finished()[0].ids, (std::vector<std::int32_t>{0, 0}));
  EXPECT_EQ(beams.finished()[0].reason, "stop_string");
}

TEST(BeamSearch, IsOverWhenNothingMayFollow) {
  BeamSearch::Rules rules;
  rules.beams = 3;
  rules.max_tokens = 9;
  BeamSearch beams(rules);
  beams.advance(std::vector<std::vector<float>>{
      std::vector<float>(5, -std::numeric_limits<float>::infinity())});
  EXPECT_TRUE(beams.over());
  EXPECT_TRUE(beams.finished().empty());
}

// --- in a batch ---

contract::Generate letters(int count, std::int32_t beams, std::int32_t answers = 1) {
  contract::Generate request = chat("!random " + std::to_string(count));
  request.beams = beams;
  request.answers = answers;
  return request;
}

struct Found {
  std::vector<std::string> texts;
  std::vector<double> scores;
  friend bool operator==(const Found&, const Found&) = default;
};
Found found(const Running& run) {
  EXPECT_TRUE(run.heard->reply) << (run.heard->error ? run.heard->error->what : "no end");
  if (!run.heard->reply) return {};
  Found found{{run.heard->reply->text}, {run.heard->reply->score}};
  for (const contract::Answer& other : run.heard->reply->others) {
    found.texts.push_back(other.text);
    found.scores.push_back(other.score);
  }
  return found;
}

void expect_all_given_back(const PagePool& pages) {
  EXPECT_EQ(pages.free_pages() + pages.idle_pages(), pages.pages());
}

TEST(Beams, FindTheSameWithAnyPagesInAnyCompanyAndHoweverLateTokensCome) {
  FakeBatch wide(8);
  const Found expected = found(wide.run(letters(40, 8, 5)));
  ASSERT_EQ(expected.texts.size(), 5U);
  EXPECT_TRUE(std::is_sorted(expected.scores.rbegin(), expected.scores.rend()));
  for (const std::int32_t page_tokens : {1, 2, 3, 7, 64}) {
    fake::Config config;
    config.page_tokens = page_tokens;
    BatchOver<LateDecoder> batch(12, config);
    const Running company = batch.submit(greedy("!count 60"));
    const Running run = batch.submit(letters(40, 8, 5));
    const Running other = batch.submit(letters(30, 3));
    batch.finish();
    EXPECT_EQ(found(run), expected) << page_tokens << " tokens a page";
    EXPECT_TRUE(company.heard->reply->text.ends_with(" 60"));
    EXPECT_EQ(found(other).texts.size(), 1U);
    expect_all_given_back(batch.pages());
  }
}

TEST(Beams, BeatOrEqualGreedy) {
  FakeBatch batch(8);
  std::vector<double> best;
  for (const std::int32_t beams : {2, 4, 8})
    best.push_back(found(batch.run(letters(25, beams))).scores[0]);
  const Running one = batch.run(letters(25, 8, 8));
  EXPECT_DOUBLE_EQ(found(one).scores[0], best[2]);
  EXPECT_GE(best[2], best[0]);
}

TEST(Beams, SayEachAnswerInOneEventAtTheEnd) {
  FakeBatch batch(4);
  const Running run = batch.submit(letters(10, 4, 3));
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(batch.advance());
  EXPECT_TRUE(run.heard->streamed_ids.empty());
  batch.finish();
  const Found all = found(run);
  EXPECT_EQ(run.heard->streamed, all.texts[0]);
  EXPECT_EQ(run.heard->other_texts,
            std::vector<std::string>(all.texts.begin() + 1, all.texts.end()));
  EXPECT_EQ(run.heard->reply->stop_reason, "end_token");
  EXPECT_EQ(ids_in(run.heard->reply->token_ids).size(), 11U);
  EXPECT_EQ(ids_in(run.heard->reply->token_us).size(), 11U);
  EXPECT_EQ(run.heard->reply->receipt.generated_tokens, 33U);
}

TEST(Beams, NeitherSeedNorTemperatureChangesThem) {
  FakeBatch batch(4);
  contract::Generate request = letters(20, 4);
  const Found expected = found(batch.run(request));
  request.seed = 99;
  request.temperature = 0.0;
  EXPECT_EQ(found(batch.run(request)), expected);
}

TEST(Beams, EndAtMaxTokensAndBeforeAStopString) {
  FakeBatch batch(4);
  contract::Generate request = greedy("one two three");
  request.beams = 4;
  request.max_tokens = 5;
  const Running cut = batch.run(request);
  EXPECT_EQ(cut.heard->reply->stop_reason, "max_tokens");
  EXPECT_EQ(cut.heard->reply->text, "one t");
  request.max_tokens = 100;
  request.stop = {"o t"};
  const Running stopped = batch.run(request);
  EXPECT_EQ(stopped.heard->reply->text, "one tw");
  EXPECT_EQ(stopped.heard->reply->stop_reason, "stop_string");
}

// How often a token's bytes were asked for.
class CountingBytes : public TokenBytes {
 public:
  explicit CountingBytes(std::shared_ptr<const TokenBytes> bytes) : bytes_(std::move(bytes)) {}
  std::string bytes_of(std::int32_t id) const override {
    ++asked;
    return bytes_->bytes_of(id);
  }
  mutable std::size_t asked = 0;

 private:
  std::shared_ptr<const TokenBytes> bytes_;
};

TEST(Beams, LookForStopStringsInWhatIsNew) {
  FakeBatch batch(4);
  contract::Generate request = greedy("!count 150");
  request.beams = 4;
  request.max_tokens = 1000;
  request.stop = {"###"};
  auto prompt = fake::read_prompt(request, {}, batch.config());
  ASSERT_TRUE(prompt);
  const auto bytes = std::make_shared<CountingBytes>((*prompt)->vocabulary);
  (*prompt)->vocabulary = bytes;
  const Running run = batch.submit(*std::move(prompt));
  batch.finish();
  ASSERT_TRUE(run.heard->reply);
  const std::size_t steps = run.heard->reply->token_us.size() / sizeof(std::int32_t);
  EXPECT_GT(steps, 400U);
  EXPECT_LT(bytes->asked, 24 * steps);  // the continuations that are considered, and the beams
}

TEST(Beams, FollowPenaltiesBeamByBeam) {
  FakeBatch batch(8);
  contract::Generate request = letters(20, 4, 4);
  request.no_repeat_ngram = 1;  // which forbids the end id, too: the prompt has it
  request.max_tokens = 20;
  for (const std::string& text : found(batch.run(request)).texts) {
    std::string sorted = text;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(std::unique(sorted.begin(), sorted.end()), sorted.end()) << text;
  }
}

TEST(Beams, SaySoWhenEveryTokenIsForbidden) {
  FakeBatch batch(2);
  contract::Generate request = letters(1000, 2);
  request.no_repeat_ngram = 1;
  request.max_tokens = 400;
  auto prompt = fake::read_prompt(request, {}, batch.config());
  ASSERT_TRUE(prompt);
  (*prompt)->end_ids.clear();  // which would end it first
  const Running run = batch.submit(*std::move(prompt));
  batch.finish();
  ASSERT_TRUE(run.heard->error);
  EXPECT_EQ(run.heard->error->code, Code::kUnsupported);
  expect_all_given_back(batch.pages());
}

TEST(Beams, WaitForTheirSlotsAndLetNobodyStarve) {
  FakeBatch batch(4);
  const Running first = batch.submit(greedy("!count 30"));
  ASSERT_TRUE(batch.advance());
  const Running beams = batch.submit(letters(10, 4));
  std::vector<Running> later;
  for (int i = 0; i < 40; ++i)
    later.push_back(batch.submit(greedy("!count 20 " + std::to_string(i))));
  batch.finish();
  EXPECT_TRUE(first.heard->reply);
  EXPECT_TRUE(beams.heard->reply);
  for (const Running& run : later) EXPECT_TRUE(run.heard->reply);
}

TEST(Beams, AreRefusedWithTheNumbersWhereTheyNeverFit) {
  FakeBatch narrow(3);
  const Running wide = narrow.submit(letters(10, 4));
  ASSERT_TRUE(wide.heard->error);
  EXPECT_EQ(wide.heard->error->code, Code::kUnsupported);
  EXPECT_NE(wide.heard->error->what.find("there are 3"), std::string::npos);
  fake::Config config;
  config.page_tokens = 8;
  config.pages = 12;
  FakeBatch small(8, config);
  contract::Generate request = letters(10, 4);
  request.max_tokens = 33;
  const Running large = small.submit(request);
  ASSERT_TRUE(large.heard->error);
  EXPECT_EQ(large.heard->error->code, Code::kOutOfMemory);
  EXPECT_NE(large.heard->error->what.find("4 beams"), std::string::npos);
  request.beams = 2;
  EXPECT_TRUE(small.run(request).heard->reply);
  expect_all_given_back(small.pages());
}

TEST(Beams, EndOnceWhenCancelledOrFailed) {
  for (const char* what : {"", "!nan prefill", "!nan 4", "!fail step 4", "!fail prefill"}) {
    FakeBatch batch(5);
    contract::Generate request = letters(50, 4, 4);
    request.messages[0].content[0].text = std::string(what) + " !random 50";
    const Running run = batch.submit(request);
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(batch.advance());
    run.job->cancelled = true;
    batch.finish();
    EXPECT_EQ(run.heard->ends, 1) << what;
    ASSERT_TRUE(run.heard->error) << what;
    EXPECT_EQ(run.heard->error->code == Code::kCancelled, std::string(what).empty()) << what;
    expect_all_given_back(batch.pages());
    EXPECT_EQ(batch.run(greedy("next")).heard->reply->text, "next");
  }
}

// Cannot fork after a while.
class Forkless : public fake::Decoder {
 public:
  using fake::Decoder::Decoder;
  Result<void> fork(models::OnEngine on, std::int32_t from, const Place& to,
                    const PageCopy& copy) override {
    if (++forks > 9) return hearth::fail(Code::kOutOfMemory, "no room for a fork");
    return fake::Decoder::fork(on, from, to, copy);
  }
  int forks = 0;
};

TEST(Beams, FailAloneWhenAForkDoes) {
  BatchOver<Forkless> batch(6);
  const Running company = batch.submit(greedy("!count 40"));
  const Running run = batch.submit(letters(50, 4));
  batch.finish();
  ASSERT_TRUE(run.heard->error);
  EXPECT_EQ(run.heard->error->what, "no room for a fork");
  EXPECT_TRUE(company.heard->reply->text.ends_with(" 40"));
  expect_all_given_back(batch.pages());
}

}  // namespace
}  // namespace hearth::generate
