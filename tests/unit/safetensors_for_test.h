// Safetensors files made in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::files {

// `header` as it stands, under its length, before `data_bytes` bytes that count upwards.
inline std::string safetensors(std::string_view header, std::size_t data_bytes) {
  std::string file;
  for (int shift = 0; shift < 64; shift += 8)
    file += static_cast<char>(static_cast<std::uint64_t>(header.size()) >> shift);
  file += header;
  for (std::size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
  return file;
}

// A file of one f32 [2, 3] tensor.
inline std::string one_tensor(std::string_view name) {
  return safetensors(
      "{\"" + std::string(name) + "\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
      24);
}

}  // namespace hearth::files
