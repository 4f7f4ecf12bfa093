#include "models/language/defaults.h"

#include <limits>

#include <fmt/format.h>

#include "models/files/config.h"
#include "models/files/model_file.h"

namespace hearth::language {
namespace {

using files::ConfigValue;

struct Range {
  double least, most;
};
constexpr Range kShare{0.0, 1.0};
constexpr Range kTemperature{0.0, 100.0};
constexpr Range kFactor{0.01, 100.0};
constexpr Range kPenalty{-100.0, 100.0};

// The sampler computes in float32 and counts on numbers that stay finite there.
Result<void> take(const ConfigValue& value, Range range, std::optional<double>& out) {
  if (!value) return {};
  TRY(const double number, value.number());
  if (!(number >= range.least && number <= range.most))
    return value.error(
        fmt::format("is {}; it runs from {} to {}", number, range.least, range.most));
  out = number;
  return {};
}

Result<void> take(const ConfigValue& value, std::optional<std::int32_t>& out) {
  if (!value) return {};
  TRY(const std::int64_t number, value.integer(0, std::numeric_limits<std::int32_t>::max()));
  out = static_cast<std::int32_t>(number);
  return {};
}

Result<generate::SamplingDefaults> read_sampling(const ConfigValue& json) {
  generate::SamplingDefaults sampling;
  if (const ConfigValue value = json["do_sample"]; value) {
    TRY(sampling.do_sample, value.boolean());
  }
  CHECK_OK(take(json["top_k"], sampling.top_k));
  CHECK_OK(take(json["no_repeat_ngram_size"], sampling.no_repeat_ngram));
  CHECK_OK(take(json["temperature"], kTemperature, sampling.temperature));
  CHECK_OK(take(json["top_p"], kShare, sampling.top_p));
  CHECK_OK(take(json["min_p"], kShare, sampling.min_p));
  CHECK_OK(take(json["typical_p"], kShare, sampling.typical_p));
  CHECK_OK(take(json["repetition_penalty"], kFactor, sampling.repetition_penalty));
  CHECK_OK(take(json["presence_penalty"], kPenalty, sampling.presence_penalty));
  CHECK_OK(take(json["frequency_penalty"], kPenalty, sampling.frequency_penalty));
  return sampling;
}

Result<std::vector<std::int64_t>> read_end_tokens(const ConfigValue& value) {
  if (!value) return std::vector<std::int64_t>();
  if (value.is_array()) return value.integers(0);
  TRY(const std::int64_t only, value.integer(0));
  return std::vector{only};
}

// Ids the model cannot produce are left out.
void keep(std::span<const std::int64_t> ids, std::int32_t vocabulary, Defaults& defaults) {
  for (const std::int64_t id : ids)
    if (id < vocabulary) defaults.end_ids.push_back(static_cast<std::int32_t>(id));
}

}  // namespace

Result<Defaults> read_defaults(const models::ModelFiles& files, const TokenIds& ids,
                               const text::Tokenizer& tokenizer) {
  Defaults defaults;
  if (files::find_file(files, "generation_config.json") != nullptr) {
    TRY(const ConfigValue json, files::read_json(files, "generation_config.json"));
    TRY(defaults.sampling, read_sampling(json));
    TRY(const std::vector<std::int64_t> ends, read_end_tokens(json["eos_token_id"]));
    keep(ends, ids.vocabulary_size, defaults);
  }
  if (defaults.end_ids.empty()) keep(ids.ends, ids.vocabulary_size, defaults);
  if (!defaults.end_ids.empty()) return defaults;
  for (const std::string_view token : {"<|im_end|>", "<|endoftext|>"})
    if (const auto id = tokenizer.id_of(token)) defaults.end_ids.push_back(*id);
  if (defaults.end_ids.empty())
    return fail(Code::kBadModel,
                "no token ends an answer: generation_config.json has no eos_token_id, and the "
                "tokenizer lacks <|im_end|>");
  return defaults;
}

}  // namespace hearth::language
