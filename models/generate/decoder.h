// What generate/ sees of a model: fill a slot with a prompt, then step all running slots.
//
// Implemented by fake/ (no torch) and by the families' engines. All calls are on the engine thread.
// Implementations may throw what their library throws: Batch calls them inside one guard.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/model.h"

namespace hearth::generate {

// Sampling as the contract defines it, defaults resolved.
struct Sampling {
  std::int32_t max_tokens = 512;
  double temperature = 0.0;  // 0: greedy
  std::int32_t top_k = 0;    // 0: off
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  double presence_penalty = 0.0;
  std::uint64_t seed = 0;
  std::uint32_t answer_index = 0;  // which answer of the request; keys the random numbers
  std::vector<std::string> stop;
};

// Turns ids into bytes, one token at a time. Implemented by text/tokenizer.
class TokenBytes {
 public:
  virtual ~TokenBytes() = default;
  // Raw bytes of one id; may be part of a UTF-8 character. Special tokens give an empty string.
  virtual std::string bytes_of(std::int32_t id) const = 0;
};

// What every family's Prompt carries for generate/; families derive from it and add pictures.
class TokenPrompt : public models::Prompt {
 public:
  std::vector<std::int32_t> ids;      // whole prompt, picture tokens expanded
  std::uint32_t image_tokens = 0;     // of these
  std::vector<std::int32_t> end_ids;  // generation ends at any of these
  Sampling sampling;
  std::shared_ptr<const TokenBytes> vocabulary;
  std::vector<std::string> warnings;
  double preprocess_ms = 0.0;
};

// One row of a decode step.
struct StepRow {
  std::int32_t slot = 0;
  std::int32_t token = 0;     // the last sampled id
  std::int32_t position = 0;  // index in the sequence of `token`: prompt length + answers before it
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::int32_t slots() const = 0;
  virtual std::int32_t context_tokens() const = 0;  // per slot
  virtual std::int32_t vocabulary_size() const = 0;
  virtual std::int32_t prefill_chunk_tokens() const = 0;

  // Readies `slot` for `prompt`, which outlives the slot's use.
  virtual Result<void> begin(models::OnEngine, std::int32_t slot, const TokenPrompt& prompt) = 0;
  // The vision tower over the next picture of the slot's prompt; false when none was left. One a
  // call, so that between two pictures others make their step and a cancel is seen.
  virtual Result<bool> encode_picture(models::OnEngine, std::int32_t slot) {
    static_cast<void>(slot);
    return false;
  }
  // Runs prompt.ids[first, first + count) of the slot. After the last chunk `logits(0)` is the
  // prompt's last position.
  virtual Result<void> prefill(models::OnEngine, std::int32_t slot, std::int32_t first,
                               std::int32_t count) = 0;
  // One token for each row. Afterwards `logits(i)` belongs to rows[i].
  virtual Result<void> step(models::OnEngine, std::span<const StepRow> rows) = 0;
  // fp32, [vocabulary_size]; valid until the next call.
  virtual std::span<const float> logits(std::int32_t row) = 0;
  virtual void end(models::OnEngine, std::int32_t slot) noexcept = 0;
};

}  // namespace hearth::generate
