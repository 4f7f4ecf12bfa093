#include "models/decoder/rope.h"

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

RopeTable::RopeTable(const Description& description) {
  const Rope& rope = description.rope;
  const std::int32_t rotated = description.rotated();
  for (std::int32_t i = 0; i < rotated / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotated);
    const auto power = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    frequencies.push_back(1.0F / power);
    axes.push_back(axis_of(rope, i));
  }
  const auto half = static_cast<std::size_t>(description.layers.front().head_dim) / 2;
  frequencies.resize(half, 0.0F);
  axes.resize(half, 0);
}

}  // namespace hearth::decoder
