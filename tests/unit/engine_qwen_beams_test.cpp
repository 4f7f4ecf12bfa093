// Beam search and several answers of the tiny checkpoints, through the whole engine.
#include <algorithm>
#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/unit/engine_qwen_for_test.h"
#include "tests/unit/engine_requests_for_test.h"

namespace hearth::language {
namespace {

using models::ask;
using models::LoadedModel;
using models::StoredPicture;

struct Family : testing::TestWithParam<const char*> {
  // Cases of tests/data/generate/beams.json.
  static std::vector<nlohmann::json> cases(const std::string& family) {
    std::ifstream file(HEARTH_SOURCE_DIR "/tests/data/generate/beams.json");
    const nlohmann::json document = nlohmann::json::parse(file);
    std::vector<nlohmann::json> found;
    for (const nlohmann::json& wanted : document["cases"])
      if (wanted["family"] == family) found.push_back(wanted);
    return found;
  }
  // As tests/fixtures has them.
  static std::string text_of(const std::string& input) {
    if (input == "text") return "Say: naïve 漢 🙂\n\n 12";
    return input == "one" ? "What is here?" : "";
  }
  static std::vector<StoredPicture> pictures_of(const Oracle& oracle, const std::string& input) {
    const std::string name = input + ".picture.0";
    if (!oracle.has(name)) return {};
    return {{oracle.shape(name), oracle.bytes(name)}};
  }
};

TEST_P(Family, FindsTheBeamsOfTransformers) {
  constexpr double kTolerance = 1e-4;  // of a score, relative; logits are within 1e-4
  const std::vector<nlohmann::json> all = cases(GetParam());
  ASSERT_GE(all.size(), 14U);
  const std::string name =
      all[0]["family"].get<std::string>() + "/" + all[0]["case"].get<std::string>();
  const Oracle oracle(name);
  LoadedModel model(case_files(name), "float32", 8);
  for (const nlohmann::json& wanted : all) {
    SCOPED_TRACE(wanted.dump());
    const std::string input = wanted["input"];
    const std::vector<StoredPicture> pictures = pictures_of(oracle, input);
    contract::Generate request = ask(text_of(input), pictures.size());
    request.max_tokens = wanted["most_tokens"];
    request.beams = request.answers = wanted["beams"];
    request.length_penalty = wanted["length_penalty"];
    auto prepared = model.prepare(request, pictures);
    ASSERT_TRUE(prepared) << prepared.error().what;
    auto& prompt = static_cast<generate::TokenPrompt&>(**prepared);
    ASSERT_EQ(prompt.ids, oracle.integers(input + ".ids"));
    prompt.end_ids = wanted["ends"].get<std::vector<std::int32_t>>();
    prompt.sampling.early_stopping = wanted["early_stopping"];
    const auto heard = model.submit_prompt(std::move(prepared));
    model.finish();
    ASSERT_TRUE(heard->reply) << heard->error->what;
    ASSERT_EQ(heard->reply->others.size() + 1, wanted["sequences"].size());
    for (std::size_t i = 0; i < wanted["sequences"].size(); ++i) {
      const contract::Answer* other = i > 0 ? &heard->reply->others[i - 1] : nullptr;
      const std::string& ids = other != nullptr ? other->token_ids : heard->reply->token_ids;
      const double score = other != nullptr ? other->score : heard->reply->score;
      const double expected = wanted["scores"][i];
      EXPECT_EQ(generate::ids_in(ids), wanted["sequences"][i].get<std::vector<std::int32_t>>());
      EXPECT_NEAR(score, expected, kTolerance * std::max(1.0, std::abs(expected)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Family, testing::Values("qwen2", "qwen3", "qwen3_moe", "qwen2_5_vl"));

TEST(Answers, OfANetworkAreTheSameTogetherAloneAndOnFewSlots) {
  contract::Generate request = ask("Tell me more.");
  request.temperature = 1.0;
  request.top_k = 0;
  request.top_p = 1.0;
  request.seed = 5;
  request.max_tokens = 24;
  std::vector<std::vector<std::string>> all;
  for (const std::uint32_t slots : {1U, 3U, 8U}) {
    LoadedModel model(case_files("qwen3/untied_f32"), "float32", slots);
    request.answers = 1;
    const auto single = model.answer(request);
    request.answers = 4;
    const auto four = model.answer(request);
    ASSERT_TRUE(single->reply && four->reply);
    EXPECT_EQ(four->reply->token_ids, single->reply->token_ids);
    all.push_back({four->reply->token_ids});
    for (const contract::Answer& other : four->reply->others) all.back().push_back(other.token_ids);
    EXPECT_EQ(all.back(), all.front()) << slots << " slots";
  }
  std::sort(all[0].begin(), all[0].end());
  EXPECT_EQ(std::unique(all[0].begin(), all[0].end()), all[0].end());
}

}  // namespace
}  // namespace hearth::language
