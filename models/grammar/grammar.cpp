#include "models/grammar/grammar.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "models/grammar/regex.h"
#include "models/grammar/schema.h"

namespace hearth::grammar {
namespace {

// Of one sequence: what it may spend at once, and what every token adds to that. A unit takes about
// a microsecond, so a client that is out for harm delays others by a quarter of a second once, and
// by a few milliseconds a token.
constexpr std::int64_t kEffort = 200'000;
constexpr std::int64_t kEffortPerToken = 4'000;
constexpr std::size_t kMaxForcedBytes = 4096;

Error too_ambiguous() {
  return fail(Code::kBadRequest,
              "The schema or regular expression can read this text in too many ways at once.",
              "Make its alternatives begin differently and its repetitions end differently from "
              "what follows them.");
}

Result<ExpressionId> add_spec(Expressions& into, const Spec& spec) {
  if (spec.syntax == Syntax::kJsonSchema) return add_schema(into, spec.text, spec.whitespace);
  return add_regex(into, spec.text, {});
}

// Sets the bits of the trie's tokens that lead from `from` to a living state.
void walk(const TokenTrie& trie, Automaton& automaton, Automaton::State from, Effort& effort,
          std::span<std::uint32_t> bits) {
  std::vector<Automaton::State> states(Vocabulary::kMaxTokenBytes + 1);  // by bytes taken
  states[0] = from;
  for (std::size_t i = 0; i < trie.nodes.size();) {
    const auto& node = trie.nodes[i];
    const auto state = automaton.next(states[node.depth], node.byte, effort);
    if (state == Automaton::kDead) {
      if (effort.spent()) return;
      i = node.skip;
      continue;
    }
    states[node.depth + 1u] = state;
    if (node.token >= 0) bits[static_cast<std::size_t>(node.token) / 32] |= 1u << (node.token % 32);
    ++i;
  }
}

void unite(std::span<std::uint32_t> bits, const TokenTrie& trie) {
  for (std::size_t i = 0; i < trie.mask.size(); ++i) bits[i] |= trie.mask[i];
}

// The tokens that may follow a state. Empty: too much effort.
std::optional<std::vector<std::uint32_t>> mask_of(Automaton& automaton, Automaton::State state,
                                                  const Vocabulary& vocabulary, Effort& effort) {
  std::vector<std::uint32_t> bits(mask_words(vocabulary.size()));
  const auto plain = automaton.plain_characters(state);
  for (const auto& [trie, most_characters] : vocabulary.plain())
    if (most_characters <= plain)
      unite(bits, trie);
    else
      walk(trie, automaton, state, effort, bits);
  walk(vocabulary.other(), automaton, state, effort, bits);
  if (effort.spent()) return std::nullopt;
  return bits;
}

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::compile(
    const Spec& spec, std::shared_ptr<const Vocabulary> vocabulary) {
  auto expressions = std::make_shared<Expressions>();
  TRY(const ExpressionId root, add_spec(*expressions, spec));
  if (expressions->over_limit())
    return fail(Code::kBadRequest,
                "The schema or regular expression needs more parts than are "
                "allowed.");
  expressions->finish(root);
  if (!(*expressions)[root].productive)
    return fail(Code::kBadRequest, "Nothing matches this schema or regular expression.");

  std::shared_ptr<Grammar> grammar(new Grammar);
  grammar->vocabulary_ = std::move(vocabulary);
  grammar->expressions_ = std::move(expressions);
  grammar->explored_ = std::make_shared<Explored>(grammar->expressions_);
  Effort effort{kEffort};
  grammar->start_ = grammar->explored_->automaton.start(effort);
  if (effort.spent()) return too_ambiguous();
  // The first mask now, so that what is hopeless fails here and the first step is a fast one.
  Matcher first(grammar, {});
  std::vector<std::uint32_t> bits(mask_words(grammar->vocabulary_->size()));
  if (!first.can_end()) CHECK_OK(first.mask(bits));
  return std::shared_ptr<const Grammar>(std::move(grammar));
}

std::size_t Grammar::bytes() const {
  const auto now = explored();
  const std::lock_guard lock(now->mutex);
  return now->automaton.bytes();
}

std::shared_ptr<Grammar::Explored> Grammar::explored() const {
  const std::lock_guard lock(mutex_);
  return explored_;
}

std::shared_ptr<Grammar::Explored> Grammar::explored_after(
    const std::shared_ptr<Explored>& full) const {
  const std::lock_guard lock(mutex_);
  if (explored_ == full) {
    explored_ = std::make_shared<Explored>(expressions_);
    Effort effort{kEffort};
    explored_->automaton.start(effort);
  }
  return explored_;
}

Matcher::Matcher(std::shared_ptr<const Grammar> grammar, std::vector<std::int32_t> end_ids)
    : grammar_(std::move(grammar)),
      end_ids_(std::move(end_ids)),
      explored_(grammar_->explored()),
      state_(grammar_->start_),
      effort_{kEffort} {}

bool Matcher::is_end(std::int32_t token) const {
  return std::find(end_ids_.begin(), end_ids_.end(), token) != end_ids_.end();
}

// Others may still use the full automaton; it goes with the last of them.
void Matcher::renew_if_full() {
  {
    const std::lock_guard lock(explored_->mutex);
    if (!explored_->automaton.full()) return;
  }
  auto fresh = grammar_->explored_after(explored_);
  if (fresh == explored_) return;
  const auto full = explored_;  // outlives the lock of its mutex
  const std::scoped_lock lock(full->mutex, fresh->mutex);
  state_ = fresh->automaton.adopt(full->automaton, state_);
  explored_ = std::move(fresh);
}

bool Matcher::can_end() const {
  const std::lock_guard lock(explored_->mutex);
  return explored_->automaton.can_end(state_);
}

Result<void> Matcher::mask(std::span<std::uint32_t> bits) {
  if (ended_) return fail(Code::kInternal, "A mask was asked for after the end of the text.");
  renew_if_full();
  std::fill(bits.begin(), bits.end(), 0);
  const std::lock_guard lock(explored_->mutex);
  auto& automaton = explored_->automaton;
  if (automaton.mask(state_).empty()) {
    auto found = mask_of(automaton, state_, grammar_->vocabulary(), effort_);
    if (!found) return too_ambiguous();
    automaton.keep_mask(state_, std::move(*found));
  }
  const auto known = automaton.mask(state_);
  std::copy(known.begin(), known.end(), bits.begin());
  bool any = std::any_of(known.begin(), known.end(), [](std::uint32_t word) { return word != 0; });
  for (const auto id : end_ids_)
    if (automaton.can_end(state_) && static_cast<std::size_t>(id) / 32 < bits.size()) {
      bits[static_cast<std::size_t>(id) / 32] |= 1u << (id % 32);
      any = true;
    }
  if (any) return {};
  return fail(Code::kBadRequest,
              "No token of the model's vocabulary goes on with this text as the "
              "schema or regular expression wants it.");
}

Result<void> Matcher::accept(std::int32_t token) {
  if (ended_) return fail(Code::kInternal, "A token came after the end of the text.");
  renew_if_full();
  const std::lock_guard lock(explored_->mutex);
  auto& automaton = explored_->automaton;
  if (is_end(token) && automaton.can_end(state_)) {
    ended_ = true;
    return {};
  }
  const std::string_view bytes = grammar_->vocabulary().bytes_of(token);
  Automaton::State state = bytes.empty() ? Automaton::kDead : state_;
  for (const char byte : bytes)
    state = automaton.next(state, static_cast<std::uint8_t>(byte), effort_);
  if (effort_.spent()) return too_ambiguous();
  if (state == Automaton::kDead)
    return fail(Code::kInternal, fmt::format("Token {} does not match the grammar.", token));
  state_ = state;
  effort_.left = std::min(effort_.left + kEffortPerToken, kEffort);
  return {};
}

std::string Matcher::forced_bytes() {
  std::string forced;
  const std::lock_guard lock(explored_->mutex);
  auto& automaton = explored_->automaton;
  for (Automaton::State state = state_; !ended_ && forced.size() < kMaxForcedBytes;) {
    if (automaton.can_end(state)) break;
    const auto only = automaton.only_byte(state, effort_);
    if (!only) break;
    forced += static_cast<char>(*only);
    state = automaton.next(state, *only, effort_);
  }
  return forced;
}

}  // namespace hearth::grammar
