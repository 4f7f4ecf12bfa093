// What the family reads out of files and requests, without computing: built, and run under
// sanitizers, where there is no torch.
#include <functional>
#include <memory>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/language/positions.h"
#include "models/language/prompt.h"
#include "models/language/text_config.h"
#include "models/qwen3_vl/config.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::qwen3_vl {
namespace {

using namespace language;
using nlohmann::json;

constexpr const char* kCases[] = {"tied_bf16", "untied_shards_f32", "biased_bf16", "shallow_bf16"};

models::ModelFiles case_files(const std::string& name) {
  auto files = models::open_folder(std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data" /
                                   "qwen3_vl" / name);
  std::erase_if(files, [](const auto& file) { return file.label == "oracle.safetensors"; });
  return files;
}

Result<Config> checked_config(const models::ModelFiles& files, const files::ConfigValue& json) {
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  if (!has_our_names(index)) return fail(Code::kBadModel, "not ours");
  TRY(Config config, read_config(json, index));
  for (const auto& [name, shape] : config.tensors)
    if (const auto found = index.require(name, shape); !found) return found.error();
  return config;
}

Result<Config> changed(const std::string& name, const std::function<void(json&)>& change) {
  json config = models::read_fixture("qwen3_vl/" + name + "/config.json");
  change(config);
  TRY(const files::ConfigValue value, files::parse_json("config.json", config.dump()));
  return checked_config(case_files(name), value);
}

TEST(Rules, EveryFixtureHasTheTensorsItsConfigAsksFor) {
  for (const char* name : kCases) {
    const auto config = changed(name, [](json&) {});
    ASSERT_TRUE(config) << name << ": " << config.error().what;
    EXPECT_GT(config->tensors.size(), 10U);
    EXPECT_EQ(config->vision.out_hidden_size, config->text.hidden_size);
  }
}

TEST(Rules, NumbersThatDoNotFitAreRefused) {
  const std::pair<const char*, std::function<void(json&)>> changes[] = {
      {"more layers", [](json& c) { c["text_config"]["num_hidden_layers"] = 1000; }},
      {"too many layers", [](json& c) { c["text_config"]["num_hidden_layers"] = 1025; }},
      {"no heads", [](json& c) { c["text_config"]["num_attention_heads"] = 0; }},
      {"a wide layer", [](json& c) { c["text_config"]["hidden_size"] = 1 << 21; }},
      {"a negative width", [](json& c) { c["vision_config"]["hidden_size"] = -64; }},
      {"a table that is no square",
       [](json& c) { c["vision_config"]["num_position_embeddings"] = 35; }},
      {"huge patches", [](json& c) { c["vision_config"]["patch_size"] = 1 << 16; }},
      {"a tap behind the tower",
       [](json& c) {
         c["vision_config"]["deepstack_visual_indexes"] = {0, 99};
       }},
      {"two rope sections", [](json& c) {
         c["text_config"].erase("rope_parameters");
         c["text_config"]["rope_scaling"] = {{"rope_type", "default"}, {"mrope_section", {4, 4}}};
       }}};
  for (const auto& [what, change] : changes) {
    const auto config = changed("tied_bf16", change);
    ASSERT_FALSE(config) << what;
    EXPECT_EQ(config.error().code, Code::kBadModel) << what << ": " << config.error().what;
  }
}

// The rules of a fixture, with pictures small enough for a test.
PromptRules rules_of(const std::string& name) {
  const models::ModelFiles files = case_files(name);
  auto tokenizer = text::Tokenizer::load(files);
  EXPECT_TRUE(tokenizer) << tokenizer.error().what;
  PromptRules rules;
  rules.tokenizer = *tokenizer;
  rules.image_token = rules.tokenizer->id_of("<|image_pad|>").value();
  rules.pictures.min_pixels = 32 * 32;
  rules.pictures.max_pixels = 128 * 128;
  rules.context_tokens = 4096;
  auto config = read_config_json(files);
  auto checked = checked_config(files, *config);
  EXPECT_TRUE(checked) << checked.error().what;
  auto defaults =
      read_defaults(files, {checked->text.vocabulary_size, checked->end_tokens}, *rules.tokenizer);
  EXPECT_TRUE(defaults) << defaults.error().what;
  rules.defaults = *std::move(defaults);
  rules.grammars = std::make_shared<generate::Grammars>([tokenizer = rules.tokenizer] {
    std::vector<std::string> tokens;
    for (std::int32_t id = 0; id < tokenizer->size(); ++id)
      tokens.push_back(tokenizer->bytes_of(id));
    return tokens;
  });
  return rules;
}

contract::Generate request_with(std::vector<std::string> kinds) {
  contract::Generate request;
  contract::ChatMessage turn{"user", {}};
  for (std::string& kind : kinds) {
    contract::ContentPart part;
    part.text = kind == "text" ? "what is <|image_pad|> here" : "";
    part.kind = std::move(kind);
    turn.content.push_back(std::move(part));
  }
  request.messages.push_back(std::move(turn));
  request.max_tokens = 8;
  return request;
}

TensorView pixels(const std::vector<std::byte>& memory, std::int64_t height, std::int64_t width) {
  return {DType::kU8, {height, width, 3}, memory};
}

TEST(Prompt, HasTheGrammarThatTheRequestNamesOrSaysWhyNot) {
  const PromptRules rules = rules_of("tied_bf16");
  contract::Generate request = request_with({"text"});
  request.regex = "[a-z]+";
  const auto prompt = make_prompt(request, {}, models::Job(1), rules);
  ASSERT_TRUE(prompt) << prompt.error().what;
  EXPECT_NE((*prompt)->grammar, nullptr);
  request.regex = "(?<=a)b";
  const auto refused = make_prompt(request, {}, models::Job(1), rules);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnsupported);
  EXPECT_TRUE(refused.error().what.starts_with("regex: ")) << refused.error().what;
}

