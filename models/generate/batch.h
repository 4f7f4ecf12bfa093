// The one loop that makes tokens and hidden states, whatever the family.
//
// A family's model owns a Decoder and a Batch over it and hands its calls down:
//
//   void submit(OnEngine on, ...) override { batch_.submit(on, std::move(job), ...); }
//   Result<bool> advance(OnEngine on) override { return batch_.advance(on); }
//   std::vector<contract::CacheEntry> caches(OnEngine on) const override { return
//   batch_.caches(on); }
//
// A sequence goes queued -> vision -> prefill (chunks) -> decode -> done, and only Batch moves it.
// An encoding goes the same way without decode: its taps are filled chunk by chunk. All sequences
// that decode make their steps together; who comes in between is admission.h's and
// prefill_order.h's business.
//
// A step may still be computed when the next one begins: so a token is heard of one step late, and
// a sequence that a stop string ended may draw one token too many, which nobody takes. While a
// sequence has a Guide, whose mask follows from the last token, or searches with beams, a step
// begins when the last one was heard of, for all sequences: the device waits for the host.
//
// Ownership: the Batch owns its sequences (prompt, listener, slot, pages); the Decoder is borrowed
// and must outlive it. Threads: made anywhere, used on the engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/generate/admission.h"
#include "models/generate/decoder.h"
#include "models/generate/prefill_order.h"
#include "models/generate/sequence.h"
#include "models/model.h"

namespace hearth::generate {

class Batch {
 public:
  // `decoder` is borrowed. `labels`: what the receipt says of device and arithmetic type.
  Batch(Decoder& decoder, ReceiptLabels labels);
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // `prompt` must be a TokenPrompt (or derive from it). A request of several answers is as many
  // sequences, which go on as one by one finds room; a beam search is one sequence of many slots.
  // A sequence waits until its slots and pages are free; one that can never have them fails at once
  // with out_of_memory or unsupported. What fails one answer fails its request.
  void submit(models::OnEngine, std::shared_ptr<models::Job> job,
              std::unique_ptr<models::Prompt> prompt, std::shared_ptr<models::Listener> listener);

  // Ends cancelled sequences, admits those that fit, then at most one prefill chunk or picture,
  // then one decode step for all running sequences. Returns whether sequences remain. Errors: only
  // when the device is lost; every sequence has been failed by then.
  Result<bool> advance(models::OnEngine);

  // The decoder's memory is about to leave: nothing of it is cached any more. Errors: busy while
  // sequences remain.
  Result<void> forget_cached(models::OnEngine);

  // The prefix cache and the decoder's own.
  std::vector<contract::CacheEntry> caches(models::OnEngine) const;

  const PagePool& pages() const { return admission_.pool(); }

 private:
  template <class Call>
  auto guarded(Call&& call) -> decltype(call());
  void open(std::shared_ptr<AnswerGroup> group, std::unique_ptr<Beams> beams, PageChain chain);
  void end_cancelled(models::OnEngine);
  void admit_all(models::OnEngine);
  void begin(models::OnEngine, Sequence& sequence);
  void prefill_one(models::OnEngine);
  bool encode_one(models::OnEngine, Sequence& sequence);
  Result<void> run_chunk(models::OnEngine, Sequence& sequence, std::int32_t count);
  void finish_prompt(models::OnEngine, Sequence& sequence);
  void step_all(models::OnEngine);
  void guide_all(models::OnEngine);
  Result<void> guide(models::OnEngine, Sequence& sequence);
  bool enter_step();
  void advance_beams(models::OnEngine, Sequence& sequence);
  void collect(models::OnEngine, std::int32_t in_flight);
  void take(models::OnEngine, const Sampled& sampled);
  void fail(models::OnEngine, Sequence& sequence, Error error);
  void end_group(models::OnEngine, AnswerGroup& group, Error error);
  void fail_decoding(models::OnEngine, const Error& error);
  void release(models::OnEngine, Sequence& sequence);
  void drop_ended();
  Error fail_all(models::OnEngine);

  Decoder& decoder_;
  ReceiptLabels labels_;
  Admission admission_;
  PrefillOrder order_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
  std::vector<std::int32_t> slots_;  // of the step at hand; kept to save the allocation
  std::vector<Sampled> sampled_;     // what collect() gave; likewise
  std::unique_ptr<Error> lost_;      // set once the device is lost
};

}  // namespace hearth::generate
