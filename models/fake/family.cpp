// The family `fake`: answers without a network, so that everything around one can be tested.
//
// A folder whose config.json says {"model_type": "hearth_fake"}. Optional keys: script (see
// script.h), prefix, context_tokens, prefill_chunk_tokens, page_tokens and pages of its key-value
// cache, weights_bytes that it claims to take, image_bytes of pinned memory that it claims to rest
// in (0: it does not rest).

#include "models/fake/decoder.h"
#include "models/fake/prompt.h"
#include "models/files/config.h"
#include "models/files/model_file.h"
#include "models/generate/batch.h"
#include "models/model.h"

namespace hearth::models {
const Family& fake_family();
}

namespace hearth::fake {
namespace {

constexpr std::string_view kModelType = "hearth_fake";
constexpr std::uint64_t kLoadSteps = 20;  // progress reports of one load

class Model : public models::Model,
              public models::Generates,
              public models::Encodes,
              public models::Rests {
 public:
  Model(Config config, const models::LoadOptions& options)
      : config_(std::move(config)),
        decoder_(config_, static_cast<std::int32_t>(options.slots)),
        batch_(decoder_, {options.device.name, "float32"}) {}

  std::string_view family() const override { return "fake"; }
  std::string_view dtype() const override { return "float32"; }
  std::uint64_t resident_bytes() const override { return decoder_.resident_bytes(); }
  models::Generates* generates() override { return this; }
  models::Encodes* encodes() override { return this; }
  models::Rests* rests() override { return config_.image_bytes > 0 ? this : nullptr; }

  Result<std::unique_ptr<models::Prompt>> prepare(const contract::Generate& request,
                                                  std::span<const TensorView> tensors,
                                                  const models::Job& job) const override {
    return make_ready(request, tensors, job);
  }

  Result<std::unique_ptr<models::Prompt>> prepare(const contract::Encode& request,
                                                  std::span<const TensorView> tensors,
                                                  const models::Job& job) const override {
    return make_ready(request, tensors, job);
  }

  void submit(models::OnEngine on, std::shared_ptr<models::Job> job,
              std::unique_ptr<models::Prompt> prompt,
              std::shared_ptr<models::Listener> listener) override {
    batch_.submit(on, std::move(job), std::move(prompt), std::move(listener));
  }

  Result<bool> advance(models::OnEngine on) override { return batch_.advance(on); }

  std::vector<contract::CacheEntry> caches(models::OnEngine on) const override {
    return batch_.caches(on);
  }

  std::uint64_t image_bytes() const override { return has_image_ ? config_.image_bytes : 0; }
  Result<std::uint64_t> keep_image() override {
    if (has_image_) return std::uint64_t{0};
    obey(Place::kImage, "image");
    has_image_ = true;
    return config_.image_bytes;
  }
  Result<void> drop_image() override {
    has_image_ = false;
    return {};
  }
  Result<void> rest(models::OnEngine on) override {
    CHECK_OK(batch_.forget_cached(on));
    obey(Place::kRest, "rest");
    decoder_.rest();
    return {};
  }
  Result<void> restore(models::OnEngine) override {
    obey(Place::kRestore, "restore");
    decoder_.restore();
    return {};
  }

 private:
  template <class Request>
  Result<std::unique_ptr<models::Prompt>> make_ready(const Request& request,
                                                     std::span<const TensorView> tensors,
                                                     const models::Job& job) const {
    const auto start = models::Clock::now();
    TRY(auto prompt, read_prompt(request, tensors, config_));
    wait(prompt->script.wait_at(Place::kPrepare), &job.cancelled);
    if (job.cancelled.load()) return fail(Code::kCancelled, "The request was cancelled.");
    act(prompt->script.fault_at(Place::kPrepare), "prepare");
    prompt->preprocess_ms =
        std::chrono::duration<double, std::milli>(models::Clock::now() - start).count();
    return std::unique_ptr<models::Prompt>(std::move(prompt));
  }

  // Waits or goes wrong as the config's script says.
  void obey(Place place, std::string_view name) const {
    const Script script = parse_script(config_.script);
    wait(script.wait_at(place));
    act(script.fault_at(place), name);
  }

  const Config config_;
  const Loaded loaded_;
  Decoder decoder_;
  generate::Batch batch_;
  bool has_image_ = false;
};

Result<bool> recognises(const models::ModelFiles& files, std::vector<std::string>&) {
  if (files::find_file(files, "config.json") == nullptr) return false;
  TRY(const auto json, files::read_json(files, "config.json"));
  TRY(const std::string_view type, json["model_type"].text_or(""));
  return type == kModelType;
}

Result<void> read_number(const files::ConfigValue& value, std::int32_t least,
                         std::int32_t& number) {
  TRY(const std::int64_t read, value.integer_or(number, least, 1 << 20));
  number = static_cast<std::int32_t>(read);
  return {};
}

Result<Config> read_config(const models::ModelFiles& files) {
  TRY(const auto json, files::read_json(files, "config.json"));
  Config config;
  TRY(const std::string_view script, json["script"].text_or(""));
  config.script = script;
  TRY(const std::string_view prefix, json["prefix"].text_or(""));
  config.prefix = prefix;
  CHECK_OK(read_number(json["context_tokens"], 1, config.context_tokens));
  CHECK_OK(read_number(json["prefill_chunk_tokens"], 1, config.prefill_chunk_tokens));
  CHECK_OK(read_number(json["page_tokens"], 1, config.page_tokens));
  CHECK_OK(read_number(json["pages"], 0, config.pages));
  TRY(const std::int64_t weights, json["weights_bytes"].integer_or(0, 0, std::int64_t{1} << 50));
  config.weights_bytes = static_cast<std::uint64_t>(weights);
  TRY(const std::int64_t image, json["image_bytes"].integer_or(0, 0, std::int64_t{1} << 50));
  config.image_bytes = static_cast<std::uint64_t>(image);
  return config;
}

Result<contract::MemoryPlan> plan(const models::ModelFiles& files,
                                  const models::LoadOptions& options) {
  TRY(const Config config, read_config(files));
  const Script script = parse_script(config.script);
  wait(script.wait_at(Place::kAttach));
  act(script.fault_at(Place::kAttach), "attach");
  contract::MemoryPlan plan;
  plan.weights_bytes = config.weights_bytes;
  plan.image_bytes = config.image_bytes;
  const auto pages = Decoder::pages_of(config, static_cast<std::int32_t>(options.slots));
  plan.cache_bytes = static_cast<std::uint64_t>(pages) * Decoder::page_bytes_of(config);
  return plan;
}

class Counter : public models::TokenCounter {
 public:
  explicit Counter(std::int32_t context_tokens) : context_tokens_(context_tokens) {}
  Result<contract::TokensCounted> count(const contract::CountTokens& request) const override {
    return count_tokens(request, context_tokens_);
  }

