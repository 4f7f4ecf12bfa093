// Pictures drawn from a number, the same as in tests/fixtures/make_image_fixtures.py.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "shm/tensor.h"

namespace hearth::image {

// Steele, Lea and Flood's mixer.
inline std::uint64_t splitmix64(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

struct DrawnPicture {
  std::vector<std::int64_t> shape;   // [height, width, channels]
  std::vector<std::uint8_t> pixels;  // of that shape

  TensorView view() const { return {DType::kU8, shape, std::as_bytes(std::span(pixels))}; }
};

// `kind`: noise, extreme (0 and 255 only) or ramp.
inline DrawnPicture draw(std::string_view kind, std::uint64_t seed,
                         const std::vector<std::int64_t>& shape) {
  DrawnPicture picture{shape, {}};
  std::uint64_t index = 0;
  for (std::int64_t y = 0; y < shape[0]; ++y)
    for (std::int64_t x = 0; x < shape[1]; ++x)
      for (std::int64_t c = 0; c < shape[2]; ++c) {
        const auto noise = static_cast<std::uint8_t>(splitmix64(index++ + (seed << 32)) >> 56);
        if (kind == "noise")
          picture.pixels.push_back(noise);
        else if (kind == "extreme")
          picture.pixels.push_back(noise & 1 ? 255 : 0);
        else
          picture.pixels.push_back(static_cast<std::uint8_t>(y * 2 + x * 3 + c * 50));
      }
  return picture;
}

// 64-bit FNV-1a.
inline std::uint64_t fnv1a(std::span<const std::byte> bytes) {
  std::uint64_t value = 0xCBF29CE484222325;
  for (const auto byte : bytes)
    value = (value ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3;
  return value;
}

}  // namespace hearth::image
