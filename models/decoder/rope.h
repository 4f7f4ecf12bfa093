// The frequencies of rotary positions and which axis turns which channel.
//
// Source: transformers' Qwen3VLTextRotaryEmbedding (modeling_qwen3_vl.py): frequencies in fp32,
// inv_freq[i] = theta^(-2i / head_dim). The angles are made of them by the kernel rope_angles.
#pragma once

#include <cstdint>
#include <vector>

#include "models/decoder/description.h"

namespace hearth::decoder {

struct RopeTable {
  RopeTable(const Rope& rope, std::int32_t head_dim);

  std::vector<float> frequencies;  // [head_dim / 2]
  std::vector<std::uint8_t> axes;  // [head_dim / 2]: 0 time, 1 height, 2 width
};

}  // namespace hearth::decoder
