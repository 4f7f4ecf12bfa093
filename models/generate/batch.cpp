#include "models/generate/batch.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>

namespace hearth::generate {

Batch::Batch(Decoder& decoder, ReceiptLabels labels)
    : decoder_(decoder), labels_(std::move(labels)), sampler_(decoder.vocabulary_size()) {
  rows_.reserve(static_cast<std::size_t>(decoder.slots()));
  row_owner_.reserve(static_cast<std::size_t>(decoder.slots()));
}

void Batch::submit(models::OnEngine, std::shared_ptr<models::Job> job,
                   std::unique_ptr<models::Prompt> prompt,
                   std::shared_ptr<models::Listener> listener) {
  std::unique_ptr<TokenPrompt> tokens(static_cast<TokenPrompt*>(prompt.release()));
  sequences_.push_back(std::make_unique<Sequence>(std::move(job), std::move(tokens),
                                                  std::move(listener), decoder_.vocabulary_size()));
}

Result<bool> Batch::advance(models::OnEngine on) {
  if (!lost_) {
    end_cancelled(on);
    if (!prefill_one(on) && !encode_one(on)) admit_one(on);
    step_all(on);
  }
  if (lost_) return fail_all(on);
  drop_ended();
  return !sequences_.empty();
}

// Every call to the decoder goes through here: what it throws becomes a coded error, and a lost
// device is remembered.
template <class Call>
auto Batch::guarded(Call&& call) -> decltype(call()) {
  try {
    return call();
  } catch (...) {
    models::Fault fault = models::describe(std::current_exception());
    if (fault.device_lost) lost_ = std::make_unique<Error>(fault.error);
    return std::move(fault.error);
  }
}

void Batch::end_cancelled(models::OnEngine on) {
  for (const auto& sequence : sequences_)
    if (sequence->cancelled())
      fail(on, *sequence, hearth::fail(Code::kCancelled, "The request was cancelled."));
  drop_ended();
}

std::int32_t Batch::free_slot() const {
  for (std::int32_t slot = 0; slot < decoder_.slots(); ++slot) {
    const bool taken = std::any_of(sequences_.begin(), sequences_.end(),
                                   [&](const auto& sequence) { return sequence->slot == slot; });
    if (!taken) return slot;
  }
  return -1;
}

Sequence* Batch::first_in(Stage stage) const {
  const auto found = std::find_if(sequences_.begin(), sequences_.end(),
                                  [&](const auto& sequence) { return sequence->stage == stage; });
  return found == sequences_.end() ? nullptr : found->get();
}

void Batch::admit_one(models::OnEngine on) {
  Sequence* sequence = first_in(Stage::kQueued);
  const std::int32_t slot = free_slot();
  if (sequence == nullptr || slot < 0) return;
  sequence->slot = slot;
  sequence->timeline().begin_started();
  const auto begun = guarded([&] {
    sequence->reserve_hidden();
    return decoder_.begin(on, slot, sequence->prompt());
  });
  sequence->timeline().begin_finished();
  if (!begun) return fail(on, *sequence, begun.error());
  const std::uint32_t image_tokens = sequence->prompt().image_tokens;
  sequence->stage = image_tokens > 0 ? Stage::kVision : Stage::kPrefill;
  if (image_tokens > 0) sequence->report("vision", 0, image_tokens);
}

// Returns whether a sequence was waiting for its pictures.
bool Batch::encode_one(models::OnEngine on) {
  Sequence* sequence = first_in(Stage::kVision);
  if (sequence == nullptr) return false;
  const auto encoded = guarded([&] { return decoder_.encode_picture(on, sequence->slot); });
  sequence->timeline().begin_finished();
  if (!encoded) {
    fail(on, *sequence, encoded.error());
  } else if (!*encoded) {
    sequence->stage = Stage::kPrefill;
  }
  return true;
}

// Returns whether there was a chunk to run.
bool Batch::prefill_one(models::OnEngine on) {
  Sequence* sequence = first_in(Stage::kPrefill);
  if (sequence == nullptr) return false;
  const std::int32_t total = sequence->prompt_tokens();
  const std::int32_t count = std::min(decoder_.prefill_chunk_tokens(), total - sequence->prefilled);
  const auto filled = guarded([&] { return run_chunk(on, *sequence, count); });
  if (!filled) {
    fail(on, *sequence, filled.error());
    return true;
  }
  sequence->prefilled += count;
  sequence->report("prefill", sequence->prefilled, total);
  if (sequence->prefilled < total) return true;
  if (sequence->hidden() != nullptr) {
    release(on, *sequence);
    sequence->finish_encoding(labels_);
    return true;
  }
  sequence->stage = Stage::kDecode;
  sample(on, *sequence, 0);
  return true;
}

Result<void> Batch::run_chunk(models::OnEngine on, Sequence& sequence, std::int32_t count) {
  Chunk chunk{sequence.slot, sequence.prefilled, count, {}};
  HiddenStates* hidden = sequence.hidden();
  if (hidden == nullptr) return decoder_.prefill(on, chunk);
  chunk.hidden = hidden->rows(chunk.first, chunk.count);
  CHECK_OK(decoder_.prefill(on, chunk));
  return hidden->check_rows();
}

void Batch::step_all(models::OnEngine on) {
  rows_.clear();
  row_owner_.clear();
  for (const auto& sequence : sequences_) {
    if (sequence->stage != Stage::kDecode) continue;
    rows_.push_back(sequence->next_row());
    row_owner_.push_back(sequence.get());
  }
  if (rows_.empty() || lost_) return;
  const auto stepped = guarded([&] { return decoder_.step(on, rows_); });
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    if (stepped)
      sample(on, *row_owner_[row], static_cast<std::int32_t>(row));
    else
      fail(on, *row_owner_[row], stepped.error());
  }
}

void Batch::sample(models::OnEngine on, Sequence& sequence, std::int32_t row) {
  const auto logits = guarded([&] { return Result(decoder_.logits(row)); });
  if (!logits) return fail(on, sequence, logits.error());
  const std::int32_t step = sequence.answer_tokens();
  if (!all_finite(*logits))
    return fail(on, sequence,
                hearth::fail(Code::kNotFinite,
                             fmt::format("The logits of answer token {} are not finite.", step)));
  const Sampling& sampling = sequence.prompt().sampling;
  const std::int32_t id =
      sampler_.pick(*logits, sampling, sequence.history(), static_cast<std::uint32_t>(step));
  const bool complete = sequence.accept(id);
  sequence.report("decode", sequence.answer_tokens(), sampling.max_tokens);
  if (!complete) return;
  release(on, sequence);
  sequence.finish(labels_);
}

void Batch::fail(models::OnEngine on, Sequence& sequence, Error error) {
  release(on, sequence);
  sequence.fail(std::move(error));
}

// Before the listener hears of the end: whoever waits for it may count on the slot's being free.
void Batch::release(models::OnEngine on, Sequence& sequence) {
  if (sequence.slot >= 0) decoder_.end(on, sequence.slot);
  sequence.slot = -1;
}

void Batch::drop_ended() {
  std::erase_if(sequences_, [](const auto& sequence) { return sequence->stage == Stage::kDone; });
}

Error Batch::fail_all(models::OnEngine on) {
  for (const auto& sequence : sequences_)
    if (sequence->stage != Stage::kDone) fail(on, *sequence, *lost_);
  sequences_.clear();
  return *lost_;
}

}  // namespace hearth::generate
