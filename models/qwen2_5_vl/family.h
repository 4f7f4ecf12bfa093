// The family `qwen2_5_vl`: Qwen2.5-VL.
#pragma once

#include "models/language/blueprint.h"

namespace hearth::qwen2_5_vl {

const language::FamilyRules& rules();

}  // namespace hearth::qwen2_5_vl
