// The one loop that makes tokens and hidden states, whatever the family.
//
// A family's model owns a Decoder and a Batch over it and hands its calls down:
//
//   void submit(OnEngine on, ...) override { batch_.submit(on, std::move(job), ...); }
//   Result<bool> advance(OnEngine on) override { return batch_.advance(on); }
//
// A sequence goes queued -> vision -> prefill (chunks) -> decode -> done, and only Batch moves it.
// An encoding goes the same way without decode: its taps are filled chunk by chunk.
// Sampling, stop rules, streaming, cancellation, faults and the receipt are all in here; a Decoder
// only fills slots and returns logits.
//
// Ownership: the Batch owns its sequences (prompt, listener, slot); the Decoder is borrowed and
// must outlive it. Threads: made anywhere, used on the engine thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/generate/decoder.h"
#include "models/generate/sampling.h"
#include "models/generate/sequence.h"
#include "models/model.h"

namespace hearth::generate {

class Batch {
 public:
  // `decoder` is borrowed. `labels`: what the receipt says of device and arithmetic type.
  Batch(Decoder& decoder, ReceiptLabels labels);
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // `prompt` must be a TokenPrompt (or derive from it). The sequence waits until a slot is free.
  void submit(models::OnEngine, std::shared_ptr<models::Job> job,
              std::unique_ptr<models::Prompt> prompt, std::shared_ptr<models::Listener> listener);

  // Ends cancelled sequences, then at most one prefill chunk, picture or begin, then one decode
  // step for all running sequences. Returns whether sequences remain. Errors: only when the device
  // is lost; every sequence has been failed by then.
  Result<bool> advance(models::OnEngine);

 private:
  using Sequences = std::vector<std::unique_ptr<Sequence>>;

  template <class Call>
  auto guarded(Call&& call) -> decltype(call());
  Sequence* first_in(Stage stage) const;
  std::int32_t free_slot() const;
  void end_cancelled(models::OnEngine);
  bool prefill_one(models::OnEngine);
  Result<void> run_chunk(models::OnEngine, Sequence& sequence, std::int32_t count);
  bool encode_one(models::OnEngine);
  void admit_one(models::OnEngine);
  void step_all(models::OnEngine);
  void sample(models::OnEngine, Sequence& sequence, std::int32_t row);
  void fail(models::OnEngine, Sequence& sequence, Error error);
  void release(models::OnEngine, Sequence& sequence);
  void drop_ended();
  Error fail_all(models::OnEngine);

  Decoder& decoder_;
  ReceiptLabels labels_;
  Sampler sampler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
  std::vector<StepRow> rows_;         // of the step at hand; kept to save the allocation
  std::vector<Sequence*> row_owner_;  // rows_[i] belongs to row_owner_[i]
  std::unique_ptr<Error> lost_;       // set once the device is lost
};

}  // namespace hearth::generate
