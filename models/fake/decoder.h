// The fake model's arithmetic: logits that name the next byte of the answer, and faults on request.
//
// Keeps what it was fed and refuses a chunk or a step out of order, so that a mistake of the batch
// loop shows here. Engine thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "models/fake/prompt.h"
#include "models/generate/decoder.h"

namespace hearth::fake {

// Waits, in small steps that look at `cancelled` when there is one.
void wait(std::chrono::milliseconds duration, const std::atomic<bool>* cancelled = nullptr);

// Throws, aborts or never returns, as asked; kNan and kInfinite are the logits' business.
void act(Fault fault, std::string_view where);

class Decoder : public generate::Decoder {
 public:
  Decoder(const Config& config, std::int32_t slots);

  std::int32_t slots() const override { return static_cast<std::int32_t>(slots_.size()); }
  std::int32_t context_tokens() const override { return config_.context_tokens; }
  std::int32_t vocabulary_size() const override { return kVocabularySize; }
  std::int32_t prefill_chunk_tokens() const override { return config_.prefill_chunk_tokens; }

  Result<void> begin(models::OnEngine, std::int32_t slot,
                     const generate::TokenPrompt& prompt) override;
  Result<void> prefill(models::OnEngine, const generate::Chunk& chunk) override;
  Result<void> step(models::OnEngine, std::span<const generate::StepRow> rows) override;
  std::span<const float> logits(std::int32_t row) override;
  void end(models::OnEngine, std::int32_t slot) noexcept override;

  std::uint64_t resident_bytes() const;

 private:
  struct Slot {
    const Prompt* prompt = nullptr;  // null: free
    std::vector<std::int32_t> ids;   // what was fed
  };

  void write_logits(std::int32_t row, const Slot& slot, Fault fault);

  const Config config_;
  std::vector<Slot> slots_;
  std::vector<float> logits_;  // [rows, kVocabularySize]
};

}  // namespace hearth::fake
