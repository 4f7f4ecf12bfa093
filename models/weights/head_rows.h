// In what order the rows of queries, keys, values and gates are placed.
//
// Kernels turn a whole head, channel i with i + head_dim / 2. Where a decoder rotates only the
// first channels of a head, i with i + rotated / 2, the two halves of that part are placed at the
// beginning of the two halves of the head; the rest follows them and is turned by nothing
// (decoder/rope.h). Queries and keys are moved alike, so that no product of them changes.
//
// Pure functions; any thread.
#pragma once

#include <vector>

#include "models/decoder/description.h"
#include "models/weights/plan.h"

namespace hearth::weights {

// The stored tensors of a layer, weights or biases: entry and scale of each.
struct HeadTensors {
  Source q;  // gated: of each head the query's rows, then the gate's
  Source k, v;
};

// All heads' queries, then keys, values and gates. `rotated`: channels of a head.
std::vector<Source> stack_heads(const decoder::LayerDescription& layer, std::int32_t rotated,
                                const HeadTensors& tensors);

// The norm of queries or keys. [head_dim]
std::vector<Source> turn_norm(const decoder::LayerDescription& layer, std::int32_t rotated,
                              const Source& norm);

}  // namespace hearth::weights
