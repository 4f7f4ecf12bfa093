// The tower as language/ takes it: not loaded yet.
//
// Pure function; any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "models/language/blueprint.h"
#include "models/qwen3_tower/config.h"

namespace hearth::qwen3_tower {

// `image_token`: as config.json has it.
language::TowerBlueprint blueprint_of(const VisionConfig& vision,
                                      std::optional<std::int64_t> image_token);

}  // namespace hearth::qwen3_tower
