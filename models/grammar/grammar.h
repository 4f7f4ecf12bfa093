// Constrained decoding: which tokens may come next, so that the answer matches a JSON schema or a
// regular expression.
//
//   compile, once a request (any thread)        Grammar::compile(spec, vocabulary)
//   for every sequence (the engine's thread)    Matcher matcher(grammar, end_ids)
//   for every step                              matcher.mask(bits), sample, matcher.accept(token)
//
// The mask is exact: a token is in it when, and only when, the text with it can still be completed,
// whatever the token's bytes: half a character, or the end of one string and the beginning of the
// next. An end id is in it when the text is complete as it stands.
//
// Compiling is bounded in time and memory whatever the input; so is every mask. A grammar whose
// ambiguity would cost more than that ends in an error, at compile time or in the middle of an
// answer.
//
// Ownership: a Grammar is shared by its matchers and keeps what they found out; a Matcher belongs
// to one sequence. Threads: a Grammar any, what is shared in it is locked; a Matcher one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "models/grammar/automaton.h"
#include "models/grammar/json_pieces.h"
#include "models/grammar/vocabulary.h"
#include "shm/base/result.h"

namespace hearth::grammar {

enum class Syntax {
  kJsonSchema,         // schema.h
  kRegularExpression,  // regex.h; the whole answer matches
};

struct Spec {
  Syntax syntax = Syntax::kJsonSchema;
  std::string text;  // UTF-8
  Whitespace whitespace = Whitespace::kFlexible;
};

class Grammar {
 public:
  // Errors: bad_request for what is no schema or expression, matches nothing, or is too large or
  // too ambiguous; unsupported naming the keyword or construct.
  static Result<std::shared_ptr<const Grammar>> compile(
      const Spec& spec, std::shared_ptr<const Vocabulary> vocabulary);

  const Vocabulary& vocabulary() const { return *vocabulary_; }
  // Memory of what is shared by the matchers.
  std::size_t bytes() const;

 private:
  friend class Matcher;
  struct Explored {
    explicit Explored(std::shared_ptr<const Expressions> expressions)
        : automaton(std::move(expressions)) {}
    std::mutex mutex;
    Automaton automaton;  // under mutex
  };

  Grammar() = default;
  std::shared_ptr<Explored> explored() const;
  // In place of one that is full.
  std::shared_ptr<Explored> explored_after(const std::shared_ptr<Explored>& full) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<const Expressions> expressions_;
  Automaton::State start_ = Automaton::kDead;  // in every Automaton of this grammar
  mutable std::mutex mutex_;
  mutable std::shared_ptr<Explored> explored_;  // under mutex_
};

class Matcher {
 public:
  // Any of `end_ids` ends the text.
  Matcher(std::shared_ptr<const Grammar> grammar, std::vector<std::int32_t> end_ids);

  // Sets the bits of the tokens that may come next and clears all others; at least
  // mask_words(vocabulary size) words. Errors: bad_request when the grammar is too ambiguous here,
  // or has no token of this vocabulary to go on with; internal after the end.
  Result<void> mask(std::span<std::uint32_t> bits);
  // The token that was sampled. Errors: internal for one that mask() did not allow, and the matcher
  // stays as it was; bad_request as mask().
  Result<void> accept(std::int32_t token);

  // Whether the text so far is complete; it may still be one that can go on.
  bool can_end() const;
  // Whether an end id was accepted.
  bool ended() const { return ended_; }
  // The bytes that must come next, whatever is sampled: they need no steps of their own. Empty
  // where there is a choice, one between going on and ending among them. At most 4096 bytes.
  std::string forced_bytes();

 private:
  bool is_end(std::int32_t token) const;
  void renew_if_full();

  std::shared_ptr<const Grammar> grammar_;
  std::vector<std::int32_t> end_ids_;
  std::shared_ptr<Grammar::Explored> explored_;
  Automaton::State state_;
  Effort effort_;
  bool ended_ = false;
};

}  // namespace hearth::grammar