 private:
  const std::int32_t context_tokens_;
};

Result<std::shared_ptr<const models::TokenCounter>> counter(const models::ModelFiles& files,
                                                            const models::LoadOptions&) {
  TRY(const Config config, read_config(files));
  return std::shared_ptr<const models::TokenCounter>(
      std::make_shared<Counter>(config.context_tokens));
}

Result<std::shared_ptr<models::Model>> load(const models::ModelFiles& files,
                                            const models::LoadOptions& options) {
  TRY(Config config, read_config(files));
  const Script script = parse_script(config.script);
  for (std::uint64_t step = 0; step < kLoadSteps; ++step) {
    if (options.cancelled != nullptr && options.cancelled->load())
      return fail(Code::kCancelled, "Loading was cancelled.");
    if (options.on_progress) options.on_progress(step, kLoadSteps);
    wait(script.wait_at(Place::kLoad) / kLoadSteps, options.cancelled);
  }
  act(script.fault_at(Place::kLoad), "load");
  if (options.on_progress) options.on_progress(kLoadSteps, kLoadSteps);
  return std::shared_ptr<models::Model>(std::make_shared<Model>(std::move(config), options));
}

}  // namespace
}  // namespace hearth::fake

namespace hearth::models {

const Family& fake_family() {
  static constexpr Family kFamily = {"fake",        fake::recognises, fake::plan,
                                     fake::counter, fake::load,       true};
  return kFamily;
}

}  // namespace hearth::models
