// Clips, and pictures among them: prompts, features, logits and answers are transformers'.
#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "models/image/patchify.h"
#include "models/torch/tensors.h"
#include "tests/unit/engine_qwen_network_for_test.h"
#include "tests/unit/engine_requests_for_test.h"
#include "tests/unit/picture_for_test.h"

namespace hearth::language {
namespace {

using models::LoadedModel;
using models::StoredPicture;
using testing::Combine;
using testing::Values;
using testing::ValuesIn;

Oracle oracle_of(const std::string& name) {
  if (name.find('/') != std::string::npos) return Oracle(name);
  return {case_folder("qwen3_vl_clips/x").parent_path(), name + ".safetensors"};
}

// As tests/fixtures has them.
std::string text_of(const std::string& input) {
  if (input == "clip2") return "What moves?";
  return input == "clip5" ? "What happened?" : "Is it there?";
}

struct Asked {
  contract::Generate request;
  std::vector<StoredPicture> tensors;
};

// Pictures, then clips, then the text.
Asked ask(const Oracle& oracle, const std::string& name, const std::string& input) {
  Asked asked{models::ask(text_of(input)), {}};
  std::vector<contract::ContentPart> parts;
  for (std::size_t i = 0; oracle.has(fmt::format("{}.picture.{}", input, i)); ++i) {
    const std::string stored = fmt::format("{}.picture.{}", input, i);
    asked.tensors.push_back({oracle.shape(stored), oracle.bytes(stored)});
    parts.emplace_back().kind = "image";
  }
  const std::string clip = input + ".clip_pixels.0";
  asked.tensors.push_back({oracle.shape(clip), oracle.bytes(clip)});
  contract::ContentPart& part = parts.emplace_back();
  part.kind = "video";
  part.fps = static_cast<double>(oracle.floats(input + ".clip_fps.0")[0]);
  for (const std::int32_t frame : oracle.integers(input + ".clip_frames.0"))
    part.frame_indices.push_back(frame);
  if (name.find('/') == std::string::npos) {  // these folders do not say how large clips may be
    const auto row = oracle.shape(input + ".clip_patches.0")[1];
    const std::int64_t token = row / 6 * 4;
    part.min_pixels = 4 * token;
    part.max_pixels = 32 * token;
  }
  auto& content = asked.request.messages[0].content;
  content.insert(content.begin(), parts.begin(), parts.end());
  return asked;
}

using CaseInput = std::tuple<const char*, const char*>;

struct Clip : testing::TestWithParam<CaseInput> {
  const std::string name = std::get<0>(GetParam());
  const std::string input_name = std::get<1>(GetParam());
  const Oracle oracle = oracle_of(name);
  const Asked asked = ask(oracle, name, input_name);

  std::unique_ptr<decoder::MediaPrompt> prepare(LoadedModel& model) const {
    auto prepared = model.prepare(asked.request, asked.tensors);
    if (!prepared) throw std::runtime_error(prepared.error().what);
    return std::unique_ptr<decoder::MediaPrompt>(
        static_cast<decoder::MediaPrompt*>(prepared->release()));
  }
};

struct ClipRequest : Clip {
  LoadedModel model{case_files(name)};
};

TEST_P(ClipRequest, PromptIsTransformers) {
  const auto prompt = prepare(model);
  EXPECT_EQ(prompt->ids, oracle.integers(input_name + ".ids"));
  EXPECT_EQ(prompt->positions, oracle.integers(input_name + ".positions"));
  EXPECT_EQ(prompt->position_delta, oracle.integers(input_name + ".delta")[0]);
}

// Levels that leave bytes as they are show which byte went where.
std::vector<std::uint8_t> bytes_in_rows(const image::Still& still, int patch_size) {
  image::PictureRules rules;
  rules.patch_size = patch_size;
  image::Levels levels;
  for (std::size_t i = 0; i < levels.size(); ++i) levels[i] = static_cast<float>(i % 256);
  std::vector<float> rows(static_cast<std::size_t>(still.count() * rules.row_floats()));
  const HearthPatchify call = image::patchify_call(still, rules, levels, rows.data());
  EXPECT_EQ(hearth_kernels_cpu()->patchify(&call, nullptr), HEARTH_OK);
  return {rows.begin(), rows.end()};
}

TEST_P(ClipRequest, EveryStepIsTransformers) {
  const auto prompt = prepare(model);
  const auto expected = oracle.bytes(input_name + ".clip_patches.0");
  const auto grid = oracle.integers(input_name + ".clip_grids");
  const std::size_t pictures = asked.tensors.size() - 1;
  ASSERT_EQ(prompt->pictures.size(), pictures + static_cast<std::size_t>(grid[0]));
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = pictures; i < prompt->pictures.size(); ++i) {
    const image::Still& step = prompt->pictures[i];
    EXPECT_EQ(step.grid_height, grid[1]);
    EXPECT_EQ(step.grid_width, grid[2]);
    const auto rows = bytes_in_rows(step, step.picture.size.height / step.grid_height);
    bytes.insert(bytes.end(), rows.begin(), rows.end());
  }
  EXPECT_EQ(bytes, expected);
}

TEST_P(ClipRequest, AnswerIsTransformers) {
  const auto heard = model.answer(asked.request, asked.tensors);
  ASSERT_TRUE(heard->reply) << heard->error->what;
  const std::vector<std::int32_t> expected = oracle.integers(input_name + ".greedy");
  const std::vector<std::int32_t> ids = generate::ids_in(heard->reply->token_ids);
  ASSERT_LE(ids.size(), expected.size());
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin()));
  EXPECT_TRUE(heard->reply->stop_reason == "end_token" || ids.size() == 64U);
}

