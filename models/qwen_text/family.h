// The family `qwen_text`: Qwen2.5 and Qwen3, text only.
#pragma once

#include "models/language/blueprint.h"

namespace hearth::qwen_text {

const language::FamilyRules& rules();

}  // namespace hearth::qwen_text
