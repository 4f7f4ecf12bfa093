#include "models/decoder/rope.h"

#include <cassert>
#include <cmath>

namespace hearth::decoder {
namespace {

std::uint8_t interleaved_axis(const Rope& rope, std::int32_t channel) {
  const std::int32_t axis = channel % 3;
  if (axis == 0) return 0;
  return channel < 3 * rope.sections[static_cast<std::size_t>(axis)]
             ? static_cast<std::uint8_t>(axis)
             : 0;
}

std::uint8_t contiguous_axis(const Rope& rope, std::int32_t channel) {
  if (channel < rope.sections[0]) return 0;
  return channel < rope.sections[0] + rope.sections[1] ? 1 : 2;
}

std::uint8_t axis_of(const Rope& rope, std::int32_t channel) {
  if (rope.sections == std::array<std::int32_t, 3>{}) return 0;
  return rope.interleaved ? interleaved_axis(rope, channel) : contiguous_axis(rope, channel);
}

}  // namespace

RopeTable::RopeTable(const Rope& rope, std::int32_t head_dim) {
  for (std::int32_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const auto power = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    frequencies_.push_back(1.0F / power);
    axes_.push_back(axis_of(rope, i));
  }
}

void RopeTable::fill(std::span<const std::int32_t> positions, std::span<float> cosines,
                     std::span<float> sines) const {
  const std::size_t rows = positions.size() / 3;
  const std::size_t half = frequencies_.size();
  assert(cosines.size() >= rows * half && sines.size() >= rows * half);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < half; ++i) {
      const std::int32_t position = positions[axes_[i] * rows + row];
      const float angle = static_cast<float>(position) * frequencies_[i];
      cosines[row * half + i] = std::cos(angle);
      sines[row * half + i] = std::sin(angle);
    }
  }
}

}  // namespace hearth::decoder
