// A decoder with an optional vision tower behind the interface that generate/ drives.
//
// Ownership: owns executor, tower and, while a slot is filled, its pictures' features; the weights
// live beside it (see decoder_weights.h). Engine thread only.
#pragma once

#include <memory>
#include <vector>

#include "models/decoder/media_prompt.h"
#include "models/generate/decoder.h"
#include "models/torch/decoder_weights.h"
#include "models/torch/executor.h"
#include "models/torch/features.h"

namespace hearth::engine {

// Longer chunks prefill little faster, and other sequences wait for a chunk to end.
inline constexpr std::int32_t kPrefillChunkTokens = 512;

class SlotDecoder : public generate::Decoder {
 public:
  // All prompts must be decoder::MediaPrompt. `limits.max_rows` bounds prefill chunks.
  SlotDecoder(const decoder::Description& description, LoadedDecoder loaded,
              std::unique_ptr<Tower> tower, ExecutorLimits limits, at::TensorOptions options);

  std::int32_t slots() const override { return executor_.limits().slots; }
  std::int32_t context_tokens() const override { return executor_.limits().context_tokens; }
  std::int32_t vocabulary_size() const override { return vocabulary_size_; }
  std::int32_t prefill_chunk_tokens() const override { return executor_.limits().max_rows; }
  std::uint64_t cache_bytes() const { return executor_.cache_bytes(); }

  Result<void> begin(models::OnEngine, std::int32_t slot,
                     const generate::TokenPrompt& prompt) override;
  Result<bool> encode_picture(models::OnEngine, std::int32_t slot) override;
  Result<void> prefill(models::OnEngine, const generate::Chunk& chunk) override;
  Result<void> step(models::OnEngine, std::span<const generate::StepRow> rows) override;
  std::span<const float> logits(std::int32_t row) override { return executor_.logits(row); }
  void end(models::OnEngine, std::int32_t slot) noexcept override;

 private:
  struct Slot {
    const decoder::MediaPrompt* prompt = nullptr;  // null: free
    std::vector<Features> features;                // of prompt->pictures, until prefill is done
  };

  void find_taps(const Slot& slot, const generate::Chunk& chunk);
  void find_media(const Slot& slot, std::int32_t first, std::int32_t count);

  const std::int32_t vocabulary_size_;
  LoadedDecoder loaded_;
  std::unique_ptr<Tower> tower_;
  Executor executor_;
  std::vector<Slot> slots_;

  // Of the run at hand; kept to save the allocations.
  std::vector<std::int32_t> ids_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> chosen_;
  std::vector<Segment> segments_;
  std::vector<MediaRows> media_;
  std::vector<Tap> taps_;
};

}  // namespace hearth::engine
