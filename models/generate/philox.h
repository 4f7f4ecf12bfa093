// Philox4x32-10: random numbers as a pure function of key and counter.
//
// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011. No state, so
// any step of any answer can be drawn at any time, on the CPU and on a GPU alike.
#pragma once

#include <array>
#include <cstdint>

namespace hearth::generate {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

constexpr PhiloxCounter philox_round(const PhiloxCounter& counter, const PhiloxKey& key) {
  const std::uint64_t left = std::uint64_t{0xD2511F53} * counter[0];
  const std::uint64_t right = std::uint64_t{0xCD9E8D57} * counter[2];
  return {static_cast<std::uint32_t>(right >> 32) ^ counter[1] ^ key[0],
          static_cast<std::uint32_t>(right),
          static_cast<std::uint32_t>(left >> 32) ^ counter[3] ^ key[1],
          static_cast<std::uint32_t>(left)};
}

constexpr PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    counter = philox_round(counter, key);
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// Uniform in [0, 1) with 53 random bits, for one step of one answer.
constexpr double philox_uniform(std::uint64_t seed, std::uint32_t answer_index,
                                std::uint32_t step) {
  const PhiloxKey key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  const PhiloxCounter bits = philox4x32({step, answer_index, 0, 0}, key);
  const std::uint64_t word = std::uint64_t{bits[0]} << 32 | bits[1];
  return static_cast<double>(word >> 11) * 0x1p-53;
}

}  // namespace hearth::generate