TEST_P(ClipRequest, ReplySaysHowItWasSeen) {
  const auto heard = model.answer(asked.request, asked.tensors);
  ASSERT_TRUE(heard->reply) << heard->error->what;
  ASSERT_EQ(heard->reply->pictures.size(), asked.tensors.size());
  const contract::SeenPicture& seen = heard->reply->pictures.back();
  const auto& shape = asked.tensors.back().shape;
  const auto grid = oracle.integers(input_name + ".clip_grids");
  EXPECT_EQ(seen.frames, shape[0]);
  EXPECT_EQ(seen.height, shape[1]);
  EXPECT_EQ(seen.width, shape[2]);
  EXPECT_EQ(seen.tokens, static_cast<std::uint32_t>(grid[0] * grid[1] * grid[2] / 4));
  EXPECT_EQ(seen.seen_height * grid[2], seen.seen_width * grid[1]);
  if (asked.tensors.size() > 1) {
    EXPECT_EQ(heard->reply->pictures[0].frames, 0);
  }
}

TEST_P(ClipRequest, SeenAgainNeedsNoTowerAndGivesTheSame) {
  const auto first = model.answer(asked.request, asked.tensors);
  Asked again = asked;
  again.request.messages[0].content.back().text += " Say more.";
  const auto other = model.answer(again.request, again.tensors);
  const auto second = model.answer(asked.request, asked.tensors);
  ASSERT_TRUE(first->reply && other->reply && second->reply);
  EXPECT_EQ(first->reply->token_ids, second->reply->token_ids);
  const auto prompt = prepare(model);
  EXPECT_EQ(other->reply->receipt.cached_pictures, prompt->pictures.size());
}

// --- each stage of the network ---

struct ClipNetwork : Clip {
  Network network{name};
  const Input input = read();

  Input read() {
    LoadedModel model{case_files(name)};
    const auto prompt = prepare(model);
    Input read = read_input(oracle, input_name);
    read.pictures.clear();
    for (const decoder::MediaSpan& span : prompt->spans)
      read.pictures.push_back({span, 0, 0, {0}});  // placed already
    const std::size_t pictures = read.features.size();
    for (std::size_t i = pictures; i < prompt->pictures.size(); ++i)
      read.patches.push_back(std::make_shared<const image::Still>(std::move(prompt->pictures[i])));
    add_steps(clip_features(), prompt->spans, pictures, read);
    return read;
  }

  // Of the whole clip.
  engine::Features clip_features() const {
    const auto stored = [&](const std::string& entry) {
      const std::string full = fmt::format("{}.clip_{}.0", input_name, entry);
      return engine::from_floats(oracle.floats(full), oracle.shape(full));
    };
    engine::Features features;
    features.rows = stored("vision");
    for (int level = 0; oracle.has(fmt::format("{}.clip_deepstack.{}.0", input_name, level));
         ++level)
      features.deepstack.push_back(stored(fmt::format("deepstack.{}", level)));
    return features;
  }

  // The clip's features, cut into those of its steps.
  static void add_steps(const engine::Features& clip, std::span<const decoder::MediaSpan> spans,
                        std::size_t pictures, Input& read) {
    std::int64_t first = 0;
    for (std::size_t i = pictures; i < spans.size(); ++i) {
      engine::Features& step = read.features.emplace_back();
      step.rows = clip.rows.narrow(0, first, spans[i].count).clone();
      for (const at::Tensor& level : clip.deepstack)
        step.deepstack.push_back(level.narrow(0, first, spans[i].count).clone());
      first += spans[i].count;
    }
    EXPECT_EQ(first, clip.rows.size(0));
  }
};

constexpr double kFeatureTolerance = 1e-5, kLogitTolerance = 1e-4;

TEST_P(ClipNetwork, FeaturesOfAllStepsAreTransformers) {
  const std::vector<engine::Features> made = encode(network, input.patches);
  ASSERT_EQ(made.size(), input.features.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    EXPECT_LE(
        max_difference(engine::to_floats(made[i].rows), engine::to_floats(input.features[i].rows)),
        kFeatureTolerance)
        << "step " << i;
    ASSERT_EQ(made[i].deepstack.size(), input.features[i].deepstack.size());
    for (std::size_t level = 0; level < made[i].deepstack.size(); ++level)
      EXPECT_LE(max_difference(engine::to_floats(made[i].deepstack[level]),
                               engine::to_floats(input.features[i].deepstack[level])),
                kFeatureTolerance)
          << "step " << i << ", level " << level;
  }
}

