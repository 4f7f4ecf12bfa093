// From a chat request to a prompt: token ids, positions, pictures.
//
// Prepare thread; everything is const.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/decoder/media_prompt.h"
#include "models/generate/grammars.h"
#include "models/generate/request.h"
#include "models/generate/siphash.h"
#include "models/image/clip.h"
#include "models/image/patchify.h"
#include "models/language/defaults.h"
#include "models/model.h"
#include "models/text/chat.h"
#include "models/text/tokenizer.h"

namespace hearth::language {

// What stays the same for all prompts of a model.
struct PromptRules {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  text::ChatLayout layout;
  std::int32_t image_token = -1;  // the id of <|image_pad|>; -1: text only
  std::int32_t video_token = -1;  // the id of <|video_pad|>; -1: no clips
  image::PictureRules pictures;
  image::ClipRules clips;
  std::optional<std::int32_t> positions_per_second;  // as in TowerBlueprint
  std::string coordinates = "none";                  // of Generated
  image::ResizeWhere resize = image::ResizeWhere::kHere;
  generate::ThoughtTokens thoughts;  // without what a request decides
  std::shared_ptr<generate::Grammars> grammars;
  Defaults defaults;
  std::int32_t context_tokens = 0;
  std::string context_limit;  // what else than the model's own context bounds it; empty: nothing
  generate::HiddenShape hidden;
  generate::SipKey content_key{};     // of the pictures' hashes
  std::vector<std::string> warnings;  // go into every reply
};

// `tensors`: the request's pictures and clips in order of appearance. Lengths are checked before a
// pixel is touched. Errors: bad_picture and bad_request naming the picture or video, too_long,
// cancelled; unsupported for what the model cannot be given, thoughts and grammars among it.
Result<std::unique_ptr<decoder::MediaPrompt>> make_prompt(const contract::Generate& request,
                                                          std::span<const TensorView> tensors,
                                                          const models::Job& job,
                                                          const PromptRules& rules);

// The same chat to encode. Errors also: out_of_memory for a result too large for one request.
Result<std::unique_ptr<decoder::MediaPrompt>> make_prompt(const contract::Encode& request,
                                                          std::span<const TensorView> tensors,
                                                          const models::Job& job,
                                                          const PromptRules& rules);

// What a chat would take, however long it is. Any thread. Errors: as make_prompt, but for too_long.
Result<contract::TokensCounted> count_tokens(const contract::CountTokens& request,
                                             const PromptRules& rules);

}  // namespace hearth::language
