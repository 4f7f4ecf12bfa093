// What rounding the weights costs: logits in every dtype beside float32, of a random model and of
// ember, a trained one.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <optional>
#include <random>

#include <gtest/gtest.h>

#include "models/decoder/step.h"
#include "models/language/text_config.h"
#include "models/qwen3_tower/vision_weights.h"
#include "models/qwen3_vl/config.h"
#include "models/text/tokenizer.h"
#include "models/weights/weights.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/weights_for_test.h"

namespace hearth::qwen3_vl {
namespace {

constexpr decoder::StepLimits kLimits{.slots = 1, .context_tokens = 128, .pages = 4};

// What ember was trained to say; logits are compared after each word but the first few.
constexpr const char* kSentences[] = {
    "Two shapes on a black background: a large green star at the top left and a large purple "
    "circle at the top right.",
    "There is a small red square in the middle of a white picture.",
    "Three shapes on a gray background: a small blue cross, a large yellow triangle and a small "
    "orange circle."};
constexpr std::size_t kFewestTokens = 4;

using weights::must;

// A decoder with its weights in one dtype.
class Rounded {
 public:
  Rounded(const weights::Checkpoint& checkpoint, std::string_view dtype)
      : description_(checkpoint.description), memory_(decoder::host_memory(*hearth_kernels_cpu())) {
    const auto index = must(files::WeightIndex::read(checkpoint.files));
    const auto plan = plan_of(index, checkpoint, dtype);
    weights_ = must(weights::load(index, plan, {}, must(weights::host_arena(plan.bytes))));
    step_ = must(decoder::Step::create(description_, weights_->decoder(), *memory_, kLimits));
  }

  // Of the token after these. [vocabulary]
  std::vector<float> logits(const std::vector<std::int32_t>& ids) {
    generate::TokenPrompt prompt;
    prompt.ids = ids;
    const std::vector<std::int32_t> pages = {0, 1, 2, 3};
    check(step_->begin({.slot = 0, .pages = pages}, {}, prompt, 0));
    for (std::size_t first = 0; first < ids.size(); first += HEARTH_MAX_ROWS) {
      const std::size_t count = std::min<std::size_t>(HEARTH_MAX_ROWS, ids.size() - first);
      std::vector<std::int32_t> positions(3 * count);
      for (std::size_t i = 0; i < positions.size(); ++i)
        positions[i] = static_cast<std::int32_t>(first + i % count);
      check(step_->feed(
          {0, static_cast<std::int32_t>(first), std::span(ids).subspan(first, count), positions}));
    }
    check(step_->draw_first(0));
    if (const auto sampled = step_->collect(0); !sampled) check(sampled.error());
    std::vector<float> found = must(step_->logits(0));
    step_->end(0);
    return found;
  }

 private:
  static void check(const Result<void>& result) {
    if (!result) throw std::runtime_error(result.error().what);
  }

