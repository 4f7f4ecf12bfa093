// Cuts a text into the words that BPE may not merge across. Internal to text/.
//
// The expression comes out of a model's file, so it may be hostile: matching is bounded in steps,
// memory and time.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "shm/base/result.h"

namespace hearth::text {

// Qwen2, Qwen2.5 and Qwen3: contractions; letters with one leading sign; single digits; signs;
// line ends; spaces.
inline constexpr std::string_view kQwen2Split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

class Pretokenizer {
 public:
  // `pattern` in the syntax of tokenizer.json (Oniguruma). Errors: unsupported when it does not
  // compile.
  static Result<Pretokenizer> compile(std::string_view pattern);

  // Calls `word` for every piece of `text` (well-formed UTF-8) in order; together they are the
  // text. Matches are pieces, and so is what lies between them. Errors: bad_request at a limit.
  Result<void> split(std::string_view text,
                     const std::function<void(std::string_view)>& word) const;

 private:
  explicit Pretokenizer(std::shared_ptr<const void> code) : code_(std::move(code)) {}
  std::shared_ptr<const void> code_;  // pcre2_code
};

}  // namespace hearth::text
