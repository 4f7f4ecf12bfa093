// The family `qwen3_5`: Qwen3.5 and its successors of the same architecture, dense and with
// experts, with the vision tower or text alone.
#pragma once

#include "models/language/blueprint.h"

namespace hearth::qwen3_5 {

const language::FamilyRules& rules();

}  // namespace hearth::qwen3_5
