// A decoder with an optional vision tower behind the interface that generate/ drives: pictures,
// prompts in chunks, then steps.
//
// Ownership: owns step executor, prefill, tower, the cache of features and, while a slot's prompt
// is run, its pictures' features; borrows weights and device memory. Engine thread only.
#pragma once

#include <memory>
#include <vector>

#include "models/decoder/media_prompt.h"
#include "models/decoder/step.h"
#include "models/decoder/traffic.h"
#include "models/generate/decoder.h"
#include "models/torch/feature_cache.h"
#include "models/torch/features.h"
#include "models/torch/prefill.h"

namespace hearth::engine {

// Longer chunks prefill little faster, and other sequences wait for a chunk to end.
inline constexpr std::int32_t kPrefillChunkTokens = 512;
// Small pictures are encoded together up to so many patches; a larger one goes alone. As with
// chunks, others wait for it.
inline constexpr std::int64_t kTogetherPatches = 4096;

struct DecoderLimits {
  decoder::StepLimits step;
  std::uint64_t feature_cache_bytes = 0;
};

class SlotDecoder : public generate::Decoder {
 public:
  // All prompts must be decoder::MediaPrompt. `tower` may be null; it computes by the same
  // `compute`, whose device memory is borrowed. Errors: unsupported for too many slots,
  // out_of_memory.
  static Result<std::unique_ptr<SlotDecoder>> create(const decoder::Description& description,
                                                     const decoder::Weights& weights,
                                                     const Compute& compute,
                                                     std::unique_ptr<Tower> tower,
                                                     const DecoderLimits& limits);
  // Device memory beside weights, pages and cached features.
  static std::uint64_t scratch_bytes(const decoder::Description& description, HearthType type,
                                     const decoder::StepLimits& limits);

  // Engine thread, while all slots are free: runs each kind of work once (chunks of many and of few
  // rows, first tokens, steps, a picture). What it leaves in pages is nobody's.
  Result<void> warm_up(models::OnEngine);

  // Engine thread, while all slots are free, before and after the device's memory is away
  // (decoder/evictable.h): nothing of it is kept; what a step needs is there again.
  void rest(models::OnEngine);
  Result<void> restore(models::OnEngine) { return step_->restore(); }

  std::int32_t slots() const override { return step_->limits().slots; }
  std::int32_t context_tokens() const override { return step_->limits().context_tokens; }
  std::int32_t vocabulary_size() const override { return description_.vocabulary_size; }
  std::int32_t prefill_chunk_tokens() const override { return prefill_->max_rows(); }
  std::int32_t page_tokens() const override { return HEARTH_PAGE_TOKENS; }
  std::int32_t pages() const override { return step_->limits().pages; }
  std::uint64_t page_bytes() const override;
  std::uint64_t step_bytes(std::int32_t tokens) const override { return traffic_.bytes(tokens); }
  // A page has keys and values, but not what layers with a state knew at its end.
  bool reuses_prefixes() const override { return description_.recurrent_layers() == 0; }

  Result<void> begin(models::OnEngine, const generate::Place& place, const generate::PageCopy& copy,
                     const generate::TokenPrompt& prompt) override;
  Result<bool> encode_picture(models::OnEngine, std::int32_t slot) override;
  std::int32_t seen_tokens(std::int32_t slot) const override;
  std::int32_t cached_pictures(std::int32_t slot) const override;
  Result<void> set_mask(models::OnEngine, std::int32_t slot,
                        std::span<const std::uint32_t> mask) override {
    return step_->set_mask(slot, mask);
  }
  Result<void> prefill(models::OnEngine, const generate::Chunk& chunk) override;
  Result<void> step(models::OnEngine, std::span<const std::int32_t> slots) override;
  Result<std::span<const generate::Sampled>> collect(models::OnEngine,
                                                     std::int32_t in_flight) override;
  void end(models::OnEngine, std::int32_t slot) noexcept override;
  Result<void> read_logits(models::OnEngine, std::int32_t row, std::span<float> logits) override;
  Result<void> fork(models::OnEngine, std::int32_t from, const generate::Place& to,
                    const generate::PageCopy& copy) override;
  Result<void> choose(models::OnEngine, std::int32_t slot, std::int32_t token) override;
  std::vector<generate::CacheUse> caches() const override { return {cache_.use()}; }

 private:
  struct Slot {
    const decoder::MediaPrompt* prompt = nullptr;  // null: free
    // Of prompt->pictures; null: not there yet, or its tokens are cached already.
    std::vector<FeatureCache::Entry> features;
    std::vector<std::size_t> wanted;  // pictures that have to be encoded or found, in order
    std::int32_t cached_pictures = 0;
  };

  struct Engines {
    std::unique_ptr<decoder::Step> step;
    std::unique_ptr<Prefill> prefill;
    std::unique_ptr<Tower> tower;
    decoder::StepTraffic traffic;
  };
  SlotDecoder(const decoder::Description& description, HearthType type, Engines engines,
              const Compute& compute, std::int32_t most_fed_rows,
              std::uint64_t feature_cache_bytes);
  Result<void> warm_up_prompt(models::OnEngine, const decoder::MediaPrompt& prompt);
  FeatureCache::Key key_of(const decoder::MediaPrompt& prompt, std::size_t picture) const;
  void take_cached(Slot& slot);
  std::vector<std::size_t> choose_together(const Slot& slot) const;
  Result<void> run_chunk(const Slot& slot, const generate::Chunk& chunk);
  Result<void> feed_chunk(const Slot& slot, const generate::Chunk& chunk);
  void find_positions(const decoder::MediaPrompt& prompt, std::int32_t first, std::int32_t count);
  void find_taps(const Slot& slot, const generate::Chunk& chunk);
  void find_media(const Slot& slot, std::int32_t first, std::int32_t count);

  const decoder::Description& description_;
  const HearthType type_;
  const Compute compute_;
  const decoder::StepTraffic traffic_;
  const std::int32_t most_fed_rows_;  // of a chunk that the step executor is fed
  std::unique_ptr<decoder::Step> step_;
  std::unique_ptr<Prefill> prefill_;
  std::unique_ptr<Tower> tower_;
  FeatureCache cache_;
  std::vector<Slot> slots_;

  // Of the chunk at hand; kept to save the allocations.
  std::vector<std::int32_t> positions_;
  std::vector<MediaRows> media_;
  std::vector<Tap> taps_;
};

}  // namespace hearth::engine
