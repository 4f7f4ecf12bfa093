// The vision tower: patches of one picture to features, DeepStack levels included.
#pragma once

#include <memory>

#include "models/qwen3_vl/config.h"
#include "shm/base/result.h"

namespace hearth::engine {
class Tower;
class WeightReader;
}  // namespace hearth::engine

namespace hearth::qwen3_vl {

// Load thread. Reads the tower's weights, which it owns from then on. Errors: those of the reader.
Result<std::unique_ptr<engine::Tower>> load_vision(engine::WeightReader& reader,
                                                   const VisionConfig& config);

}  // namespace hearth::qwen3_vl
