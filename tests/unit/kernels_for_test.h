// One kernel table against the plain one: memory, numbers, how far results are apart.
//
// A test is written once for all tables: it takes its buffers from a Memory, fills them from a
// seed, calls ref and the table at hand with the same struct, and bounds relative_error().
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/bfloat16.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/kernels.h"

namespace hearth::kernels {

using Floats = std::vector<float>;

inline std::size_t type_bytes(HearthType type) {
  return type == HEARTH_F32 ? 4 : 2;
}

// Memory that both the host and the tested implementation reach, freed as a whole.
class Memory {
 public:
  virtual ~Memory() = default;
  // 64-byte aligned, zeroed.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void* stream() { return nullptr; }
  // Until everything launched on stream() is done.
  virtual void wait() {}

  template <class T>
  T* copy(std::span<const T> values) {
    void* memory = allocate(values.size_bytes());
    std::memcpy(memory, values.data(), values.size_bytes());
    return static_cast<T*>(memory);
  }
  template <class T>
  T* copy(const std::vector<T>& values) {
    return copy(std::span<const T>(values));
  }
  // `values` rounded to `type`.
  void* numbers(HearthType type, const Floats& values) {
    if (type == HEARTH_F32) return copy(values);
    std::vector<BFloat16> rounded(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = to_bfloat16(values[i]);
    return copy(rounded);
  }
};

#if defined(HEARTH_TABLE_UNDER_TEST)
// Defined with the table that a program tests (tests/emulator, tests/gpu). `bytes` is a multiple of
// 64; 64-byte aligned, read and written by host and kernels.
void* allocate_for_test(std::size_t bytes);
void free_for_test(void* memory);
#else
inline void* allocate_for_test(std::size_t bytes) {
  return std::aligned_alloc(64, bytes);
}
inline void free_for_test(void* memory) {
  std::free(memory);
}
#endif

class HostMemory : public Memory {
 public:
  void* allocate(std::size_t bytes) override {
    const std::size_t rounded = (bytes + 64) / 64 * 64;
    blocks_.emplace_back(allocate_for_test(rounded), &free_for_test);
    std::memset(blocks_.back().get(), 0, rounded);
    return blocks_.back().get();
  }

 private:
  std::vector<std::unique_ptr<void, void (*)(void*)>> blocks_;
};

inline Floats read_numbers(HearthType type, const void* numbers, std::int64_t count) {
  Floats values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = type == HEARTH_F32 ? static_cast<const float*>(numbers)[i]
                                   : to_float(static_cast<const BFloat16*>(numbers)[i]);
  return values;
}

inline Floats normal_numbers(std::int64_t count, unsigned seed, float deviation = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// sqrt(sum of squared differences / sum of squares of what is expected); infinite where a number
// that should be finite is not.
inline double relative_error(const Floats& got, const Floats& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double differences = 0.0, squares = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = double{got[i]} - double{expected[i]};
    if (!std::isfinite(difference)) return INFINITY;
    differences += difference * difference;
    squares += double{expected[i]} * double{expected[i]};
  }
  return squares > 0.0 ? std::sqrt(differences / squares) : differences > 0.0 ? INFINITY : 0.0;
}

// A table, and at which level its vector code runs.
struct Implementation {
  std::string name;
  const HearthKernels* table;
  cpu::Level level = cpu::machine_level();

  // Sets the level as long as it lives.
  class Use {
   public:
    explicit Use(cpu::Level level) { cpu::set_level(level); }
    ~Use() { cpu::set_level(cpu::machine_level()); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
  };
  Use use() const { return Use(level); }
};

inline std::ostream& operator<<(std::ostream& out, const Implementation& implementation) {
  return out << implementation.name;
}

// The cpu table at each level that this machine has, slowest first.
inline std::vector<Implementation> cpu_implementations() {
  std::vector<Implementation> all;
  for (int i = 0; i <= static_cast<int>(cpu::machine_level()); ++i) {
    const auto level = static_cast<cpu::Level>(i);
    all.push_back({cpu::level_name(level), hearth_kernels_cpu(), level});
  }
  return all;
}

// What a test runs over that is true of every table: by default the cpu table.
#if defined(HEARTH_TABLE_UNDER_TEST)
std::vector<Implementation> implementations_under_test();
#else
inline std::vector<Implementation> implementations_under_test() {
  return cpu_implementations();
}
#endif

// How many times fewer a test repeats itself where a call takes long (tests/emulator).
#if defined(HEARTH_FEWER_REPETITIONS)
inline constexpr int kFewer = 100;
#else
inline constexpr int kFewer = 1;
#endif

// For INSTANTIATE_TEST_SUITE_P over implementations.
inline std::string implementation_name(const testing::TestParamInfo<Implementation>& info) {
  return info.param.name;
}

// Where the tested table is the GPU's and there is none.
#define HEARTH_SKIP_WITHOUT_DEVICE(status) \
  if ((status) == HEARTH_NO_DEVICE) GTEST_SKIP() << "no GPU here, so nothing was compared"

}  // namespace hearth::kernels
