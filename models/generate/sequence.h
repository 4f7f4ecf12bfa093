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

#include "models/generate/answer_group.h"
#include "models/generate/answer_text.h"
#include "models/generate/beams.h"
#include "models/generate/guide.h"
#include "models/generate/hidden_states.h"
#include "models/generate/lease.h"
#include "models/generate/page_chain.h"
#include "models/generate/timeline.h"
#include "models/model.h"

namespace hearth::generate {

enum class Stage { kQueued, kVision, kPrefill, kDecode, kDone };

class Sequence {
 public:
  // Answer `number` of the group, or all of its answers where they come of a beam search.
  Sequence(std::shared_ptr<AnswerGroup> group, std::uint32_t number, PageChain chain);

  AnswerGroup& group() { return *group_; }
  const AnswerGroup& group() const { return *group_; }
  std::uint32_t number() const { return number_; }
  const TokenPrompt& prompt() const { return group_->prompt(); }
  const PageChain& chain() const { return chain_; }
  Timeline& timeline() { return timeline_; }
  std::int32_t prompt_tokens() const { return static_cast<std::int32_t>(prompt().ids.size()); }
  std::int32_t answer_tokens() const { return static_cast<std::int32_t>(answer_ids_.size()); }

  // Whether steps remain to be begun. The first token needs none: the prompt's end draws it.
  bool needs_steps() const {
    return stage == Stage::kDecode && steps + 1 < prompt().sampling.max_tokens;
  }
  // Whether its prompt is being computed, for the prefix cache too.
  bool fills_cache() const {
    return (stage == Stage::kVision || stage == Stage::kPrefill) && !prompt().taps;
  }
  // Lets the chain go on with the answer's tokens that were computed on: all but the last.
  void chain_answer();

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

  // Hands what it made to the group.
  void finish(const ReceiptLabels& labels);
  void finish_beams(const ReceiptLabels& labels);
  void finish_encoding(const ReceiptLabels& labels);

  Stage stage = Stage::kQueued;
  Lease lease;
  std::int64_t deadline = 0;   // of its prompt: see PrefillOrder
  std::int32_t overtaken = 0;  // times another was admitted while this one did not fit
  std::int32_t prefilled = 0;  // prompt tokens in the slot
  std::int32_t steps = 0;      // decode steps begun
  Reuse reuse;
  std::uint64_t step_bytes = 0;  // that its last step read
  std::unique_ptr<Beams> beams;  // null: it draws its tokens

 private:
  void show(Shown shown);
  void remark();
  bool is_end(std::int32_t id) const;
  AnswerTimes times(const ReceiptLabels& labels) const;

  const std::shared_ptr<AnswerGroup> group_;
  const std::uint32_t number_;
  PageChain chain_;
  Timeline timeline_;
  std::unique_ptr<HiddenStates> hidden_;
  std::optional<Guide> guide_;
  AnswerText answer_;
  std::vector<std::int32_t> answer_ids_;
  std::string text_;      // all that was streamed of the text
  std::string thinking_;  // and of the thoughts
  std::string_view stop_reason_;
};

}  // namespace hearth::generate
