#include "models/language/model.h"

#include <algorithm>
#include <optional>

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "models/decoder/cuda_memory.h"
#include "models/decoder/device_memory.h"
#include "models/decoder/kv_pages.h"
#include "models/generate/batch.h"
#include "models/host_cpu.h"
#include "models/language/prompt.h"
#include "models/language/prompt_rules.h"
#include "models/language/recognise.h"
#include "models/language/text_config.h"
#include "models/torch/features.h"
#include "models/torch/slot_decoder.h"
#include "models/weights/arena.h"
#include "models/weights/rest.h"
#include "models/weights/weights.h"

namespace hearth::language {
namespace {

// Of the device's memory: an eighth for keys and values, a thirty-second for pictures' features.
constexpr std::uint64_t kPagesShare = 8;
constexpr std::uint64_t kFeaturesShare = 32;
constexpr std::uint64_t kMostFeatureBytes = std::uint64_t{512} << 20;

// What a Model is made of, in the order in which it must be made, and undone backwards.
struct Parts {
  std::unique_ptr<const Blueprint> blueprint;
  PromptRules rules;
  std::unique_ptr<decoder::DeviceMemory> memory;
  std::shared_ptr<const weights::Weights> weights;
  std::unique_ptr<engine::SlotDecoder> decoder;
  contract::MemoryPlan plan;
};

class Model : public models::Model,
              public models::Generates,
              public models::Encodes,
              public models::Rests {
 public:
  Model(std::string_view family, Parts parts, const models::LoadOptions& options)
      : family_(family),
        parts_(std::move(parts)),
        batch_(*parts_.decoder, {options.device.name, std::string(Model::dtype())}) {
    if (parts_.memory->evictable() != nullptr) rest_.emplace(*parts_.memory, *parts_.weights);
  }

  std::string_view family() const override { return family_; }
  std::string_view dtype() const override { return parts_.weights->precision().name; }
  std::uint64_t resident_bytes() const override {
    return parts_.plan.weights_bytes + parts_.plan.cache_bytes + parts_.plan.scratch_bytes;
  }
  std::vector<contract::CacheEntry> caches(models::OnEngine on) const override {
    return batch_.caches(on);
  }
  models::Generates* generates() override { return this; }
  models::Encodes* encodes() override { return this; }
  models::Rests* rests() override { return rest_ ? this : nullptr; }

  Result<std::unique_ptr<models::Prompt>> prepare(const contract::Generate& request,
                                                  std::span<const TensorView> tensors,
                                                  const models::Job& job) const override {
    if (parts_.blueprint->text.encoder_only) return cannot_generate(parts_.blueprint->text);
    TRY(auto prompt, make_prompt(request, tensors, job, parts_.rules));
    return std::unique_ptr<models::Prompt>(std::move(prompt));
  }

  Result<std::unique_ptr<models::Prompt>> prepare(const contract::Encode& request,
                                                  std::span<const TensorView> tensors,
                                                  const models::Job& job) const override {
    TRY(auto prompt, make_prompt(request, tensors, job, parts_.rules));
    return std::unique_ptr<models::Prompt>(std::move(prompt));
  }

  Result<void> warm_up(models::OnEngine on) override { return parts_.decoder->warm_up(on); }

  void submit(models::OnEngine on, std::shared_ptr<models::Job> job,
              std::unique_ptr<models::Prompt> prompt,
              std::shared_ptr<models::Listener> listener) override {
    batch_.submit(on, std::move(job), std::move(prompt), std::move(listener));
  }

  Result<bool> advance(models::OnEngine on) override { return batch_.advance(on); }

  std::uint64_t image_bytes() const override { return rest_->image_bytes(); }
  Result<std::uint64_t> keep_image() override { return rest_->keep_image(); }
  Result<void> drop_image() override { return rest_->drop_image(); }

  Result<void> rest(models::OnEngine on) override {
    CHECK_OK(batch_.forget_cached(on));
    parts_.decoder->rest(on);
    return rest_->leave();
  }

  Result<void> restore(models::OnEngine on) override {
    CHECK_OK(rest_->come_back());
    return parts_.decoder->restore(on);
  }

 private:
  const std::string_view family_;
  const Parts parts_;
  std::optional<weights::Rest> rest_;  // none on the host
  generate::Batch batch_;
};

class Counter : public models::TokenCounter {
 public:
  explicit Counter(PromptRules rules) : rules_(std::move(rules)) {}
  Result<contract::TokensCounted> count(const contract::CountTokens& request) const override {
    return count_tokens(request, rules_);
  }

