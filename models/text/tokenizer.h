// Byte-level BPE as Hugging Face's Qwen2 tokenizer does it: added tokens, NFC, split by a regular
// expression, bytes, merges by rank.
//
// Ids equal those of transformers for every code point of Unicode 14. What is a letter or a digit
// comes from PCRE2's tables: with PCRE2 10.42, the 20 Kaktovik numerals of Unicode 15 (U+1D2C0 to
// U+1D2D3) are signs here and digits there.
//
// Ownership: holds its whole vocabulary; independent of the files once loaded. Shared by requests.
// Threads: everything is const and may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/generate/decoder.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::text {

// What an added token's text ("<|image_pad|>") means inside a text.
enum class SpecialTokens {
  kAsText,  // special tokens are plain text; transformers' split_special_tokens=True
  kParsed,  // it is the token; transformers' default
};

class Tokenizer : public generate::TokenBytes {
 public:
  // From tokenizer.json; else vocab.json + merges.txt (+ tokenizer_config.json for added tokens).
  // Errors: bad_model naming file and key, or the files that are wanted when there are none;
  // unsupported for a tokenizer of another kind.
  static Result<std::shared_ptr<const Tokenizer>> load(const models::ModelFiles& files);

  // Bytes that are not UTF-8 become U+FFFD the way Python's bytes.decode("utf-8", "replace") makes
  // them. Errors: bad_request when the split exceeds its limits, which no natural text does.
  virtual Result<std::vector<std::int32_t>> encode(std::string_view text,
                                                   SpecialTokens special) const = 0;

  // Of an added token, by its text. Empty when there is none.
  virtual std::optional<std::int32_t> id_of(std::string_view added_token) const = 0;
  virtual bool is_special(std::int32_t id) const = 0;

  // Largest id + 1. A model's vocabulary may be larger: its last rows are padding.
  virtual std::int32_t size() const = 0;

  // UTF-8; incomplete or wrong sequences become U+FFFD. Ids without a token give nothing.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const;

  std::string bytes_of(std::int32_t id) const override;

 protected:
  // Raw bytes of one id; added tokens give their text.
  virtual std::string_view token_bytes(std::int32_t id) const = 0;
};

// Replaces every maximal ill-formed part by U+FFFD, as Python and the Unicode standard (table 3-8)
// do.
std::string valid_utf8(std::string_view text);

}  // namespace hearth::text
