#include "models/qwen3_vl/model.h"

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "models/generate/batch.h"
#include "models/qwen3_vl/prompt.h"
#include "models/qwen3_vl/vision.h"
#include "models/text/chat.h"
#include "models/torch/decoder_weights.h"
#include "models/torch/features.h"
#include "models/torch/slot_decoder.h"
#include "models/torch/tensors.h"

namespace hearth::qwen3_vl {
namespace {

// What a Model is made of, once everything is read and checked.
struct Parts {
  PromptRules rules;
  std::unique_ptr<engine::SlotDecoder> decoder;
  at::ScalarType type = at::kFloat;
  std::uint64_t weight_bytes = 0;
};

std::string_view name_of_type(at::ScalarType type) {
  return type == at::kBFloat16 ? "bfloat16" : "float32";
}

class Model : public models::Model, public models::Generates, public models::Encodes {
 public:
  Model(Parts parts, const models::LoadOptions& options)
      : rules_(std::move(parts.rules)),
        decoder_(std::move(parts.decoder)),
        dtype_(name_of_type(parts.type)),
        resident_bytes_(parts.weight_bytes + decoder_->cache_bytes()),
        batch_(*decoder_, {options.device.name, std::string(dtype_)}) {}

  std::string_view family() const override { return "qwen3_vl"; }
  std::string_view dtype() const override { return dtype_; }
  std::uint64_t resident_bytes() const override { return resident_bytes_; }
  models::Generates* generates() override { return this; }
  models::Encodes* encodes() override { return this; }

  Result<std::unique_ptr<models::Prompt>> prepare(const contract::Generate& request,
                                                  std::span<const TensorView> tensors,
                                                  const models::Job& job) const override {
    TRY(auto prompt, make_prompt(request, tensors, job, rules_));
    return std::unique_ptr<models::Prompt>(std::move(prompt));
  }

  Result<std::unique_ptr<models::Prompt>> prepare(const contract::Encode& request,
                                                  std::span<const TensorView> tensors,
                                                  const models::Job& job) const override {
    TRY(auto prompt, make_prompt(request, tensors, job, rules_));
    return std::unique_ptr<models::Prompt>(std::move(prompt));
  }

  void submit(models::OnEngine on, std::shared_ptr<models::Job> job,
              std::unique_ptr<models::Prompt> prompt,
              std::shared_ptr<models::Listener> listener) override {
    batch_.submit(on, std::move(job), std::move(prompt), std::move(listener));
  }

  Result<bool> advance(models::OnEngine on) override { return batch_.advance(on); }

