// One answer or encoding in the making: its stage, its ids, its text or hidden states and its
// times. Moved by Batch only.
//
// Threads: engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/generate/answer_text.h"
#include "models/generate/decoder.h"
#include "models/generate/guide.h"
#include "models/generate/hidden_states.h"
#include "models/generate/page_chain.h"
#include "models/generate/timeline.h"
#include "models/model.h"

namespace hearth::generate {

enum class Stage { kQueued, kVision, kPrefill, kDecode, kDone };

// A sequence's place in the decoder, lent by Admission.
struct Lease {
  std::int32_t slot = -1;           // -1: holds none
  std::uint32_t number = 0;         // Place::sequence
  std::vector<std::int32_t> pages;  // for prompt and answer, in order
  std::int32_t cached_tokens = 0;   // of the prompt, in the first pages from the start
  std::int32_t kept_pages = 0;      // whole pages that the prefix cache has seen
  PageCopy copy;                    // until it is made
};

class Sequence {
 public:
  Sequence(std::shared_ptr<models::Job> job, std::unique_ptr<TokenPrompt> prompt,
           std::shared_ptr<models::Listener> listener, PageChain chain);

  const TokenPrompt& prompt() const { return *prompt_; }
  const PageChain& chain() const { return chain_; }
  Timeline& timeline() { return timeline_; }
  bool cancelled() const { return job_->cancelled.load(std::memory_order_relaxed); }
  std::int32_t prompt_tokens() const { return static_cast<std::int32_t>(prompt_->ids.size()); }
  std::int32_t answer_tokens() const { return static_cast<std::int32_t>(answer_ids_.size()); }

  // Whether steps remain to be begun. The first token needs none: the prompt's end draws it.
  bool needs_steps() const {
    return stage == Stage::kDecode && steps + 1 < prompt_->sampling.max_tokens;
  }
  // Whether its prompt is being computed, for the prefix cache too.
  bool fills_cache() const {
    return (stage == Stage::kVision || stage == Stage::kPrefill) && !prompt_->taps;
  }
  // Lets the chain go on with the answer's tokens that were computed on: all but the last.
  void chain_answer();

  // Tells the listener, at most ten times a second for each stage.
  void report(std::string_view stage, std::int64_t done, std::int64_t total);

  // Decides before each draw what may be drawn; null: anything.
  Guide* guide() { return guide_ ? &*guide_ : nullptr; }
  // The decoder's vocabulary, before the first draw.
  void begin_answer(std::int32_t vocabulary_size);
  // Takes a sampled id: streams what it completes and applies the stop rules. True when the answer
  // is complete. Errors: as Guide::accept.
  Result<bool> accept(std::int32_t id);

  // Makes room for what the prompt's taps give, if it has any. Throws std::bad_alloc.
  void reserve_hidden();
  HiddenStates* hidden() { return hidden_.get(); }  // null without taps

  // Each is the last call to the listener.
  void finish(const ReceiptLabels& labels);
  void finish_encoding(const ReceiptLabels& labels);
  void fail(Error error);

  Stage stage = Stage::kQueued;
  Lease lease;
  std::int64_t deadline = 0;   // of its prompt: see PrefillOrder
  std::int32_t overtaken = 0;  // times another was admitted while this one did not fit
  std::int32_t prefilled = 0;  // prompt tokens in the slot
  std::int32_t steps = 0;      // decode steps begun
  Reuse reuse;
  std::uint64_t step_bytes = 0;  // that its last step read

 private:
  void show(Shown shown);
  std::vector<std::string> remarks() const;
  bool is_end(std::int32_t id) const;

  std::shared_ptr<models::Job> job_;
  std::unique_ptr<TokenPrompt> prompt_;
  std::shared_ptr<models::Listener> listener_;
  PageChain chain_;
  Timeline timeline_;
  std::unique_ptr<HiddenStates> hidden_;
  std::optional<Guide> guide_;
  AnswerText answer_;
  std::vector<std::int32_t> answer_ids_;
  std::string text_;      // all that was streamed of the text
  std::string thinking_;  // and of the thoughts
  std::string_view stop_reason_;
  std::string_view reported_stage_;
  models::Clock::time_point reported_at_;
};

}  // namespace hearth::generate
