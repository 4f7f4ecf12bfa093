// Cosines and sines of rotary positions, on the host.
//
// Source: transformers' Qwen3VLTextRotaryEmbedding (modeling_qwen3_vl.py): frequencies and angles
// in fp32, inv_freq[i] = theta^(-2i / head_dim).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/description.h"

namespace hearth::decoder {

class RopeTable {
 public:
  RopeTable(const Rope& rope, std::int32_t head_dim);

  std::int32_t half() const { return static_cast<std::int32_t>(frequencies_.size()); }

  // `positions`: [3, rows] (time, height, width). Fills cosines and sines, each [rows, half()].
  void fill(std::span<const std::int32_t> positions, std::span<float> cosines,
            std::span<float> sines) const;

 private:
  std::vector<float> frequencies_;  // [half]
  std::vector<std::uint8_t> axes_;  // [half]: which axis turns this channel
};

}  // namespace hearth::decoder