 private:
  const PromptRules rules_;
};

Result<std::unique_ptr<decoder::DeviceMemory>> open_memory(const models::Device& device) {
  if (device.kind == models::DeviceKind::kCpu) return decoder::host_memory(*hearth_kernels_cpu());
  TRY(std::unique_ptr<decoder::CudaMemory> memory, decoder::cuda_memory(device.index));
  return std::unique_ptr<decoder::DeviceMemory>(std::move(memory));
}

Result<std::unique_ptr<weights::Arena>> open_arena(decoder::DeviceMemory& memory,
                                                   const models::Device& device,
                                                   std::uint64_t bytes) {
  if (memory.evictable() == nullptr) return weights::host_arena(bytes);
  const int number = device.kind == models::DeviceKind::kCuda ? device.index : -1;
  return weights::device_arena(memory, number, bytes);
}

Result<void> check_room(const contract::MemoryPlan& plan, const models::Device& device) {
  const std::uint64_t bytes = plan.weights_bytes + plan.cache_bytes + plan.scratch_bytes;
  if (device.memory_bytes == 0 || bytes <= device.memory_bytes) return {};
  return fail(Code::kOutOfMemory,
              fmt::format("the model takes {} MB ({} MB of weights, {} MB for keys, values and "
                          "pictures' features, {} MB to compute in), {} has {} MB in all",
                          bytes >> 20, plan.weights_bytes >> 20, plan.cache_bytes >> 20,
                          plan.scratch_bytes >> 20, device.name, device.memory_bytes >> 20),
              "Load it with dtype int8 or int4.");
}

engine::DecoderLimits choose_limits(const Blueprint& blueprint, HearthType type,
                                    const models::LoadOptions& options) {
  const std::uint64_t memory_bytes = options.device.memory_bytes;
  engine::DecoderLimits limits;
  limits.step.slots = static_cast<std::int32_t>(options.slots);
  limits.step.pages =
      decoder::choose_pages(blueprint.text, type, limits.step.slots, memory_bytes / kPagesShare);
  limits.step.context_tokens = decoder::context_of_pages(blueprint.text, limits.step.pages);
  if (!blueprint.tower) return limits;
  limits.feature_cache_bytes = memory_bytes == 0
                                   ? kMostFeatureBytes
                                   : std::min(memory_bytes / kFeaturesShare, kMostFeatureBytes);
  return limits;
}

bool is_device(const models::LoadOptions& options) {
  return options.device.kind == models::DeviceKind::kCuda;
}

// `is_device`: whose memory the weights can leave for the host's.
contract::MemoryPlan memory_plan(const weights::Plan& weights, const Blueprint& blueprint,
                                 const engine::DecoderLimits& limits, bool is_device) {
  const HearthType type = weights.precision.type;
  contract::MemoryPlan plan;
  plan.weights_bytes = weights::arena_bytes(weights.bytes);
  plan.cache_bytes =
      decoder::page_bytes(blueprint.text, type) * static_cast<std::uint64_t>(limits.step.pages) +
      limits.feature_cache_bytes;
  if (is_device) plan.image_bytes = plan.weights_bytes;
  plan.scratch_bytes = engine::SlotDecoder::scratch_bytes(blueprint.text, type, limits.step);
  if (blueprint.tower)
    plan.scratch_bytes += blueprint.tower->scratch_bytes(type, engine::kTogetherPatches);
  return plan;
}

Result<weights::Plan> plan_weights(const files::WeightIndex& index, const Blueprint& blueprint,
                                   const models::LoadOptions& options) {
  const std::vector<weights::Tensor> none;
  return weights::make_plan(index, {.description = blueprint.text,
                                    .before = blueprint.tower ? blueprint.tower->tensors : none,
                                    .wanted = {options.dtype, options.head},
                                    .scales = &blueprint.scales});
}

// Why a context may be shorter than the model's own; empty when it is not.
std::string context_limit(const Blueprint& blueprint, const decoder::StepLimits& limits) {
  const std::int32_t own = blueprint.text.context_tokens;
  if (limits.context_tokens >= own) return {};
  if (limits.context_tokens >= decoder::kMostContextTokens)
    return fmt::format("The model itself could hold {}; hearth serves at most {}.", own,
                       decoder::kMostContextTokens);
  return fmt::format("The model itself could hold {}; the memory for keys and values holds {}.",
                     own, limits.context_tokens);
}

void describe_prompts(const Blueprint& blueprint, const weights::Precision& precision,
                      const decoder::StepLimits& limits, const models::Device& device,
                      PromptRules& rules) {
  rules.context_tokens = limits.context_tokens;
  rules.context_limit = context_limit(blueprint, limits);
  rules.content_key = generate::random_sip_key();
  if (device.kind == models::DeviceKind::kCuda) rules.resize = image::ResizeWhere::kOnDevice;
  rules.hidden = {static_cast<std::int32_t>(blueprint.text.layers.size()) + 1,
                  blueprint.text.hidden_size,
                  precision.type == HEARTH_BF16 ? DType::kBF16 : DType::kF32};
}

// parts.memory is there, or is made.
Result<void> load_parts(const files::WeightIndex& index, const models::LoadOptions& options,
                        Parts& parts) {
  const Blueprint& blueprint = *parts.blueprint;
  TRY(const weights::Plan plan, plan_weights(index, blueprint, options));
  const engine::DecoderLimits limits = choose_limits(blueprint, plan.precision.type, options);
  parts.plan = memory_plan(plan, blueprint, limits, is_device(options));
  CHECK_OK(check_room(parts.plan, options.device));
  describe_prompts(blueprint, plan.precision, limits.step, options.device, parts.rules);
  if (parts.memory == nullptr) {
    TRY(parts.memory, open_memory(options.device));
  }
  TRY(auto arena, open_arena(*parts.memory, options.device, plan.bytes));
  TRY(parts.weights, weights::load(index, plan, options, std::move(arena)));
  const decoder::Weights& text = parts.weights->decoder();
  engine::Compute compute = engine::choose_compute(*parts.memory, text.type, text.device);
  TRY(compute.attention, engine::choose_attention(options.attention, text.type, text.device));
  compute.attention_is_chosen = options.attention != "auto";
  std::unique_ptr<engine::Tower> tower;
  if (blueprint.tower) tower = blueprint.tower->make(*parts.weights, compute, parts.rules.pictures);
  TRY(parts.decoder,
      engine::SlotDecoder::create(blueprint.text, text, compute, std::move(tower), limits));
  return {};
}

}  // namespace

Result<contract::MemoryPlan> plan_model(const files::WeightIndex& index, const Blueprint& blueprint,
                                        const models::LoadOptions& options) {
  TRY(const weights::Plan plan, plan_weights(index, blueprint, options));
  const int device = is_device(options) ? options.device.index : -1;
  const auto attention = engine::choose_attention(options.attention, plan.precision.type, device);
  if (!attention) return attention.error();
  return memory_plan(plan, blueprint, choose_limits(blueprint, plan.precision.type, options),
                     is_device(options));
}

Result<std::shared_ptr<models::Model>> load_model(const models::ModelFiles& files,
                                                  const files::WeightIndex& index,
                                                  const FamilyRules& family,
                                                  const models::LoadOptions& options,
                                                  std::unique_ptr<decoder::DeviceMemory> memory) {
  const c10::InferenceMode guard;
  models::avoid_broken_amx();  // the first product is soon to come
  Parts parts;
  parts.memory = std::move(memory);
  TRY(Blueprint blueprint, read_blueprint(family, files, index));
  parts.blueprint = std::make_unique<const Blueprint>(std::move(blueprint));
  TRY(parts.rules, read_rules(files, *parts.blueprint));
  CHECK_OK(load_parts(index, options, parts));
  return std::shared_ptr<models::Model>(
      std::make_shared<Model>(family.name, std::move(parts), options));
}

Result<contract::MemoryPlan> plan(const FamilyRules& rules, const models::ModelFiles& files,
                                  const models::LoadOptions& options) {
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  TRY(const Blueprint blueprint, read_blueprint(rules, files, index));
  return plan_model(index, blueprint, options);
}

Result<std::shared_ptr<const models::TokenCounter>> counter(const FamilyRules& family,
                                                            const models::ModelFiles& files,
                                                            const models::LoadOptions& options) {
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  TRY(const Blueprint blueprint, read_blueprint(family, files, index));
  TRY(PromptRules rules, read_rules(files, blueprint));
  TRY(const weights::Plan plan, plan_weights(index, blueprint, options));
  const engine::DecoderLimits limits = choose_limits(blueprint, plan.precision.type, options);
  describe_prompts(blueprint, plan.precision, limits.step, options.device, rules);
  return std::shared_ptr<const models::TokenCounter>(std::make_shared<Counter>(std::move(rules)));
}

Result<std::shared_ptr<models::Model>> load(const FamilyRules& rules,
                                            const models::ModelFiles& files,
                                            const models::LoadOptions& options) {
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  return load_model(files, index, rules, options);
}

}  // namespace hearth::language
