// The family `qwen3_vl`: Qwen3-VL, dense, every size.

#include <algorithm>

#include <fmt/format.h>

#include "models/files/formats.h"
#include "models/files/model_file.h"
#include "models/model.h"
#include "models/qwen3_vl/config.h"
#include "models/qwen3_vl/layout.h"
#include "models/qwen3_vl/model.h"
#include "models/text/chat.h"

namespace hearth::models {
const Family& qwen3_vl_family();
}

namespace hearth::qwen3_vl {
namespace {

using files::ConfigValue;

// What config.json calls the model; empty when there is none or it does not say.
Result<std::string> declared_type(const models::ModelFiles& files) {
  TRY(const ConfigValue json, read_config_json(files));
  TRY(const std::string_view type, json["model_type"].text_or(""));
  return std::string(type);
}

bool has_weights(const models::ModelFiles& files) {
  return std::any_of(files.begin(), files.end(), [](const models::ModelFile& file) {
    return file.label.ends_with(".safetensors");
  });
}

Result<void> refuse_foreign(const models::ModelFiles& files) {
  for (const models::ModelFile& file : files) CHECK_OK(files::refuse_foreign_format(file));
  return {};
}

Result<void> check_tokenizer_files(const models::ModelFiles& files) {
  const auto has = [&](std::string_view label) {
    return files::find_file(files, label) != nullptr;
  };
  if (has("tokenizer.json") || (has("vocab.json") && has("merges.txt"))) return {};
  return fail(Code::kBadModel,
              "the tokenizer is missing: tokenizer.json, or vocab.json and merges.txt",
              "Put the tokenizer's files beside the weights.");
}

Result<Config> read_checked(const models::ModelFiles& files, const files::WeightIndex& index) {
  CHECK_OK(files::refuse_quantised(files, index));
  TRY(const ConfigValue json, read_config_json(files));
  TRY(Config config, read_config(json, index));
  CHECK_OK(check_tensors(config, index));
  return config;
}

Result<bool> recognises(const models::ModelFiles& files, std::vector<std::string>& warnings) {
  TRY(const std::string type, declared_type(files));
  if (type == "qwen3_vl_moe")
    return fail(Code::kUnsupported,
                "config.json: model_type is qwen3_vl_moe; hearth serves the dense Qwen3-VL models");
  if (type != "qwen3_vl" && !type.empty()) return false;
  if (type == "qwen3_vl") CHECK_OK(refuse_foreign(files));
  if (type.empty() && !has_weights(files)) return false;
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  if (type.empty() && !has_our_names(index)) return false;
  if (const auto config = read_checked(files, index); !config) return config.error();
  CHECK_OK(check_tokenizer_files(files));
  TRY(std::string warning, text::template_warning(files));
  if (!warning.empty()) warnings.push_back(std::move(warning));
  return true;
}

Result<contract::MemoryPlan> plan(const models::ModelFiles& files,
                                  const models::LoadOptions& options) {
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  TRY(const Config config, read_checked(files, index));
  return plan_model(index, config, options);
}

Result<std::shared_ptr<models::Model>> load(const models::ModelFiles& files,
                                            const models::LoadOptions& options) {
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  TRY(const Config config, read_checked(files, index));
  return load_model(files, index, config, options);
}

}  // namespace
}  // namespace hearth::qwen3_vl

namespace hearth::models {

const Family& qwen3_vl_family() {
  static constexpr Family kFamily = {"qwen3_vl", qwen3_vl::recognises, qwen3_vl::plan,
                                     qwen3_vl::load};
  return kFamily;
}

}  // namespace hearth::models
