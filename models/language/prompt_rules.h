// What a checkpoint says of its prompts: tokenizer, pictures, defaults, layout.
#pragma once

#include "models/language/blueprint.h"
#include "models/language/prompt.h"
#include "models/model.h"

namespace hearth::language {

// Load thread. The context, the shape of hidden states and the key of pictures' hashes are left to
// the caller. Errors: bad_model naming file and key, or token; unsupported.
Result<PromptRules> read_rules(const models::ModelFiles& files, const Blueprint& blueprint);

}  // namespace hearth::language
