// A checkpoint's own wishes: sampling and the tokens that end an answer.
#pragma once

#include <cstdint>
#include <vector>

#include "models/generate/request.h"
#include "models/model.h"
#include "models/text/tokenizer.h"

namespace hearth::language {

// What config.json says of a model's tokens.
struct TokenIds {
  std::int32_t vocabulary_size = 0;
  std::vector<std::int64_t> ends;  // may be empty
};

struct Defaults {
  generate::SamplingDefaults sampling;
  std::vector<std::int32_t> end_ids;  // at least one
};

// From generation_config.json; without one, end tokens from config.json, else the tokenizer's
// <|im_end|> and <|endoftext|>. Errors: bad_model naming file and key.
Result<Defaults> read_defaults(const models::ModelFiles& files, const TokenIds& ids,
                               const text::Tokenizer& tokenizer);

}  // namespace hearth::language
