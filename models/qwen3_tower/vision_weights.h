// The vision tower's weights as the kernels see them: pointers, formats and shapes.
//
// Borrowed: whoever loaded the weights keeps the memory alive longer than these structs.
#pragma once

#include <vector>

#include "models/decoder/weights.h"
#include "models/qwen3_tower/config.h"
#include "models/weights/weights.h"

namespace hearth::qwen3_tower {

// LayerNorm; the merger's width is its linear's input (joined patches) or a quarter of it.
struct VisionNorm {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

struct VisionBlock {
  VisionNorm norm1, norm2;    // [hidden]
  decoder::Linear qkv, proj;  // [3 hidden, hidden], [hidden, hidden]
  decoder::Linear fc1, fc2;   // [intermediate, hidden], [hidden, intermediate]
};

// merge_size² neighbouring patches become one token.
struct VisionMerger {
  VisionNorm norm;
  decoder::Linear fc1, fc2;  // [merged, merged], [text hidden, merged]
};

// All linears F32 or BF16 as `type`, with biases in `type`.
struct VisionWeights {
  HearthType type = HEARTH_F32;
  decoder::Linear patch_embed;       // [hidden, 3 * temporal * patch * patch]
  const float* positions = nullptr;  // [position_rows, hidden]
  std::vector<VisionBlock> blocks;
  VisionMerger merger;                  // norm [hidden], before joining
  std::vector<VisionMerger> deepstack;  // norm [merged], after joining
  int device = -1;                      // CUDA device of all pointers; -1: host memory
};

// The tower's tensors in the order in which it computes with them.
std::vector<weights::Tensor> vision_tensors(const VisionConfig& config);

// `loaded` was planned with vision_tensors(config).
VisionWeights vision_weights(const weights::Weights& loaded, const VisionConfig& config);

}  // namespace hearth::qwen3_tower
