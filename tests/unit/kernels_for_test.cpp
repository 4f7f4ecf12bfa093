#include "tests/unit/kernels_for_test.h"

#include <cmath>
#include <ostream>
#include <random>

namespace hearth::kernels {

void* Memory::numbers(HearthType type, const Floats& values) {
  if (type == HEARTH_F32) return copy(values);
  std::vector<BFloat16> rounded(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = to_bfloat16(values[i]);
  return copy(rounded);
}

void* HostMemory::allocate(std::size_t bytes) {
  const std::size_t rounded = (bytes + 64) / 64 * 64;
  blocks_.emplace_back(allocate_for_test(rounded), &free_for_test);
  std::memset(blocks_.back().get(), 0, rounded);
  return blocks_.back().get();
}

Floats read_numbers(HearthType type, const void* numbers, std::int64_t count) {
  Floats values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = type == HEARTH_F32 ? static_cast<const float*>(numbers)[i]
                                   : to_float(static_cast<const BFloat16*>(numbers)[i]);
  return values;
}

Floats normal_numbers(std::int64_t count, unsigned seed, float deviation) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

double relative_error(const Floats& got, const Floats& expected) {
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

std::ostream& operator<<(std::ostream& out, const Implementation& implementation) {
  return out << implementation.name;
}

std::vector<Implementation> cpu_implementations() {
  std::vector<Implementation> all;
  for (int i = 0; i <= static_cast<int>(cpu::machine_level()); ++i) {
    const auto level = static_cast<cpu::Level>(i);
    all.push_back({cpu::level_name(level), hearth_kernels_cpu(), level});
  }
  return all;
}

std::string implementation_name(const testing::TestParamInfo<Implementation>& info) {
  return info.param.name;
}

}  // namespace hearth::kernels
