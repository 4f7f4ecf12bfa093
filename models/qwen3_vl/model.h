// A loaded Qwen3-VL: prepares prompts, makes tokens.
#pragma once

#include <memory>

#include "models/decoder/device_memory.h"
#include "models/files/weight_index.h"
#include "models/model.h"
#include "models/qwen3_vl/config.h"
#include "shm/base/result.h"

namespace hearth::qwen3_vl {

// What load_model would take on the device. Any thread. Errors: bad_model, unsupported.
Result<contract::MemoryPlan> plan_model(const files::WeightIndex& index, const Config& config,
                                        const models::LoadOptions& options);

// Load thread. `memory`: of options.device; null: opened here. Errors: bad_model, model_changed,
// out_of_memory, unsupported, cancelled.
Result<std::shared_ptr<models::Model>> load_model(
    const models::ModelFiles& files, const files::WeightIndex& index, const Config& config,
    const models::LoadOptions& options, std::unique_ptr<decoder::DeviceMemory> memory = nullptr);

}  // namespace hearth::qwen3_vl