TEST(Prompt, EndsWithAClosedThoughtOrNoneAsTheLayoutHasIt) {
  PromptRules rules = rules_of("tied_bf16");
  contract::Generate request = request_with({"text"});
  request.thinking = "on";
  const auto refused = make_prompt(request, {}, models::Job(1), rules);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnsupported);
  rules.layout.thoughts = {text::Thoughts::kItself, text::Thoughts::kItself, {}};
  const auto prompt = make_prompt(request, {}, models::Job(1), rules);
  ASSERT_TRUE(prompt) << prompt.error().what;
  EXPECT_TRUE((*prompt)->thoughts.expected);
  EXPECT_FALSE((*prompt)->thoughts.opened);
}

TEST(Prompt, PicturesStandWhereTheirTokensAre) {
  const PromptRules rules = rules_of("tied_bf16");
  ASSERT_FALSE(rules.defaults.end_ids.empty());
  const std::vector<std::byte> memory(64 * 96 * 3, std::byte{7});
  const std::vector<TensorView> tensors = {pixels(memory, 64, 96), pixels(memory, 96, 64)};
  const models::Job job(1);
  const auto prompt = make_prompt(request_with({"image", "text", "image"}), tensors, job, rules);
  ASSERT_TRUE(prompt) << prompt.error().what;
  ASSERT_EQ((*prompt)->spans.size(), 2U);
  EXPECT_EQ((*prompt)->positions.size(), 3 * (*prompt)->ids.size());
  std::size_t placeholders = 0;
  for (const std::int32_t id : (*prompt)->ids) placeholders += id == rules.image_token;
  std::size_t expected = 0;
  for (const decoder::MediaSpan& span : (*prompt)->spans) {
    expected += static_cast<std::size_t>(span.count);
    for (std::int32_t i = 0; i < span.count; ++i)
      EXPECT_EQ((*prompt)->ids[static_cast<std::size_t>(span.first + i)], rules.image_token);
  }
  EXPECT_EQ(placeholders, expected) << "text must not become a picture's token";
}

// Many of them take longer than a request may seem to hang.
TEST(Prompt, EachPictureIsAStepForWhoeverWatches) {
  const PromptRules rules = rules_of("tied_bf16");
  const std::vector<std::byte> memory(64 * 96 * 3, std::byte{7});
  const std::vector<TensorView> tensors(3, pixels(memory, 64, 96));
  const models::Job job(1);
  models::Progress progress;
  models::this_thread_progress = &progress;
  const auto prompt = make_prompt(request_with({"image", "image", "image"}), tensors, job, rules);
  models::this_thread_progress = nullptr;
  ASSERT_TRUE(prompt) << prompt.error().what;
  EXPECT_EQ(progress.seen().steps, 3U);
}

