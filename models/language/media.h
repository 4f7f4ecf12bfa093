// The pictures and clips of a chat before a pixel of them is touched: checked, sized, counted, and
// what of them stands in the prompt.
//
// Plain functions on values; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/image/picture.h"
#include "models/language/positions.h"
#include "models/language/prompt.h"
#include "models/text/chat.h"
#include "shm/base/result.h"
#include "shm/contract/messages.h"

namespace hearth::language {

// A picture or a clip.
struct Medium {
  std::string name;  // for errors: "picture 2", "video 1"
  bool is_clip = false;
  image::Size sent, seen;        // pixels of the picture or of each frame
  image::PictureRules pictures;  // with the limits that count for this picture
  std::int64_t frames = 0;       // of a clip
  std::int32_t steps = 1;        // of a clip: temporal_patch_size frames each
  std::int32_t step_tokens = 0;
  std::vector<double> seconds;  // [frames]: when each frame of a clip was seen

  std::int64_t tokens() const { return std::int64_t{steps} * step_tokens; }
};

// The request's limits, which count where a part has none of its own; 0: the model's.
struct PixelRange {
  std::int64_t min = 0;
  std::int64_t max = 0;
};

// shapes: of the tensors of all pictures and clips, in order of their parts. Errors: bad_request
// and bad_picture naming picture or video; unsupported for a clip that the model has no token for.
Result<std::vector<Medium>> plan_media(std::span<const contract::ChatMessage> messages,
                                       std::span<const std::vector<std::int64_t>> shapes,
                                       PixelRange range, const PromptRules& rules);

// What a reply says of them.
std::vector<contract::SeenPicture> seen_of(std::span<const Medium> media);

// A run of equal placeholders: a picture, a step of a clip that is told its time in words, or all
// steps of one whose times stand in its positions.
struct Run {
  std::size_t medium = 0;
  std::int32_t first_step = 0;
  std::int32_t steps = 1;
  std::int32_t tokens = 0;
};
std::vector<Run> runs_of(std::span<const Medium> media, const PromptRules& rules);

// Each clip that is told its times in words becomes "<1.5 seconds>" and a step, for each of its
// steps. Media pieces are numbered as runs_of() numbers them.
std::vector<text::Piece> spell_times(std::vector<text::Piece> pieces, std::span<const Medium> media,
                                     const PromptRules& rules);

// Where a run that begins at token `first` stands.
PlacedPicture placed(const Run& run, std::int32_t first, const Medium& medium,
                     const PromptRules& rules);

}  // namespace hearth::language
