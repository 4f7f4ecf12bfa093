// The vision tower's weights as the kernels see them: pointers, formats and shapes.
//
// Borrowed: whoever loaded the weights keeps the memory alive longer than these structs.
#pragma once

#include <vector>

#include "models/decoder/weights.h"
#include "models/qwen2_5_vl/config.h"
#include "models/weights/weights.h"

namespace hearth::qwen2_5_vl {

struct VisionBlock {
  const float* norm1 = nullptr;  // [hidden]
  const float* norm2 = nullptr;
  decoder::Linear qkv, proj;  // [3 hidden, hidden], [hidden, hidden]
  decoder::Linear gate_up;    // row by row: [2 intermediate, hidden]
  decoder::Linear down;       // [hidden, intermediate]
};

// All linears F32 or BF16, with biases in the arithmetic type but for patch_embed, which has none.
struct VisionWeights {
  decoder::Linear patch_embed;  // [hidden, 3 * temporal * patch * patch]
  std::vector<VisionBlock> blocks;
  const float* merger_norm = nullptr;      // [hidden], before merge_size² patches are joined
  decoder::Linear merger_fc1, merger_fc2;  // [merged, merged], [text hidden, merged]
};

// The tower's tensors in the order in which it computes with them.
std::vector<weights::Tensor> vision_tensors(const VisionConfig& config);

// `loaded` was planned with vision_tensors(config).
VisionWeights vision_weights(const weights::Weights& loaded, const VisionConfig& config);

}  // namespace hearth::qwen2_5_vl
