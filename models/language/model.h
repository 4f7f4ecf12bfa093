// A loaded language model, with or without a vision tower: prepares prompts, makes tokens and
// hidden states. The same for every family; what differs is in its Blueprint.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/decoder/device_memory.h"
#include "models/files/weight_index.h"
#include "models/language/blueprint.h"
#include "models/language/recognise.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::language {

// What load_model would take on the device. Any thread. Errors: bad_model, unsupported.
Result<contract::MemoryPlan> plan_model(const files::WeightIndex& index, const Blueprint& blueprint,
                                        const models::LoadOptions& options);

// Load thread. `memory`: of options.device; null: opened here. Errors: bad_model, model_changed,
// out_of_memory, unsupported, cancelled.
Result<std::shared_ptr<models::Model>> load_model(
    const models::ModelFiles& files, const files::WeightIndex& index, const FamilyRules& family,
    const models::LoadOptions& options, std::unique_ptr<decoder::DeviceMemory> memory = nullptr);

// As models::Family::plan, models::Family::counter and models::Family::load.
Result<contract::MemoryPlan> plan(const FamilyRules& rules, const models::ModelFiles& files,
                                  const models::LoadOptions& options);
Result<std::shared_ptr<const models::TokenCounter>> counter(const FamilyRules& rules,
                                                            const models::ModelFiles& files,
                                                            const models::LoadOptions& options);
Result<std::shared_ptr<models::Model>> load(const FamilyRules& rules,
                                            const models::ModelFiles& files,
                                            const models::LoadOptions& options);

// A family as the registry knows it.
template <const FamilyRules& (*rules)()>
models::Family family() {
  using models::LoadOptions, models::ModelFiles;
  return {.name = rules().name,
          .recognises =
              [](const ModelFiles& files, std::vector<std::string>& warnings) {
                return recognises(rules(), files, warnings);
              },
          .plan = [](const ModelFiles& files,
                     const LoadOptions& options) { return plan(rules(), files, options); },
          .counter = [](const ModelFiles& files,
                        const LoadOptions& options) { return counter(rules(), files, options); },
          .load = [](const ModelFiles& files,
                     const LoadOptions& options) { return load(rules(), files, options); }};
}

}  // namespace hearth::language
