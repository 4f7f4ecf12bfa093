// M-RoPE positions: where each token of a prompt stands in time, height and width.
//
// Source: transformers' get_rope_index of Qwen2_5_VLModel and Qwen3VLModel, which agree on stills
// (of clips: docs/families.md). Text advances all three axes together; a picture's tokens share one
// time and spread over rows and columns, a clip's steps have a time each; what follows continues
// behind the largest position of any axis.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/media_prompt.h"

namespace hearth::language {

// A picture, or a clip whose steps follow each other without words between.
struct PlacedPicture {
  decoder::MediaSpan span;  // steps * height * width tokens
  std::int32_t height = 0;  // in tokens, after merging
  std::int32_t width = 0;
  std::vector<std::int32_t> times = {0};  // [steps]: positions after the first step's, rising
};

struct Positions {
  std::vector<std::int32_t> ids;  // [3, tokens]
  std::int32_t delta = 0;         // added to the index of every token after the prompt
};

// `pictures` in order, apart from each other.
Positions place_tokens(std::int32_t tokens, std::span<const PlacedPicture> pictures);

}  // namespace hearth::language
