#include "models/host_cpu.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace hearth::models {
namespace {

bool is_amx_broken() {
#if defined(__x86_64__)
  constexpr unsigned kFeatures = 7, kAmxTile = 1U << 24, kTileInformation = 0x1D, kPalette1 = 1;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) == 0 || (d & kAmxTile) == 0) return false;
  const bool described = __get_cpuid_count(kTileInformation, kPalette1, &a, &b, &c, &d) != 0;
  return !described || a == 0;
#else
  return false;
#endif
}

}  // namespace

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

std::uint32_t compute_threads(std::uint32_t wanted) {
  return wanted > 0 ? wanted : std::max(1U, std::thread::hardware_concurrency());
}

bool avoid_broken_amx() {
  static const bool broken = is_amx_broken();
  if (broken) ::setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16", 0);
  return broken;
}

}  // namespace hearth::models
