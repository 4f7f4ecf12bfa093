#include "models/kernels/cpu/level.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include "models/kernels/cpu/amx.h"
#endif

namespace hearth::kernels::cpu {
namespace {

constexpr const char* kNames[kLevels] = {"generic",    "avx2",       "avx512",
                                         "avx512vnni", "avx512bf16", "amx"};

Level ask_processor() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c"))
    return Level::generic;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return Level::avx2;
  if (!__builtin_cpu_supports("avx512vnni")) return Level::avx512;
  if (!__builtin_cpu_supports("avx512bf16")) return Level::avx512vnni;
  return tiles_work() ? Level::amx : Level::avx512bf16;
#else
  return Level::generic;
#endif
}

Level first_choice() {
  const char* wanted = std::getenv("HEARTH_CPU_LEVEL");
  for (int i = 0; wanted != nullptr && i < kLevels; ++i)
    if (std::strcmp(wanted, kNames[i]) == 0) return std::min(Level{i}, machine_level());
  return machine_level();
}

std::atomic<Level>& chosen() {
  static std::atomic<Level> level{first_choice()};
  return level;
}

}  // namespace

const char* level_name(Level level) {
  return kNames[static_cast<int>(level)];
}

Level machine_level() {
  static const Level level = ask_processor();
  return level;
}

Level level() {
  return chosen().load(std::memory_order_relaxed);
}

void set_level(Level level) {
  chosen().store(std::min(level, machine_level()), std::memory_order_relaxed);
}

}  // namespace hearth::kernels::cpu
