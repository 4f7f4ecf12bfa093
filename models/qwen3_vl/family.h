// The family `qwen3_vl`: Qwen3-VL.
#pragma once

#include "models/language/blueprint.h"

namespace hearth::qwen3_vl {

const language::FamilyRules& rules();

}  // namespace hearth::qwen3_vl
