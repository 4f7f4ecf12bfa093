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

namespace hearth::grammar {
class Grammar;
}

namespace hearth::generate {

// Sampling as the contract defines it, defaults resolved.
struct Sampling {
  std::int32_t max_tokens = 512;
  double temperature = 0.0;  // 0: greedy
  std::int32_t top_k = 0;    // 0: off
  double top_p = 1.0;
  double min_p = 0.0;
  double typical_p = 1.0;
  double repetition_penalty = 1.0;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::int32_t no_repeat_ngram = 0;  // 0: off
  std::int32_t answers = 1;
  std::int32_t beams = 1;  // 1: no beam search; else at least `answers`
  double length_penalty = 1.0;
  bool early_stopping = false;  // of beam search; requests search on while a better one is possible
  std::int32_t thinking_tokens = 0;  // most tokens of thoughts; 0: no limit
  std::uint64_t seed = 0;
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

// 128 bits of a content: equal content, equal hash.
struct ContentHash {
  std::uint64_t low = 0, high = 0;
  friend bool operator==(const ContentHash&, const ContentHash&) = default;
};

// Tokens [first, first + count) of a prompt stand for a picture (or a video) with this content. The
// hash covers everything that its features depend on: pixels as the tower sees them and their grid.
struct MediaKey {
  std::int32_t first = 0;
  std::int32_t count = 0;
  ContentHash content;
};

// How an answer's thoughts are told from its text, and closed.
struct ThoughtTokens {
  std::int32_t begin = -1;  // <think>; -1: the model has no such token, and no thoughts
  std::int32_t end = -1;    // </think>
  bool opened = false;      // the prompt has opened them: the answer begins within
  bool expected = false;    // the model may begin them itself, though a grammar begins the text
  std::vector<std::int32_t> new_line;    // "\n"
  std::vector<std::int32_t> empty_line;  // "\n\n"
};

// What every family's Prompt carries for generate/; families derive from it and add pictures.
class TokenPrompt : public models::Prompt {
 public:
  std::vector<std::int32_t> ids;            // whole prompt, picture tokens expanded
  std::uint32_t image_tokens = 0;           // of these
  std::vector<MediaKey> media;              // in order, not overlapping
  std::vector<contract::SeenPicture> seen;  // pictures and videos, in the order of their parts
  std::string coordinates = "none";         // of Generated
  std::vector<std::int32_t> end_ids;        // generation ends at any of these
  Sampling sampling;
  ThoughtTokens thoughts;
  std::shared_ptr<const grammar::Grammar> grammar;  // that the text follows; may be null
  std::optional<Taps> taps;  // an encode request: ends with the prompt, nothing is sampled
  std::shared_ptr<const TokenBytes> vocabulary;
  std::vector<std::string> warnings;
  double preprocess_ms = 0.0;
};

// Where a sequence lives in the decoder.
struct Place {
  std::int32_t slot = 0;
  std::uint32_t sequence = 0;           // number of it, given back with each sampled token
  std::span<const std::int32_t> pages;  // for prompt and answer, in order; valid until end()
  std::int32_t cached_tokens = 0;       // in the first pages already; < all of the prompt
  std::uint32_t answer = 0;             // which answer of the request; keys the random numbers
};

// A page whose first `tokens` tokens are copied from another page before the prefill: the two
// sequences part within it.
struct PageCopy {
  std::int32_t from = -1;
  std::int32_t to = -1;
  std::int32_t tokens = 0;
};

// Tokens [first, first + count) of the prompt of a slot.
struct Chunk {
  std::int32_t slot = 0;
  std::int32_t first = 0;
  std::int32_t count = 0;
  // Of a prompt with taps: hidden[i] takes taps.states[i], dense. [count, taps.width] in taps.dtype
  std::span<const std::span<std::byte>> hidden;
};

// A token that a step, or the end of a prefill, has drawn.
struct Sampled {
  std::uint32_t sequence = 0;  // of the Place; may have ended meanwhile: then the token is nobody's
  std::int32_t slot = 0;
  std::int32_t token = 0;
  bool finite = true;  // false: the logits held NaN or infinity; there is no token
};

// How large the caches are and how they have served. Bytes are the device's.
struct CacheUse {
  std::string name;  // "prefix", "vision"
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t budget_bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::int32_t slots() const = 0;
  virtual std::int32_t context_tokens() const = 0;  // the most one sequence can have
  virtual std::int32_t vocabulary_size() const = 0;
  virtual std::int32_t prefill_chunk_tokens() const = 0;
  virtual std::int32_t page_tokens() const = 0;
  virtual std::int32_t pages() const = 0;  // shared by all slots
  virtual std::uint64_t page_bytes() const = 0;
  // Whether a sequence may begin with pages that another one has filled. If not,
  // Place.cached_tokens is always 0.
  virtual bool reuses_prefixes() const { return true; }

