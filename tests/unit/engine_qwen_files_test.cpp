// Checkpoints that are Qwen3-VL but cannot be served, each with its defined answer.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "models/language/text_config.h"
#include "models/qwen3_vl/config.h"
#include "tests/unit/engine_qwen_for_test.h"
#include "tests/unit/engine_requests_for_test.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::language {
namespace {

using models::ModelFile;
using models::ModelFiles;
using nlohmann::json;

std::string content(const std::string& name, const std::string& label) {
  std::ifstream file(case_folder(name) / label, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

ModelFiles with(ModelFiles files, const std::string& label, std::string_view bytes) {
  files = without(std::move(files), label);
  files.push_back(models::file_with(label, bytes));
  return files;
}

// The case with its config.json changed.
ModelFiles with_config(const std::string& name, const std::function<void(json&)>& change) {
  json config = json::parse(content(name, "config.json"));
  change(config);
  return with(case_files(name), "config.json", config.dump());
}

// The single weight file with its header changed; the tensors' bytes stay where they are.
ModelFiles with_header(const std::string& name, const std::function<void(json&)>& change) {
  const std::string file = content(name, "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  json header = json::parse(file.substr(8, length));
  change(header);
  const std::string text = header.dump();
  length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes += text;
  std::uint64_t old_length = 0;
  std::memcpy(&old_length, file.data(), sizeof(old_length));
  bytes += file.substr(8 + old_length);
  return with(case_files(name), "model.safetensors", bytes);
}

void rename(json& header, const std::string& from, const std::string& to) {
  header[to] = header[from];
  header.erase(from);
}

// What detection says of these files: code and message.
Error refusal(const ModelFiles& files) {
  const auto detected = models::detect(files);
  EXPECT_FALSE(detected);
  return detected ? Error{} : detected.error();
}

#define EXPECT_MENTIONS(error, text) \
  EXPECT_NE((error).what.find(text), std::string::npos) << (error).what

TEST(Detection, TheFixturesAreOurs) {
  for (const char* name : kCases) {
    const auto detected = models::detect(case_files(name));
    ASSERT_TRUE(detected) << detected.error().what;
    EXPECT_EQ(detected->family, "qwen3_vl");
  }
}

TEST(Detection, EachFamilyKnowsItsOwn) {
  const std::pair<const char*, const char*> cases[] = {
      {"qwen2_5_vl/tied_bf16", "qwen2_5_vl"},  {"qwen2_5_vl/untied_hub_f32", "qwen2_5_vl"},
      {"qwen2/tied_bf16", "qwen_text"},        {"qwen3/untied_f32", "qwen_text"},
      {"qwen3_moe/experts_bf16", "qwen_text"}, {"qwen3_moe/mixed_f32", "qwen_text"},
      {"qwen3_vl_moe/hub_bf16", "qwen3_vl"},   {"qwen3_vl_moe/held_f32", "qwen3_vl"},
      {"qwen3_5/tied_bf16", "qwen3_5"},        {"qwen3_5/untied_f32", "qwen3_5"},
      {"qwen3_5_moe/experts_f32", "qwen3_5"},  {"qwen3_5_moe/fused_bf16", "qwen3_5"}};
  for (const auto& [name, family] : cases) {
    const auto detected = models::detect(case_files(name));
    ASSERT_TRUE(detected) << name << ": " << detected.error().what;
    EXPECT_EQ(detected->family, family) << name;
  }
}

TEST(Detection, ACheckpointOfAnotherTypeIsNotOurs) {
  const auto error = refusal(with_config("tied_bf16", [](json& c) { c["model_type"] = "llava"; }));
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_MENTIONS(error, "llava");
}

TEST(Detection, WithoutConfigTheNamesTellTheFamily) {
  // Ours, but what no shape tells is named.
  const auto error = refusal(without(case_files("tied_bf16"), "config.json"));
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_MENTIONS(error, "deepstack_visual_indexes");
}

TEST(Detection, QuantisedCheckpointsAreRefusedByName) {
  for (const char* method : {"awq", "gptq", "bitsandbytes"}) {
    const auto error = refusal(with_config("tied_bf16", [&](json& c) {
      c["quantization_config"] = {{"quant_method", method}, {"bits", 4}};
    }));
    EXPECT_EQ(error.code, Code::kUnsupported) << method;
  }
}

TEST(Detection, WeightsInForeignFormatsAreRefusedByName) {
  const auto files = without(case_files("tied_bf16"), "model.safetensors");
  const std::pair<const char*, std::string> foreign[] = {
      {"model.gguf", std::string("GGUF\3\0\0\0", 8)},
      {"pytorch_model.bin", std::string("PK\3\4", 4)}};
  for (const auto& [label, bytes] : foreign) {
    const auto error = refusal(with(files, label, bytes));
    EXPECT_EQ(error.code, Code::kUnsupported);
    EXPECT_MENTIONS(error, label);
  }
}

// Its hidden states are those of the whole checkpoint, whatever stands where a head would.
TEST(Encoders, AFileWithoutHeadGivesHiddenStatesAndRefusesToGenerate) {
  const auto untied = [](json& c) { c["tie_word_embeddings"] = false; };
  const ModelFiles encoder = with_config("tied_bf16", untied);
  const auto detected = must(models::detect(encoder));
  EXPECT_TRUE(std::ranges::any_of(detected.warnings, [](const std::string& warning) {
    return warning.find("encoder-only") != std::string::npos;
  }));
  for (const char* dtype : {"float32", "int8"}) {
    models::LoadedModel part(encoder, dtype), whole(case_files("tied_bf16"), dtype);
    const auto chat = models::ask("And this?");
    const auto generated = part.prepare(chat);
    ASSERT_FALSE(generated);
    EXPECT_EQ(generated.error().code, Code::kUnsupported);
    EXPECT_MENTIONS(generated.error(), "encoder-only");
    EXPECT_MENTIONS(generated.error(), "lm_head.weight");
    const auto found = part.answer(models::encode(chat, {-1, 2}));
    const auto wanted = whole.answer(models::encode(chat, {-1, 2}));
    ASSERT_TRUE(found->encoding && wanted->encoding);
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_TRUE(
          std::ranges::equal(found->encoding->hidden[i].bytes, wanted->encoding->hidden[i].bytes));
  }
}

// Nothing but the names and shapes of a published text encoder tells what it is.
TEST(Encoders, OneOfThePublishedLayoutLoads) {
  const auto detected = must(models::detect(case_files("qwen2_5_vl/encoder_bf16")));
  EXPECT_EQ(detected.family, "qwen2_5_vl");
  models::LoadedModel model(case_files("qwen2_5_vl/encoder_bf16"));
  const auto chat = models::ask("Say: naïve 漢 🙂\n\n 12");
  EXPECT_FALSE(model.prepare(chat));
  const auto encoded = model.answer(models::encode(chat, {-1}));
  ASSERT_TRUE(encoded->encoding);
  const models::HostTensor& hidden = encoded->encoding->hidden[0];
  const Oracle oracle("qwen2_5_vl/encoder_bf16");
  const auto wanted = oracle.floats("text.state.2");
  const auto width = static_cast<std::size_t>(hidden.shape[1]);
  std::vector<float> found;
  for (const std::int32_t row : oracle.integers("text.rows")) {
    const auto* from = reinterpret_cast<const float*>(hidden.bytes.data());
    found.insert(found.end(), from + static_cast<std::size_t>(row) * width,
                 from + static_cast<std::size_t>(row + 1) * width);
  }
  EXPECT_LE(max_difference(found, wanted), 1e-4);
}

TEST(Detection, AMissingTensorIsNamed) {
  const auto error = refusal(with_header("tied_bf16", [](json& header) {
    rename(header, "model.language_model.layers.2.mlp.up_proj.weight", "elsewhere");
  }));
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_MENTIONS(error, "layers.2.mlp.up_proj.weight");
}

TEST(Detection, AWrongShapeIsNamedWithBothShapes) {
  const auto error = refusal(with_header("tied_bf16", [](json& header) {
    header["model.visual.blocks.1.mlp.linear_fc1.weight"]["shape"] = {24, 48};
  }));
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_MENTIONS(error, "visual.blocks.1.mlp.linear_fc1.weight");
  EXPECT_MENTIONS(error, "[24, 48]");
  EXPECT_MENTIONS(error, "[48, 24]");
}

TEST(Detection, ATruncatedShardIsNamed) {
  const std::string label = "model-00002-of-00004.safetensors";
  const std::string whole = content("untied_shards_f32", label);
  const auto error =
      refusal(with(case_files("untied_shards_f32"), label, whole.substr(0, whole.size() - 100)));
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_MENTIONS(error, label);
}

TEST(Detection, AMissingShardIsNamed) {
  const std::string label = "model-00003-of-00004.safetensors";
  const auto error = refusal(without(case_files("untied_shards_f32"), label));
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_MENTIONS(error, label);
}

TEST(Detection, AMissingTokenizerIsNamed) {
  const auto error = refusal(without(case_files("tied_bf16"), "tokenizer.json"));
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_MENTIONS(error, "tokenizer.json");
}

TEST(Detection, ScaledRopeIsRefusedByName) {
  const auto error = refusal(with_config(
      "tied_bf16", [](json& c) { c["text_config"]["rope_parameters"]["rope_type"] = "yarn"; }));
  EXPECT_EQ(error.code, Code::kUnsupported);
  EXPECT_MENTIONS(error, "yarn");
}

TEST(Detection, NumbersThatDoNotFitTheTensorsAreRefused) {
  const auto error =
      refusal(with_config("tied_bf16", [](json& c) { c["text_config"]["head_dim"] = 8; }));
  EXPECT_EQ(error.code, Code::kBadModel);
}

TEST(Loading, WithoutConfigTheShapesTellTheNumbers) {
  // All but what no shape tells: rope, the tower's heads, the DeepStack levels.
  const auto reduced = with_config("tied_bf16", [](json& c) {
    json text, vision;
    text["rope_parameters"] = c["text_config"]["rope_parameters"];
    for (const char* key : {"num_heads", "deepstack_visual_indexes"})
      vision[key] = c["vision_config"][key];
    c = {{"text_config", text}, {"vision_config", vision}};
  });
  const auto index = must(files::WeightIndex::read(reduced));
  const auto read = [&](const models::ModelFiles& files) {
    return must(qwen3_vl::read_config(must(read_config_json(files)), index));
  };
  const qwen3_vl::Config config = read(reduced);
  const qwen3_vl::Config whole = read(case_files("tied_bf16"));
  EXPECT_EQ(config.tensors, whole.tensors);
  EXPECT_TRUE(config.text.tied_head());
  models::LoadedModel model(reduced);
  const Oracle oracle("tied_bf16");
  const auto heard = model.answer(models::ask("Say: naïve 漢 🙂\n\n 12"));
  const auto ids = generate::ids_in(heard->reply->token_ids);
  const auto expected = oracle.integers("text.greedy");
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin()));
}

TEST(Loading, ATokenizerOfAnotherModelIsRefused) {
  const auto files = with_config("tied_bf16", [](json& c) { c["image_token_id"] = 5; });
  const auto loaded = models::load(files, {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kBadModel);
  EXPECT_MENTIONS(loaded.error(), "image_token_id");
}

TEST(Loading, DefaultsThatNoSamplerCanUseAreRefusedByName) {
  for (const auto& [key, value] : {std::pair("frequency_penalty", 1e39),
                                   {"repetition_penalty", 0.0},
                                   {"min_p", 1.5},
                                   {"temperature", -1.0}}) {
    json config = json::parse(content("tied_bf16", "generation_config.json"));
    config[key] = value;
    const auto loaded =
        models::load(with(case_files("tied_bf16"), "generation_config.json", config.dump()), {});
    ASSERT_FALSE(loaded) << key;
    EXPECT_EQ(loaded.error().code, Code::kBadModel);
    EXPECT_MENTIONS(loaded.error(), key);
  }
}

TEST(Loading, AModelLargerThanTheDeviceIsOutOfMemory) {
  models::LoadOptions options;
  options.device.name = "a small device";
  options.device.memory_bytes = 1000;
  const auto loaded = models::load(case_files("tied_bf16"), options);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kOutOfMemory);
}

TEST(Loading, CanBeCancelledAndTellsItsProgress) {
  std::atomic<bool> cancelled = false;
  std::uint64_t done = 0, total = 0;
  models::LoadOptions options;
  options.device.threads = 1;  // or another might have read the rest when this one hears of it
  options.cancelled = &cancelled;
  options.on_progress = [&](std::uint64_t now, std::uint64_t all) {
    EXPECT_GE(now, done);
    done = now;
    total = all;
  };
  ASSERT_TRUE(models::load(case_files("shallow_bf16"), options));
  EXPECT_EQ(done, total);
  options.on_progress = [&](std::uint64_t, std::uint64_t) { cancelled = true; };
  const auto loaded = models::load(case_files("shallow_bf16"), options);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kCancelled);
}

TEST(Loading, AFileThatChangesMeanwhileIsNoticed) {
  // A file on disk: what is in memory only has no times to compare.
  const auto folder =
      std::filesystem::temp_directory_path() / ("hearth-engine-" + std::to_string(::getpid()));
  std::filesystem::copy(case_folder("shallow_bf16"), folder);
  const ModelFiles files = without(models::open_folder(folder), "oracle.safetensors");
  models::LoadOptions options;
  options.on_progress = [&](std::uint64_t, std::uint64_t) {
    std::filesystem::last_write_time(folder / "model.safetensors",
                                     std::filesystem::file_time_type::clock::now());
  };
  const auto loaded = models::load(files, options);
  std::filesystem::remove_all(folder);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kModelChanged);
}

}  // namespace
}  // namespace hearth::language
