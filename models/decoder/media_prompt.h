// A prompt with pictures and clips, made ready for a decoder: token ids, positions, pictures.
//
// Made on the prepare thread, then owned by the sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "models/generate/decoder.h"
#include "models/image/patchify.h"

namespace hearth::decoder {

// Where the features of a picture, or of a clip's step, go: tokens [first, first + count) of the
// prompt.
struct MediaSpan {
  std::int32_t first = 0;
  std::int32_t count = 0;
};

class MediaPrompt : public generate::TokenPrompt {
 public:
  std::vector<std::int32_t> positions;  // [3, tokens]: time, height, width
  std::int32_t position_delta = 0;      // token i of the answer stands at index i + delta, all axes
  std::vector<image::Still> pictures;   // and steps of clips
  std::vector<MediaSpan> spans;         // one a picture, as is each of `media`
  std::uint32_t user = 0;               // who asks: features are cached for each user apart
};

}  // namespace hearth::decoder
