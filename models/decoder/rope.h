// The frequencies of rotary positions and which axis turns which channel.
//
// Source: transformers' Qwen3VLTextRotaryEmbedding (modeling_qwen3_vl.py): frequencies in fp32,
// inv_freq[i] = theta^(-2i / rotated). The angles are made of them by the kernel rope_angles.
// Where a part of a head is rotated, kernels still turn the whole head, channel i with i +
// head_dim / 2: the rows of queries and keys are placed so that the rotated pairs come first
// (weights/plan.cpp), and the others' frequency is 0, which changes no bit of them.
#pragma once

#include <cstdint>
#include <vector>

#include "models/decoder/description.h"

namespace hearth::decoder {

struct RopeTable {
  explicit RopeTable(const Description& description);

  std::vector<float> frequencies;  // [head_dim / 2]
  std::vector<std::uint8_t> axes;  // [head_dim / 2]: 0 time, 1 height, 2 width
};

}  // namespace hearth::decoder
