// What a family of language models says of a checkpoint; what is made of it is the same for all
// (model.h).
//
// Plain values and functions; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "models/decoder/description.h"
#include "models/files/config.h"
#include "models/files/stored_scales.h"
#include "models/files/weight_index.h"
#include "models/image/clip.h"
#include "models/image/patchify.h"
#include "models/text/chat.h"
#include "models/weights/plan.h"
#include "models/weights/weights.h"
#include "shm/base/result.h"

namespace hearth::engine {
struct Compute;
class Tower;
}  // namespace hearth::engine

namespace hearth::language {

// A vision tower that is not loaded yet.
struct TowerBlueprint {
  image::PictureRules pictures;             // how config.json cuts them
  std::optional<std::int64_t> image_token;  // as config.json has it
  image::ClipRules clips;                   // as pictures
  // How a prompt tells when a clip's steps were seen. None: in words before each step (Qwen3-VL and
  // later); else by their positions, so many a second, in one run of placeholders (Qwen2.5-VL).
  std::optional<std::int32_t> positions_per_second;
  // What the numbers of boxes and points count, as in Generated, if the tokenizer has marks for
  // boxes at all.
  std::string_view coordinates = "thousandths";
  std::vector<weights::Tensor> tensors;  // in the order in which the tower computes with them
  // Device memory that a pass of so many patches takes.
  std::function<std::uint64_t(HearthType type, std::int64_t patches)> scratch_bytes;
  // Engine's load thread. `weights` were planned with `tensors`; they and the Compute's memory
  // outlive the tower.
  std::function<std::unique_ptr<engine::Tower>(const weights::Weights& weights,
                                               const engine::Compute& compute,
                                               const image::PictureRules& pictures)>
      make;
};

struct Blueprint {
  decoder::Description text;
  std::vector<std::int64_t> end_tokens;  // as config.json has them; may be empty
  decoder::TensorShapes tensors;         // all that the model needs
  std::optional<TowerBlueprint> tower;   // none: text only
  files::StoredScales scales;            // of weights that are stored in 8 bits; not the family's
  text::ChatLayout layout;
};

struct FamilyRules {
  std::string_view name;
  std::vector<std::string_view> model_types;  // of config.json
  // Whether files without a config.json are of this family.
  bool (*has_our_names)(const files::WeightIndex& index);
  // Errors: bad_model naming key or tensor; unsupported for what is of the family but not served.
  Result<Blueprint> (*read)(const files::ConfigValue& json, const files::WeightIndex& index);
};

}  // namespace hearth::language
