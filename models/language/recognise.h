// Whose a checkpoint is, and what of it is read before its weights.
//
// Pure functions over headers and JSON; any thread.
#pragma once

#include <string>
#include <vector>

#include "models/language/blueprint.h"
#include "models/model.h"

namespace hearth::language {

// As models::Family::recognises.
Result<bool> recognises(const FamilyRules& rules, const models::ModelFiles& files,
                        std::vector<std::string>& warnings);

// The checked blueprint: every tensor is there in its shape. Errors: bad_model, unsupported.
Result<Blueprint> read_blueprint(const FamilyRules& rules, const models::ModelFiles& files,
                                 const files::WeightIndex& index);

}  // namespace hearth::language
