// One kernel table against the plain one: memory, numbers, how far results are apart.
//
// A test is written and compiled once for all tables: it takes its buffers from a Memory, fills
// them from a seed, calls ref and the table at hand with the same struct, and bounds
// relative_error(). Which tables those are, a program says by what it is linked with:
// kernels_under_test.cpp here or in tests/emulator, tests/gpu.
#pragma once

#include <cstring>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/bfloat16.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/kernels.h"

namespace hearth::kernels {

using Floats = std::vector<float>;

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
  void* numbers(HearthType type, const Floats& values);
};

// From allocate_for_test().
class HostMemory : public Memory {
 public:
  void* allocate(std::size_t bytes) override;

 private:
  std::vector<std::unique_ptr<void, void (*)(void*)>> blocks_;
};

Floats read_numbers(HearthType type, const void* numbers, std::int64_t count);

Floats normal_numbers(std::int64_t count, unsigned seed, float deviation = 1.0f);

// sqrt(sum of squared differences / sum of squares of what is expected); infinite where a number
// that should be finite is not.
double relative_error(const Floats& got, const Floats& expected);

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

std::ostream& operator<<(std::ostream& out, const Implementation& implementation);

// The cpu table at each level that this machine has, slowest first.
std::vector<Implementation> cpu_implementations();

// What a test runs over that is true of every table, and the memory that those reach. One
// definition a program.
std::vector<Implementation> implementations_under_test();
// `bytes` is a multiple of 64; 64-byte aligned, read and written by host and kernels.
void* allocate_for_test(std::size_t bytes);
void free_for_test(void* memory);
// How many times fewer a test repeats itself where a call takes long; at least 1.
int fewer_repetitions();

// For INSTANTIATE_TEST_SUITE_P over implementations.
std::string implementation_name(const testing::TestParamInfo<Implementation>& info);

// Where the tested table is the GPU's and there is none.
#define HEARTH_SKIP_WITHOUT_DEVICE(status) \
  if ((status) == HEARTH_NO_DEVICE) GTEST_SKIP() << "no GPU here, so nothing was compared"

}  // namespace hearth::kernels
