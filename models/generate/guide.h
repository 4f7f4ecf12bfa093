// What an answer may say next where the host decides that before every draw: a grammar, runs of
// tokens that must not come twice, and thoughts that have to end.
//
//   for every draw   next(): the mask, then the draw, then accept(token)
//
// - Thoughts are free of the grammar, but they do not end the answer where one waits for it.
// - After thinking_tokens drawn tokens the thoughts are closed as the model itself would: a new
//   line, </think>, an empty line. Nothing can forbid these tokens.
// - Behind </think> an empty line is forced where a grammar follows, which would have no place for
//   the one that the model wants to write.
// - What no_repeat_ngram forbids is forbidden in thoughts, too. Where it leaves no token at all, it
//   is set aside, and a remark says so.
//
// Ownership: one sequence's; the prompt outlives it. Engine thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/generate/decoder.h"
#include "models/generate/thoughts.h"
#include "models/grammar/grammar.h"
#include "shm/base/result.h"

namespace hearth::generate {

class Guide {
 public:
  // Whether a prompt's answers need one; without, nothing is ever masked.
  static bool is_needed(const TokenPrompt& prompt);
  // `vocabulary_size`: of the decoder.
  Guide(const TokenPrompt& prompt, std::int32_t vocabulary_size);

  // The mask of the next draw, as Decoder::set_mask takes it; absent: it is the last one. Valid
  // until the next call. Errors: as grammar::Matcher::mask.
  Result<std::optional<std::span<const std::uint32_t>>> next();
  // Whether the last mask left one token, to close the thoughts with.
  bool forces() const { return !forced_.empty(); }
  // What was drawn. Errors: as grammar::Matcher::accept.
  Result<void> accept(std::int32_t token);

  // The thoughts reached their limit and were closed.
  bool closed_thoughts() const { return closed_thoughts_; }
  // What the user should know once the answer has ended for this reason.
  std::vector<std::string> remarks(std::string_view stop_reason) const;

 private:
  using Words = std::vector<std::uint32_t>;

  bool thinks_to_the_limit() const;
  void close_thoughts();
  void fill_with_all(Words& words) const;
  Result<bool> fill(Words& words);
  Result<bool> fill_by_grammar(Words& words);
  bool forbid_repetition(Words& words);
  bool is_complete() const;

  const TokenPrompt& prompt_;
  ThoughtProgress progress_;
  std::optional<grammar::Matcher> matcher_;
  std::deque<std::int32_t> forced_;   // the next tokens, whatever is drawn
  std::vector<std::int32_t> said_;    // with no_repeat_ngram: prompt and answer
  std::int32_t thinking_tokens_ = 0;  // drawn so far
  bool line_is_new_ = true;           // of thoughts: the last token ended a line
  bool closed_thoughts_ = false;
  bool repeats_ = false;  // no_repeat_ngram was set aside
  const std::size_t vocabulary_size_;
  Words mask_;       // the last one; empty: any token
  Words next_mask_;  // kept to save the allocation
};

}  // namespace hearth::generate