  // Readies a slot for `prompt`, which outlives the slot's use, and its sampling.
  virtual Result<void> begin(models::OnEngine, const Place& place, const PageCopy& copy,
                             const TokenPrompt& prompt) = 0;
  // The vision tower over the next picture of the slot's prompt that is not cached; false when none
  // was left. One a call, so that between two pictures others make their step and a cancel is seen.
  virtual Result<bool> encode_picture(models::OnEngine, std::int32_t slot) {
    static_cast<void>(slot);
    return false;
  }
  // Of the prompt's image tokens, those whose features are there or are not needed.
  virtual std::int32_t seen_tokens(std::int32_t slot) const {
    static_cast<void>(slot);
    return 0;
  }
  // Pictures of the slot's prompt whose features came from the cache, or were not needed because
  // the prefix cache held their tokens.
  virtual std::int32_t cached_pictures(std::int32_t slot) const {
    static_cast<void>(slot);
    return 0;
  }
  // From the slot's next draw on only tokens of the mask are drawn: token t where bit t % 32 of
  // word t / 32 is set, which at least one is. Empty: any token, as after begin(). The mask is
  // copied.
  virtual Result<void> set_mask(models::OnEngine, std::int32_t slot,
                                std::span<const std::uint32_t> mask) = 0;
  // Runs a chunk, in order, from cached_tokens on. The last one draws the answer's first token,
  // unless the prompt has taps.
  virtual Result<void> prefill(models::OnEngine, const Chunk& chunk) = 0;
  // Begins one step of these slots: each feeds its last token and draws the next. May return before
  // the step is computed; a slot that has drawn its last token is skipped.
  virtual Result<void> step(models::OnEngine, std::span<const std::int32_t> slots) = 0;
  // What has been drawn since the last call, in order. Waits until no more than `in_flight` steps
  // are still being computed. Valid until the next call of anything.
  virtual Result<std::span<const Sampled>> collect(models::OnEngine, std::int32_t in_flight) = 0;
  virtual void end(models::OnEngine, std::int32_t slot) noexcept = 0;
  // Memory that one step of one sequence reads with so many tokens in its pages: weights, keys and
  // values. 0: unknown.
  virtual std::uint64_t step_bytes(std::int32_t tokens) const {
    static_cast<void>(tokens);
    return 0;
  }

  // What beam search needs. While these are called nothing is in flight.
  //
  // The logits that were last drawn from: of row 0 after the last chunk of a prompt, of row i of
  // the last step's slots. Waits for them. [vocabulary_size()]
  virtual Result<void> read_logits(models::OnEngine, std::int32_t row, std::span<float> logits) = 0;
  // Slot `to.slot`, free or not, goes on as slot `from` does: same prompt, same tokens so far, same
  // state of whatever the model keeps for a slot. to.pages hold to.cached_tokens tokens: whole
  // pages are `from`'s own, of the last one its beginning is copied first.
  virtual Result<void> fork(models::OnEngine, std::int32_t from, const Place& to,
                            const PageCopy& copy) = 0;
  // The next step of the slot feeds `token` in place of the one that was drawn.
  virtual Result<void> choose(models::OnEngine, std::int32_t slot, std::int32_t token) = 0;
  // Caches of the decoder's own; the prefix cache is Batch's.
  virtual std::vector<CacheUse> caches() const { return {}; }
};

}  // namespace hearth::generate