// What a GPU is left to do, by the kernels of this machine.
TEST_P(ClipNetwork, StepsLeftToItAreResizedAsBeforeIt) {
  const auto sent = image::draw("noise", 9, {2 * 75, 110, 3});
  const TensorView clip{DType::kU8, {2, 75, 110, 3}, sent.view().bytes};
  const int token = network.rules.patch_size * network.rules.merge_size;
  const image::Size size{2 * token, 3 * token};
  const auto read = [&](image::ResizeWhere where) {
    return must(image::read_step(clip, 0, size, network.rules, where));
  };
  const image::Still here = read(image::ResizeWhere::kHere);
  const image::Still left = read(image::ResizeWhere::kOnDevice);
  ASSERT_EQ(left.picture.size, (image::Size{75, 110}));
  ASSERT_EQ(here.picture.size, size);
  EXPECT_EQ(engine::to_floats(encode(network, left).rows),
            engine::to_floats(encode(network, here).rows));
}

TEST_P(ClipNetwork, PrefillLogitsAreTransformers) {
  const Rows rows = prefill_all(network, input, 0, input.rows);
  const std::size_t width = rows[0].size();
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_LE(max_difference(rows[i], std::span(input.logits).subspan(i * width, width)),
              kLogitTolerance)
        << "row " << input.rows[i];
}

TEST_P(ClipNetwork, SixtyFourGreedyTokensAreTransformers) {
  EXPECT_EQ(answer(network, input, 0, 64), input.greedy);
}

TEST_P(ClipNetwork, ChunksGiveWhatOneRunGives) {
  const std::int32_t last = input.tokens() - 1;
  const Rows single = prefill_all(network, input, 0, {last});
  for (const std::int32_t chunk : {7, 33}) {
    Rows rows;
    for (std::int32_t first = 0; first <= last; first += chunk) {
      const std::int32_t count = std::min(chunk, input.tokens() - first);
      rows = prefill(network, input, 1, first, count, {count - 1});
    }
    EXPECT_LE(max_difference(rows[0], single[0]), kLogitTolerance) << "chunks of " << chunk;
  }
}

TEST_P(ClipNetwork, ASequenceAloneIsTheSequenceInCompany) {
  const std::vector<std::int32_t> alone = answer(network, input, 0, 16);
  Input other = input;
  std::swap(other.ids.back(), other.ids[other.ids.size() - 2]);
  start(network, other, 2);
  std::vector<std::int32_t> ids = {start(network, input, 1)};
  while (ids.size() < alone.size()) ids.push_back(step(network, {2, 1}).tokens.back());
  EXPECT_EQ(ids, alone);
}

std::string name_of(const testing::TestParamInfo<CaseInput>& info) {
  std::string name = std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

#define HEARTH_CLIP_CASES(suite)                                                                  \
  INSTANTIATE_TEST_SUITE_P(Qwen3Vl, suite,                                                        \
                           Combine(Values("tied_bf16", "untied_shards_f32", "shallow_bf16"),      \
                                   Values("clip2", "clip5", "mixed")),                            \
                           name_of);                                                              \
  INSTANTIATE_TEST_SUITE_P(Qwen3VlBiased, suite, Combine(Values("biased_bf16"), Values("clip2")), \
                           name_of);                                                              \
  INSTANTIATE_TEST_SUITE_P(                                                                       \
      Qwen35, suite, Combine(Values("qwen3_5/tied_bf16"), Values("clip2", "clip5", "mixed")),     \
      name_of);                                                                                   \
  INSTANTIATE_TEST_SUITE_P(                                                                       \
      Qwen35Untied, suite,                                                                        \
      Combine(Values("qwen3_5/untied_f32", "qwen3_5_moe/fused_bf16"), Values("clip5")), name_of); \
  INSTANTIATE_TEST_SUITE_P(Qwen3VlMoe, suite,                                                     \
                           Combine(Values("qwen3_vl_moe/held_f32"), Values("clip2")), name_of);   \
  INSTANTIATE_TEST_SUITE_P(                                                                       \
      Qwen25Vl, suite,                                                                            \
      Combine(Values("qwen2_5_vl/untied_hub_f32"), Values("clip2", "clip5", "mixed")), name_of);  \
  INSTANTIATE_TEST_SUITE_P(Qwen25VlTied, suite,                                                   \
                           Combine(Values("qwen2_5_vl/tied_bf16"), Values("clip5")), name_of);    \
  INSTANTIATE_TEST_SUITE_P(                                                                       \
      Qwen25VlHub, suite, Combine(Values("qwen2_5_vl/untied_hub_bf16"), Values("mixed")), name_of)
HEARTH_CLIP_CASES(ClipRequest);
HEARTH_CLIP_CASES(ClipNetwork);

}  // namespace
}  // namespace hearth::language