  const decoder::Description description_;
  std::shared_ptr<const weights::Weights> weights_;
  std::unique_ptr<decoder::DeviceMemory> memory_;
  std::unique_ptr<decoder::Step> step_;
};

weights::Checkpoint read_folder(const std::filesystem::path& folder) {
  weights::Checkpoint read;
  read.files = models::open_folder(folder);
  const auto index = must(files::WeightIndex::read(read.files));
  const Config config = must(read_config(must(language::read_config_json(read.files)), index));
  read.description = config.text;
  read.before = qwen3_tower::vision_tensors(config.vision);
  return read;
}

weights::Checkpoint ember() {
  return read_folder(std::filesystem::path(HEARTH_SOURCE_DIR) / "models" / "ember" / "weights");
}

weights::Checkpoint random_model() {
  weights::Checkpoint made = weights::make_checkpoint({.hidden = 256,
                                                       .intermediate = 768,
                                                       .vocabulary = 1000,
                                                       .layers = 4,
                                                       .heads = 4,
                                                       .head_dim = 64});
  made.description.rope.sections = {12, 10, 10};
  made.description.context_tokens = kLimits.context_tokens;
  return made;
}

std::vector<std::vector<std::int32_t>> ember_prompts(const weights::Checkpoint& checkpoint) {
  const auto tokenizer = must(text::Tokenizer::load(checkpoint.files));
  std::vector<std::vector<std::int32_t>> prompts;
  for (const char* sentence : kSentences)
    prompts.push_back(must(tokenizer->encode(sentence, text::SpecialTokens::kAsText)));
  return prompts;
}

std::vector<std::vector<std::int32_t>> random_prompts(std::int32_t vocabulary) {
  std::mt19937 random(7);
  std::vector<std::vector<std::int32_t>> prompts(2, std::vector<std::int32_t>(20));
  for (auto& prompt : prompts)
    for (auto& id : prompt)
      id = static_cast<std::int32_t>(random() % static_cast<unsigned>(vocabulary));
  return prompts;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  const auto product = [](const auto& x, const auto& y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  };
  return product(a, b) / std::sqrt(product(a, a) * product(b, b));
}

struct Agreement {
  double mean = 0.0;
  double lowest = 1.0;
};

// Of the logits after each token but the first few.
Agreement compare(const weights::Checkpoint& checkpoint,
                  const std::vector<std::vector<std::int32_t>>& prompts, std::string_view dtype) {
  Rounded exact(checkpoint, "float32"), rounded(checkpoint, dtype);
  Agreement found;
  int count = 0;
  for (const auto& ids : prompts)
    for (std::size_t tokens = kFewestTokens; tokens <= ids.size(); ++tokens, ++count) {
      const std::vector<std::int32_t> part(ids.begin(),
                                           ids.begin() + static_cast<std::ptrdiff_t>(tokens));
      const double alike = cosine(exact.logits(part), rounded.logits(part));
      found.mean += alike;
      found.lowest = std::min(found.lowest, alike);
    }
  found.mean /= count;
  return found;
}

// A question, and an answer of the kind that ember was trained to give; but there is no picture.
struct Answered {
  std::vector<std::int32_t> ids;
  std::size_t question_tokens = 0;
};

std::vector<Answered> ember_answers(const weights::Checkpoint& checkpoint) {
  const auto tokenizer = must(text::Tokenizer::load(checkpoint.files));
  const auto question =
      must(tokenizer->encode("<|im_start|>user\nDescribe this picture.<|im_end|>\n"
                             "<|im_start|>assistant\n",
                             text::SpecialTokens::kParsed));
  std::vector<Answered> answers;
  for (const char* sentence : kSentences) {
    Answered answer{question, question.size()};
    const auto ids = must(tokenizer->encode(sentence, text::SpecialTokens::kAsText));
    answer.ids.insert(answer.ids.end(), ids.begin(), ids.end());
    answers.push_back(std::move(answer));
  }
  return answers;
}

// exp of the mean of -log p over the answers' tokens: how many tokens the model wavers between.
double perplexity(const weights::Checkpoint& checkpoint, const std::vector<Answered>& texts,
                  std::string_view dtype) {
  Rounded model(checkpoint, dtype);
  double sum = 0.0;
  int count = 0;
  for (const auto& [ids, question_tokens] : texts)
    for (std::size_t tokens = question_tokens; tokens < ids.size(); ++tokens, ++count) {
      const auto logits =
          model.logits({ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(tokens)});
      const double most = *std::max_element(logits.begin(), logits.end());
      const double total = std::accumulate(
          logits.begin(), logits.end(), 0.0,
          [&](double so_far, float logit) { return so_far + std::exp(logit - most); });
      sum += std::log(total) + most - logits[static_cast<std::size_t>(ids[tokens])];
    }
  return std::exp(sum / count);
}

struct Case {
  const char* dtype;
  double random_mean;
  double ember_mean;
  double perplexity_drift;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.dtype;
}

class Precision : public testing::TestWithParam<Case> {};

TEST_P(Precision, LogitsOfARandomModelKeepTheirDirection) {
  const auto checkpoint = random_model();
  const Agreement found =
      compare(checkpoint, random_prompts(checkpoint.description.vocabulary_size), GetParam().dtype);
  EXPECT_GE(found.mean, GetParam().random_mean) << "lowest " << found.lowest;
}

TEST_P(Precision, LogitsOfATrainedModelKeepTheirDirection) {
  const auto checkpoint = ember();
  const Agreement found = compare(checkpoint, ember_prompts(checkpoint), GetParam().dtype);
  EXPECT_GE(found.mean, GetParam().ember_mean) << "lowest " << found.lowest;
}

TEST_P(Precision, ATrainedModelIsAsSureOfItsWords) {
  const auto checkpoint = ember();
  const auto texts = ember_answers(checkpoint);
  const double exact = perplexity(checkpoint, texts, "float32");
  const double found = perplexity(checkpoint, texts, GetParam().dtype);
  std::cout << "perplexity of ember's sentences: float32 " << exact << ", " << GetParam().dtype
            << " " << found << "\n";
  EXPECT_NEAR(found / exact, 1.0, GetParam().perplexity_drift);
}

// Means of the cosines. With int8 and int4 the inputs of linears are rounded to 8 bits as well.
// Ember has 2.8 million weights, each of which counts for more than one of a large model.
INSTANTIATE_TEST_SUITE_P(Dtypes, Precision,
                         testing::Values(Case{"bfloat16", 0.9999, 0.9999, 0.02},
                                         Case{"int8", 0.9999, 0.9997, 0.02},
                                         Case{"float8", 0.999, 0.997, 0.05},
                                         Case{"int4", 0.995, 0.985, 0.3}),
                         [](const auto& info) { return std::string(info.param.dtype); });

// By hand, for it takes gigabytes and minutes: HEARTH_PRECISION_MODEL=FOLDER of a Qwen3-VL.
TEST(RealSize, TheLowestCosineOfAnyPositionIsHigh) {
  const char* folder = std::getenv("HEARTH_PRECISION_MODEL");
  if (folder == nullptr) GTEST_SKIP() << "HEARTH_PRECISION_MODEL names no model folder";
  const auto checkpoint = read_folder(folder);
  std::vector<std::int32_t> prompt(12);
  std::mt19937 random(7);
  for (auto& id : prompt)
    id = static_cast<std::int32_t>(random() %
                                   static_cast<unsigned>(checkpoint.description.vocabulary_size));
  const std::pair<const char*, double> demanded[] = {
      {"int8", 0.9999}, {"float8", 0.999}, {"int4", 0.995}};
  for (const auto& [dtype, lowest] : demanded) {
    const Agreement found = compare(checkpoint, {prompt}, dtype);
    std::cout << folder << ", " << dtype << ": mean " << found.mean << ", lowest " << found.lowest
              << "\n";
    EXPECT_GE(found.lowest, lowest) << dtype;
  }
}

}  // namespace
}  // namespace hearth::qwen3_vl