TEST(Prompt, PicturesLeftToTheDeviceAreKnownByTheirPixelsAndTheirSize) {
  PromptRules rules = rules_of("tied_bf16");
  rules.resize = image::ResizeWhere::kOnDevice;
  const std::vector<std::byte> memory(75 * 91 * 3, std::byte{7});
  const std::vector<TensorView> tensors = {pixels(memory, 75, 91)};
  const models::Job job(1);
  const auto content = [&](std::int64_t max_pixels) {
    contract::Generate request = request_with({"image"});
    request.max_pixels = max_pixels;
    const auto prompt = make_prompt(request, tensors, job, rules);
    EXPECT_TRUE(prompt) << prompt.error().what;
    EXPECT_EQ((*prompt)->pictures[0].picture.size, (image::Size{75, 91}));
    return (*prompt)->media[0].content;
  };
  EXPECT_EQ(content(128 * 128), content(128 * 128));
  EXPECT_NE(content(128 * 128), content(64 * 64)) << "the same pixels in another size";
}

TEST(Prompt, PicturesThatAreMissingOrNoneAreRefused) {
  const PromptRules rules = rules_of("tied_bf16");
  const models::Job job(1);
  const std::vector<std::byte> memory(64 * 64 * 3);
  const auto code_of = [&](std::vector<std::string> kinds, std::vector<TensorView> tensors) {
    const auto prompt = make_prompt(request_with(std::move(kinds)), tensors, job, rules);
    return prompt ? Code::kInternal : prompt.error().code;
  };
  EXPECT_EQ(code_of({"image"}, {}), Code::kBadRequest);
  EXPECT_EQ(code_of({"text"}, {pixels(memory, 64, 64)}), Code::kBadRequest);
  EXPECT_EQ(code_of({"video"}, {pixels(memory, 64, 64)}), Code::kUnsupported) << "without a token";
  EXPECT_EQ(code_of({"image"}, {{DType::kU8, {64, 64}, memory}}), Code::kBadPicture);
  EXPECT_EQ(code_of({"image"}, {{DType::kU8, {1 << 25, 1, 3}, memory}}), Code::kBadPicture);
}

// The texts between the steps of a clip of frames at these numbers, of a source of `fps`.
std::string spelled(double fps, std::vector<std::int64_t> indices) {
  PromptRules rules = rules_of("tied_bf16");
  rules.video_token = rules.tokenizer->id_of("<|video_pad|>").value();
  contract::Generate request = request_with({"video"});
  request.messages[0].content[0].fps = fps;
  const auto frames = static_cast<std::int64_t>(indices.size());
  request.messages[0].content[0].frame_indices = std::move(indices);
  const std::vector<std::byte> memory(static_cast<std::size_t>(frames * 32 * 32 * 3));
  const TensorView clip{DType::kU8, {frames, 32, 32, 3}, memory};
  const auto prompt = make_prompt(request, {&clip, 1}, models::Job(1), rules);
  EXPECT_TRUE(prompt) << prompt.error().what;
  return rules.tokenizer->decode((*prompt)->ids, true);
}

TEST(Clips, TellTheTimeOfEachStepInWords) {
  const auto times = [&](const std::string& text) { return "user\n" + text + "\nassistant\n"; };
  EXPECT_EQ(spelled(2.0, {0, 1}), times("<0.2 seconds>")) << "0.25 is rounded to even";
  EXPECT_EQ(spelled(24.0, {0, 12, 24, 36, 48}), times("<0.2 seconds><1.2 seconds><2.0 seconds>"));
  EXPECT_EQ(spelled(29.97, {299}), times("<10.0 seconds>"));
}

TEST(Positions, OfAClipCountItsTimes) {
  const PlacedPicture clip{{1, 4}, 1, 2, {0, 5}};
  const Positions placed = place_tokens(6, std::span(&clip, 1));
  const std::vector<std::int32_t> expected = {0, 1, 1, 6, 6, 7,   //
                                              0, 1, 1, 1, 1, 7,   //
                                              0, 1, 2, 1, 2, 7};  // behind the largest of any axis
  EXPECT_EQ(placed.ids, expected);
  EXPECT_EQ(placed.delta, 8 - 6);
}

TEST(Positions, WhatFollowsAPictureContinuesAfterItsLongerSide) {
  const PlacedPicture picture{{2, 6}, 2, 3};
  const Positions placed = place_tokens(9, std::span(&picture, 1));
  const std::vector<std::int32_t> time = {0, 1, 2, 2, 2, 2, 2, 2, 5};
  const std::vector<std::int32_t> height = {0, 1, 2, 2, 2, 3, 3, 3, 5};
  const std::vector<std::int32_t> width = {0, 1, 2, 3, 4, 2, 3, 4, 5};
  std::vector<std::int32_t> all = time;
  all.insert(all.end(), height.begin(), height.end());
  all.insert(all.end(), width.begin(), width.end());
  EXPECT_EQ(placed.ids, all);
  EXPECT_EQ(placed.delta, 6 - 9);
}

}  // namespace
}  // namespace hearth::qwen3_vl
