#include "models/generate/batch.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>

namespace hearth::generate {
namespace {

// Steps that may still be computed when the loop goes on: with one, the next is begun meanwhile and
// the device never waits for the host.
constexpr std::int32_t kStepsInFlight = 1;

bool decodes(const std::unique_ptr<Sequence>& sequence) {
  return sequence->stage == Stage::kDecode;
}

contract::CacheEntry entry_of(CacheUse use) {
  contract::CacheEntry entry;
  entry.name = std::move(use.name);
  entry.entries = use.entries;
  entry.bytes = use.bytes;
  entry.budget_bytes = use.budget_bytes;
  entry.hits = use.hits;
  entry.misses = use.misses;
  return entry;
}

}  // namespace

Batch::Batch(Decoder& decoder, ReceiptLabels labels)
    : decoder_(decoder),
      labels_(std::move(labels)),
      admission_(decoder),
      order_(decoder.prefill_chunk_tokens()) {
  slots_.reserve(static_cast<std::size_t>(decoder.slots()));
}

void Batch::submit(models::OnEngine, std::shared_ptr<models::Job> job,
                   std::unique_ptr<models::Prompt> prompt,
                   std::shared_ptr<models::Listener> listener) {
  std::unique_ptr<TokenPrompt> tokens(static_cast<TokenPrompt*>(prompt.release()));
  auto fits = admission_.check(*tokens);
  if (!fits) return listener->failed(std::move(fits).error());
  PageChain chain = admission_.chain(job->user, *tokens);
  std::unique_ptr<Beams> beams;
  if (tokens->sampling.beams > 1) beams = std::make_unique<Beams>(*tokens);
  open(std::make_shared<AnswerGroup>(std::move(job), std::move(tokens), std::move(listener)),
       std::move(beams), std::move(chain));
}

void Batch::open(std::shared_ptr<AnswerGroup> group, std::unique_ptr<Beams> beams,
                 PageChain chain) {
  const Sampling& sampling = group->prompt().sampling;
  const std::int32_t sequences = beams != nullptr ? 1 : sampling.answers;
  for (std::int32_t number = 0; number < sequences; ++number)
    sequences_.push_back(
        std::make_unique<Sequence>(group, static_cast<std::uint32_t>(number), chain));
  sequences_.back()->beams = std::move(beams);
}

Result<bool> Batch::advance(models::OnEngine on) {
  if (!lost_) {
    end_cancelled(on);
    admit_all(on);
    prefill_one(on);
    step_all(on);
  }
  if (lost_) return fail_all(on);
  drop_ended();
  return !sequences_.empty();
}

Result<void> Batch::forget_cached(models::OnEngine) {
  if (!sequences_.empty())
    return hearth::fail(Code::kBusy,
                        fmt::format("the model has {} open requests", sequences_.size()));
  admission_.forget_cached();
  return {};
}

std::vector<contract::CacheEntry> Batch::caches(models::OnEngine) const {
  std::vector<contract::CacheEntry> entries = {entry_of(admission_.use())};
  for (CacheUse& use : decoder_.caches()) entries.push_back(entry_of(std::move(use)));
  return entries;
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
  for (const auto& sequence : sequences_) {
    if (sequence->stage != Stage::kDone && sequence->group().cancelled())
      end_group(on, sequence->group(),
                hearth::fail(Code::kCancelled, "The request was cancelled."));
  }
  drop_ended();
}

void Batch::admit_all(models::OnEngine on) {
  while (!lost_) {
    Sequence* sequence = admission_.next(sequences_);
    if (sequence == nullptr) return;
    begin(on, *sequence);
  }
}

void Batch::begin(models::OnEngine on, Sequence& sequence) {
  const Lease& lease = sequence.lease;
  const Place place{lease.slot, lease.number, lease.pages, lease.cached_tokens, sequence.number()};
  sequence.timeline().begin_started();
  models::enter_phase(models::Phase::kPrefill);
  const auto begun = guarded([&] {
    sequence.reserve_hidden();
    sequence.begin_answer(decoder_.vocabulary_size());
    return decoder_.begin(on, place, lease.copy, sequence.prompt());
  });
  sequence.timeline().begin_finished();
  if (!begun) return fail(on, sequence, begun.error());
  admission_.copied(sequence);
  sequence.prefilled = sequence.reuse.tokens = lease.cached_tokens;
  order_.enter(sequence);
  const std::uint32_t image_tokens = sequence.prompt().image_tokens;
  sequence.stage = image_tokens > 0 ? Stage::kVision : Stage::kPrefill;
  if (image_tokens > 0) sequence.group().report("vision", 0, image_tokens);
}

// The next picture or chunk of the prompt whose turn it is.
void Batch::prefill_one(models::OnEngine on) {
  Sequence* sequence = PrefillOrder::next(sequences_);
  if (sequence == nullptr || lost_) return;
  if (sequence->stage == Stage::kVision && encode_one(on, *sequence)) return;
  const std::int32_t total = sequence->prompt_tokens();
  const bool shared = std::any_of(sequences_.begin(), sequences_.end(), decodes);
  const std::int32_t count = order_.chunk(*sequence, shared);
  models::enter_phase(models::Phase::kPrefill);
  const auto filled = guarded([&]() -> Result<void> {
    if (sequence->prefilled + count == total) CHECK_OK(guide(on, *sequence));
    return run_chunk(on, *sequence, count);
  });
  if (!filled) return fail(on, *sequence, filled.error());
  order_.computed(count);
  sequence->prefilled += count;
  admission_.keep(*sequence, sequence->prefilled);
  sequence->group().report("prefill", sequence->prefilled, total);
  if (sequence->prefilled == total) finish_prompt(on, *sequence);
}

// Returns whether the turn is over: a picture was looked at, or could not be.
bool Batch::encode_one(models::OnEngine on, Sequence& sequence) {
  models::enter_phase(models::Phase::kVision);
  const auto encoded = guarded([&] { return decoder_.encode_picture(on, sequence.lease.slot); });
  if (!encoded) {
    fail(on, sequence, encoded.error());
    return true;
  }
  if (!*encoded) {
    sequence.stage = Stage::kPrefill;
    return false;
  }
  sequence.timeline().begin_finished();
  const std::int32_t seen = decoder_.seen_tokens(sequence.lease.slot);
  sequence.group().report("vision", seen, sequence.prompt().image_tokens);
  return true;
}

Result<void> Batch::run_chunk(models::OnEngine on, Sequence& sequence, std::int32_t count) {
  Chunk chunk{sequence.lease.slot, sequence.prefilled, count, {}};
  HiddenStates* hidden = sequence.hidden();
  if (hidden == nullptr) return decoder_.prefill(on, chunk);
  chunk.hidden = hidden->rows(chunk.first, chunk.count);
  CHECK_OK(decoder_.prefill(on, chunk));
  return hidden->check_rows();
}

void Batch::finish_prompt(models::OnEngine on, Sequence& sequence) {
  sequence.reuse.pictures = decoder_.cached_pictures(sequence.lease.slot);
  if (sequence.hidden() == nullptr) {
    sequence.stage = Stage::kDecode;
    // A decoder that is done by now need not keep the first token until the next step is, too.
    collect(on, sequence.beams ? 0 : kStepsInFlight);
    return advance_beams(on, sequence);
  }
  release(on, sequence);
  sequence.finish_encoding(labels_);
}

// What may be drawn next, told to the decoder.
Result<void> Batch::guide(models::OnEngine on, Sequence& sequence) {
  if (sequence.guide() == nullptr) return {};
  TRY(const auto mask, sequence.guide()->next());
  return mask ? decoder_.set_mask(on, sequence.lease.slot, *mask) : Result<void>();
}

// Waits for the tokens that masks follow from, and makes the masks.
void Batch::guide_all(models::OnEngine on) {
  const auto is_guided = [](const auto& sequence) {
    return sequence->needs_steps() && sequence->guide() != nullptr;
  };
  if (std::none_of(sequences_.begin(), sequences_.end(), is_guided)) return;
  collect(on, 0);
  for (const auto& sequence : sequences_) {
    if (lost_ || !is_guided(sequence)) continue;
    const auto guided = guarded([&] { return guide(on, *sequence); });
    if (!guided) fail(on, *sequence, guided.error());
  }
}

void Batch::step_all(models::OnEngine on) {
  if (!lost_) guide_all(on);
  if (lost_) return;
  const bool beams = enter_step();
  if (slots_.empty()) return collect(on, 0);
  models::enter_phase(models::Phase::kDecode);
  const auto stepped = guarded([&] { return decoder_.step(on, slots_); });
  if (!stepped) return fail_decoding(on, stepped.error());
  for (const auto& sequence : sequences_)
    if (sequence->needs_steps()) ++sequence->steps;
  collect(on, beams ? 0 : kStepsInFlight);
  if (!beams) return;
  for (const auto& sequence : sequences_) advance_beams(on, *sequence);
}

// Lists the slots of the step at hand. Returns whether beams are among them.
bool Batch::enter_step() {
  slots_.clear();
  bool beams = false;
  for (const auto& sequence : sequences_) {
    if (!sequence->needs_steps()) continue;
    if (sequence->beams == nullptr) {
      slots_.push_back(sequence->lease.slot);
    } else {
      sequence->beams->enter(sequence->lease, slots_);
      beams = true;
    }
  }
  return beams;
}

// Of a beam search whose logits have just been computed; of any other sequence nothing.
void Batch::advance_beams(models::OnEngine on, Sequence& sequence) {
  if (sequence.beams == nullptr || sequence.stage != Stage::kDecode) return;
  const auto advanced =
      guarded([&] { return sequence.beams->advance(on, decoder_, admission_, sequence.lease); });
  if (!advanced) return fail(on, sequence, advanced.error());
  sequence.timeline().token();
  sequence.group().report_token();
  if (!sequence.beams->over()) return;
  sequence.step_bytes =
      decoder_.step_bytes(sequence.prompt_tokens() + sequence.timeline().tokens() - 1);
  release(on, sequence);
  sequence.finish_beams(labels_);
}

// What a sequence's end does to the decoder must not change what is being read here.
void Batch::collect(models::OnEngine on, std::int32_t in_flight) {
  const auto collected = guarded([&] { return decoder_.collect(on, in_flight); });
  if (!collected) return fail_decoding(on, collected.error());
  sampled_.assign(collected->begin(), collected->end());
  for (const Sampled& sampled : sampled_) take(on, sampled);
}

// A token of a sequence that ended meanwhile is nobody's.
void Batch::take(models::OnEngine on, const Sampled& sampled) {
  const auto found = std::find_if(sequences_.begin(), sequences_.end(), [&](const auto& sequence) {
    return decodes(sequence) && sequence->lease.number == sampled.sequence;
  });
  if (found == sequences_.end()) return;
  Sequence& sequence = **found;
  if (!sampled.finite)
    return fail(
        on, sequence,
        hearth::fail(Code::kNotFinite, fmt::format("The logits of answer token {} are not finite.",
                                                   sequence.timeline().tokens())));
  if (sequence.beams != nullptr) return;  // they choose for themselves
  const auto complete = sequence.accept(sampled.token);
  if (!complete) return fail(on, sequence, complete.error());
  sequence.group().report_token();
  if (!*complete) return;
  sequence.chain_answer();
  admission_.keep(sequence, sequence.chain().tokens());
  sequence.step_bytes = decoder_.step_bytes(sequence.chain().tokens());
  release(on, sequence);
  sequence.finish(labels_);
}

// What went wrong may lie in the pages already: nobody else shall begin with them.
void Batch::fail(models::OnEngine on, Sequence& sequence, Error error) {
  for (const auto& other : sequences_)
    if (&other->group() == &sequence.group()) admission_.distrust(*other);
  end_group(on, sequence.group(), std::move(error));
}

// All answers of a request end together when one cannot go on.
void Batch::end_group(models::OnEngine on, AnswerGroup& group, Error error) {
  for (const auto& sequence : sequences_) {
    if (&sequence->group() != &group) continue;
    release(on, *sequence);
    sequence->stage = Stage::kDone;
  }
  group.failed(std::move(error));
}

void Batch::fail_decoding(models::OnEngine on, const Error& error) {
  for (const auto& sequence : sequences_)
    if (decodes(sequence)) fail(on, *sequence, error);
}

// Before the listener hears of the end: whoever waits for it may count on the slot's being free.
void Batch::release(models::OnEngine on, Sequence& sequence) {
  if (sequence.lease.slot < 0) return;
  decoder_.end(on, sequence.lease.slot);
  for (const Branch& branch : sequence.lease.more) decoder_.end(on, branch.slot);
  admission_.leave(sequence);
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