 private:
  const PromptRules rules_;
  const std::unique_ptr<engine::SlotDecoder> decoder_;
  const std::string_view dtype_;
  const std::uint64_t resident_bytes_;
  generate::Batch batch_;
};

// auto: the checkpoint's own type; f16 widens to f32, for bf16 would round it.
Result<at::ScalarType> choose_type(std::string_view wanted, const Config& config,
                                   const files::WeightIndex& index) {
  if (wanted == "float32") return at::kFloat;
  if (wanted == "bfloat16") return at::kBFloat16;
  TRY(const files::WeightEntry* embedding, index.require(config.text.embedding));
  return embedding->dtype == DType::kBF16 ? at::kBFloat16 : at::kFloat;
}

std::uint64_t weight_bytes(const Config& config, at::ScalarType type) {
  std::uint64_t elements = 0;
  for (const auto& [name, shape] : config.tensors) {
    std::uint64_t product = 1;
    for (const std::int64_t dim : shape) product *= static_cast<std::uint64_t>(dim);
    elements += product;
  }
  return elements * c10::elementSize(type);
}

Result<void> check_room(std::uint64_t bytes, const models::Device& device) {
  if (device.memory_bytes == 0 || bytes <= device.memory_bytes) return {};
  return fail(Code::kOutOfMemory, fmt::format("the weights take {} MB, {} has {} MB in all",
                                              bytes >> 20, device.name, device.memory_bytes >> 20));
}

Result<image::PictureRules> picture_rules(const models::ModelFiles& files,
                                          const VisionConfig& vision) {
  image::PictureRules own;
  own.patch_size = vision.patch_size;
  own.merge_size = vision.merge_size;
  own.temporal_patch_size = vision.temporal_patch_size;
  TRY(const image::PictureRules rules, image::read_picture_rules(files, own));
  if (rules.patch_size != own.patch_size || rules.merge_size != own.merge_size ||
      rules.temporal_patch_size != own.temporal_patch_size)
    return fail(
        Code::kBadModel,
        fmt::format("preprocessor_config.json cuts patches of {} x {} x {} and merges {}; "
                    "the vision tower wants {} x {} x {} and {}",
                    rules.temporal_patch_size, rules.patch_size, rules.patch_size, rules.merge_size,
                    own.temporal_patch_size, own.patch_size, own.patch_size, own.merge_size));
  return rules;
}

Result<std::int32_t> image_token(const Config& config, const text::Tokenizer& tokenizer) {
  const auto id = tokenizer.id_of("<|image_pad|>");
  if (!id) return fail(Code::kBadModel, "the tokenizer lacks <|image_pad|>");
  if (config.image_token && *config.image_token != *id)
    return fail(Code::kBadModel,
                fmt::format("config.json: image_token_id is {}, the tokenizer's <|image_pad|> {}",
                            *config.image_token, *id));
  return *id;
}

Result<PromptRules> read_rules(const models::ModelFiles& files, const Config& config) {
  PromptRules rules;
  TRY(rules.tokenizer, text::Tokenizer::load(files));
  if (rules.tokenizer->size() > config.text.vocabulary_size)
    return fail(Code::kBadModel,
                fmt::format("the tokenizer has ids up to {}, the model knows {} tokens",
                            rules.tokenizer->size() - 1, config.text.vocabulary_size));
  TRY(rules.image_token, image_token(config, *rules.tokenizer));
  TRY(rules.pictures, picture_rules(files, config.vision));
  TRY(rules.defaults, read_defaults(files, config, *rules.tokenizer));
  TRY(const std::string warning, text::template_warning(files));
  if (!warning.empty()) rules.warnings.push_back(warning);
  return rules;
}

engine::ExecutorLimits choose_limits(const Config& config, at::ScalarType type,
                                     const models::LoadOptions& options) {
  engine::ExecutorLimits limits;
  limits.slots = static_cast<std::int32_t>(options.slots);
  limits.context_tokens = engine::choose_context(config.text, c10::elementSize(type), options.slots,
                                                 options.device.memory_bytes);
  limits.max_rows = std::max(engine::kPrefillChunkTokens, limits.slots);
  limits.max_chosen = limits.slots;
  return limits;
}

Result<void> load_weights(const files::WeightIndex& index, const Config& config,
                          const models::LoadOptions& options, Parts& parts) {
  engine::WeightReader reader(index, config.tensors, options, parts.type);
  TRY(auto tower, load_vision(reader, config.vision));
  TRY(auto loaded, engine::load_decoder(reader, config.text));
  CHECK_OK(index.check_unchanged());
  const engine::ExecutorLimits limits = choose_limits(config, parts.type, options);
  parts.rules.context_tokens = limits.context_tokens;
  parts.rules.hidden = {static_cast<std::int32_t>(config.text.layers.size()) + 1,
                        config.text.hidden_size,
                        parts.type == at::kBFloat16 ? DType::kBF16 : DType::kF32};
  parts.weight_bytes = reader.placed_bytes();
  parts.decoder = std::make_unique<engine::SlotDecoder>(
      config.text, std::move(loaded), std::move(tower), limits,
      at::TensorOptions(parts.type).device(engine::device_of(options.device)));
  return {};
}

}  // namespace

Result<std::shared_ptr<models::Model>> load_model(const models::ModelFiles& files,
                                                  const files::WeightIndex& index,
                                                  const Config& config,
                                                  const models::LoadOptions& options) {
  const c10::InferenceMode guard;
  Parts parts;
  TRY(parts.type, choose_type(options.dtype, config, index));
  CHECK_OK(check_room(weight_bytes(config, parts.type), options.device));
  TRY(parts.rules, read_rules(files, config));
  CHECK_OK(load_weights(index, config, options, parts));
  return std::shared_ptr<models::Model>(std::make_shared<Model>(std::move(parts), options));
}

}  // namespace hearth::qwen3_vl
