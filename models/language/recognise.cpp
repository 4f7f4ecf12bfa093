#include "models/language/recognise.h"

#include <algorithm>

#include <fmt/format.h>

#include "models/files/formats.h"
#include "models/files/model_file.h"
#include "models/language/text_config.h"
#include "models/weights/stored_codes.h"

namespace hearth::language {
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

// What dtype auto does with stored codes that none of our formats holds; empty when there are none.
std::string widening_warning(const Blueprint& blueprint, const files::WeightIndex& index) {
  std::uint64_t stored_bytes = 0;
  for (const auto& [name, shape] : blueprint.tensors) {
    const files::StoredScale* scale = blueprint.scales.find(name);
    const files::WeightEntry* entry = index.find(name);
    if (scale != nullptr && !weights::kept_format(*entry, scale)) stored_bytes += entry->nbytes;
  }
  if (stored_bytes == 0) return {};
  return fmt::format(
      "{} MB of its weights are FP8 that no format of hearth holds exactly (scales of blocks, or "
      "e5m2): dtype auto widens them to bfloat16, {} MB; dtype float8 rounds them once more.",
      stored_bytes >> 20, stored_bytes >> 19);
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

}  // namespace

Result<Blueprint> read_blueprint(const FamilyRules& rules, const models::ModelFiles& files,
                                 const files::WeightIndex& index) {
  TRY(files::StoredScales scales, files::read_stored_scales(files, index));
  TRY(const ConfigValue json, read_config_json(files));
  TRY(Blueprint blueprint, rules.read(json, index));
  blueprint.scales = std::move(scales);
  for (const auto& [name, shape] : blueprint.tensors)
    if (const auto found = index.require(name, shape); !found) return found.error();
  return blueprint;
}

Result<bool> recognises(const FamilyRules& rules, const models::ModelFiles& files,
                        std::vector<std::string>& warnings) {
  TRY(const std::string type, declared_type(files));
  const bool declared = std::find(rules.model_types.begin(), rules.model_types.end(), type) !=
                        rules.model_types.end();
  if (!declared && !type.empty()) return false;
  if (declared) CHECK_OK(refuse_foreign(files));
  if (type.empty() && !has_weights(files)) return false;
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  if (type.empty() && !rules.has_our_names(index)) return false;
  TRY(const Blueprint blueprint, read_blueprint(rules, files, index));
  CHECK_OK(check_tokenizer_files(files));
  TRY(std::string warning, text::template_warning(files, blueprint.layout));
  if (!warning.empty()) warnings.push_back(std::move(warning));
  if (blueprint.text.encoder_only) warnings.push_back(cannot_generate(blueprint.text).what);
  warning = widening_warning(blueprint, index);
  if (!warning.empty()) warnings.push_back(std::move(warning));
  return true;
}

}  // namespace hearth::language
