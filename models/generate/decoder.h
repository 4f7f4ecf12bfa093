// What generate/ sees of a model: fill a slot with a prompt, then step all running slots.
//
// Implemented by fake/ (no torch) and by the families' engines. All calls are on the engine thread.
// Implementations may throw what their library throws: Batch calls them inside one guard.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/model.h"
#include "shm/tensor.h"

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

// The hidden states that an encode request wants of its prompt. They are counted as in
// transformers' output_hidden_states: 0 is what the first decoder layer reads, pictures' features
// placed; i is the residual stream as decoder layer i - 1 (from 0) leaves it; the last one, in the
// place of what the last layer leaves, is the final norm. transformers (5.23) records a layer's
// output before a DeepStack level is added to it, so at picture tokens state i is not yet what
// layer i reads; the final norm has seen every level.
struct Taps {
  std::vector<std::int32_t> states;  // none negative; in the order wanted, one may come twice
  DType dtype = DType::kF32;         // of the result: f32, f16 or bf16
  std::int64_t width = 0;            // elements of one token's hidden state
};

// What every family's Prompt carries for generate/; families derive from it and add pictures.
class TokenPrompt : public models::Prompt {
 public:
  std::vector<std::int32_t> ids;      // whole prompt, picture tokens expanded
  std::uint32_t image_tokens = 0;     // of these
  std::vector<std::int32_t> end_ids;  // generation ends at any of these
  Sampling sampling;
  std::optional<Taps> taps;  // an encode request: ends with the prompt, nothing is sampled
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

// Tokens [first, first + count) of the prompt of a slot.
struct Chunk {
  std::int32_t slot = 0;
  std::int32_t first = 0;
  std::int32_t count = 0;
  // Of a prompt with taps: hidden[i] takes taps.states[i], dense. [count, taps.width] in taps.dtype
  std::span<const std::span<std::byte>> hidden;
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
  // Runs a chunk, in order. After the last one `logits(0)` is the prompt's last position, unless
  // the prompt has taps: nobody asks for logits then.
  virtual Result<void> prefill(models::OnEngine, const Chunk& chunk) = 0;
  // One token for each row. Afterwards `logits(i)` belongs to rows[i].
  virtual Result<void> step(models::OnEngine, std::span<const StepRow> rows) = 0;
  // fp32, [vocabulary_size]; valid until the next call.
  virtual std::span<const float> logits(std::int32_t row) = 0;
  virtual void end(models::OnEngine, std::int32_t slot) noexcept = 0;
};

}  // namespace hearth::generate
