#include "models/generate/beams.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "models/generate/admission.h"

namespace hearth::generate {
namespace {

constexpr std::size_t kNoBranch = ~std::size_t{0};

// No penalty, no chance, no end before max_tokens.
Sampling plain(const Sampling& asked) {
  Sampling sampling;
  sampling.max_tokens = asked.max_tokens;
  sampling.answers = asked.answers;
  sampling.beams = asked.beams;
  return sampling;
}

}  // namespace

Beams::Beams(TokenPrompt& prompt)
    : answers_(static_cast<std::size_t>(prompt.sampling.answers)),
      prompt_tokens_(static_cast<std::int32_t>(prompt.ids.size())),
      penalties_(prompt.ids, prompt.sampling),
      search_(rules_of(prompt)) {
  shown_.vocabulary = prompt.vocabulary;
  shown_.thoughts = prompt.thoughts;
  shown_.sampling.stop = prompt.sampling.stop;
  if (!shown_.sampling.stop.empty()) words_.emplace_back(shown_);
  prompt.sampling = plain(prompt.sampling);
  prompt.end_ids.clear();
}

BeamSearch::Rules Beams::rules_of(const TokenPrompt& prompt) {
  BeamSearch::Rules rules;
  rules.beams = prompt.sampling.beams;
  rules.max_tokens = prompt.sampling.max_tokens;
  rules.length_penalty = prompt.sampling.length_penalty;
  rules.early_stopping = prompt.sampling.early_stopping;
  rules.end_ids = prompt.end_ids;
  if (!prompt.sampling.stop.empty())
    rules.stops = [this](std::int32_t from, std::int32_t token) {
      AnswerText words = words_[static_cast<std::size_t>(from)];
      words.accept(token);
      return words.stopped();
    };
  return rules;
}

void Beams::follow_words() {
  if (words_.empty()) return;
  std::vector<AnswerText> next;
  for (const BeamSearch::Running& beam : search_.running()) {
    next.push_back(words_[static_cast<std::size_t>(beam.from)]);
    next.back().accept(beam.token());
  }
  words_ = std::move(next);
}

void Beams::enter(const Lease& lease, std::vector<std::int32_t>& slots) {
  first_row_ = static_cast<std::int32_t>(slots.size());
  for (const std::size_t branch : branches_)
    slots.push_back(branch == 0 ? lease.slot : lease.more[branch - 1].slot);
}

Result<void> Beams::advance(models::OnEngine on, Decoder& decoder, Admission& admission,
                            Lease& lease) {
  const auto running = search_.running();
  scores_.resize(running.size());
  for (std::size_t row = 0; row < running.size(); ++row) {
    scores_[row].resize(static_cast<std::size_t>(decoder.vocabulary_size()));
    CHECK_OK(decoder.read_logits(on, first_row_ + static_cast<std::int32_t>(row), scores_[row]));
    penalties_.process(running[row].ids, scores_[row]);
  }
  search_.advance(scores_);
  follow_words();
  if (!search_.over()) return go_on(on, decoder, admission, lease);
  if (search_.finished().size() >= answers_) return {};
  return fail(Code::kUnsupported,
              fmt::format("Beam search found {} of {} answers: no_repeat_ngram forbids every token "
                          "that could follow.",
                          search_.finished().size(), answers_),
              "Raise no_repeat_ngram, or set it to 0.");
}

// The first to continue a beam keeps its branch; kNoBranch: a fork is needed.
std::vector<std::size_t> Beams::place_first_children() {
  std::vector<bool> kept(branches_.size());
  std::vector<std::size_t> next;
  for (const BeamSearch::Running& beam : search_.running()) {
    const auto from = static_cast<std::size_t>(beam.from);
    next.push_back(kept[from] ? kNoBranch : branches_[from]);
    kept[from] = true;
  }
  return next;
}

// Forks go to branches that no beam goes on in, so no beam is overwritten that is still read.
Result<void> Beams::go_on(models::OnEngine on, Decoder& decoder, Admission& admission,
                          Lease& lease) {
  const auto running = search_.running();
  std::vector<std::size_t> next = place_first_children();
  const std::int32_t tokens = prompt_tokens_ + static_cast<std::int32_t>(running[0].ids.size()) - 1;
  std::size_t unused = 0;
  for (std::size_t i = 0; i < next.size(); ++i) {
    if (next[i] != kNoBranch) continue;
    while (std::find(next.begin(), next.end(), unused) != next.end()) ++unused;
    next[i] = unused;
    const Branch& from = lease.branch(branches_[static_cast<std::size_t>(running[i].from)]);
    Branch& to = lease.branch(unused);
    const PageCopy copy = admission.follow(to, from, tokens);
    CHECK_OK(decoder.fork(on, from.slot, {to.slot, lease.number, to.pages, tokens}, copy));
  }
  branches_ = std::move(next);
  for (std::size_t i = 0; i < branches_.size(); ++i)
    CHECK_OK(decoder.choose(on, lease.branch(branches_[i]).slot, running[i].token()));
  return {};
}

void Beams::tell(const BeamSearch::Finished& finished, EndedAnswer& ended) const {
  AnswerText words(shown_);
  const auto take = [&](const Shown& shown) {
    (shown.thinking ? ended.answer.thinking : ended.answer.text) += shown.text;
  };
  const std::size_t shown = finished.ids.size() - (finished.reason == "end_token" ? 1 : 0);
  for (std::size_t i = 0; i < shown; ++i) take(words.accept(finished.ids[i]));
  take(words.finish());
  ended.times.receipt.thinking_tokens = words.thinking_tokens();
}

std::vector<EndedAnswer> Beams::answers(std::span<const std::int32_t> token_us) const {
  std::vector<EndedAnswer> answers;
  for (const BeamSearch::Finished& finished : search_.finished().first(answers_)) {
    EndedAnswer& ended = answers.emplace_back();
    tell(finished, ended);
    ended.answer.token_ids = packed(finished.ids);
    ended.answer.token_us = packed(token_us.first(finished.ids.size()));
    ended.answer.stop_reason = finished.reason;
    ended.answer.score = finished.score;
  }
  return answers;
}

}  // namespace hearth::generate
