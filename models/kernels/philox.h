// Philox4x32-10: random numbers as a pure function of key and counter.
//
// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011. No state, so
// any step of any answer can be drawn at any time, on the CPU and on a GPU alike. C++17, because
// CUDA sources include it.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define HEARTH_ANYWHERE __host__ __device__
#else
#define HEARTH_ANYWHERE
#endif

namespace hearth::kernels {

struct PhiloxCounter {
  std::uint32_t word[4];
};

struct PhiloxKey {
  std::uint32_t word[2];
};

constexpr bool operator==(const PhiloxCounter& a, const PhiloxCounter& b) {
  return a.word[0] == b.word[0] && a.word[1] == b.word[1] && a.word[2] == b.word[2] &&
         a.word[3] == b.word[3];
}

HEARTH_ANYWHERE constexpr PhiloxCounter philox_round(const PhiloxCounter& counter,
                                                     const PhiloxKey& key) {
  const std::uint64_t left = std::uint64_t{0xD2511F53} * counter.word[0];
  const std::uint64_t right = std::uint64_t{0xCD9E8D57} * counter.word[2];
  return {{static_cast<std::uint32_t>(right >> 32) ^ counter.word[1] ^ key.word[0],
           static_cast<std::uint32_t>(right),
           static_cast<std::uint32_t>(left >> 32) ^ counter.word[3] ^ key.word[1],
           static_cast<std::uint32_t>(left)}};
}

HEARTH_ANYWHERE constexpr PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    counter = philox_round(counter, key);
    key.word[0] += 0x9E3779B9;
    key.word[1] += 0xBB67AE85;
  }
  return counter;
}

// Uniform in [0, 1) with 53 random bits, for one step of one answer.
HEARTH_ANYWHERE constexpr double philox_uniform(std::uint64_t seed, std::uint32_t answer_index,
                                                std::uint32_t step) {
  const PhiloxKey key = {
      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
  const PhiloxCounter bits = philox4x32({{step, answer_index, 0, 0}}, key);
  const std::uint64_t word = std::uint64_t{bits.word[0]} << 32 | bits.word[1];
  return static_cast<double>(word >> 11) * (1.0 / 9007199254740992.0);  // 2^-53
}

}  // namespace hearth::kernels
