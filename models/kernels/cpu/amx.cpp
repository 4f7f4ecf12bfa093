#include "models/kernels/cpu/amx.h"

#include <array>

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "models/kernels/cpu/level.h"

namespace hearth::kernels::cpu {
namespace {

constexpr TileShapes kFullTiles = TileShapes().shape(0, 8, kTileRows, kTileRows);

bool has_instructions() {
  constexpr unsigned kFeatures = 7, kAmx = 7U << 22;  // bf16, tiles, int8
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kAmx) == kAmx && __builtin_cpu_supports("avx512vbmi");
}

// The operating system saves tiles only for who asked. It refuses where it does not know them.
bool ask_permission() {
  constexpr long kRequestPermission = 0x1023, kTileState = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileState) == 0;
}

HEARTH_AMX bool multiplies_rightly() {
  alignas(64) std::array<BFloat16, kTileRows * kTileDepth> left, right;
  alignas(64) std::array<float, kTileRows * kTileRows> sums{};
  for (int i = 0; i < kTileRows * kTileDepth; ++i) {
    left[static_cast<std::size_t>(i)] = to_bfloat16(static_cast<float>(i % 7 - 3));
    right[static_cast<std::size_t>(i)] = to_bfloat16(static_cast<float>(i % 5 - 2));
  }
  const TileScope tiles;
  _tile_zero(0);
  _tile_loadd(1, left.data(), kTileStride);
  _tile_loadd(2, right.data(), kTileStride);
  _tile_dpbf16ps(0, 1, 2);
  _tile_stored(0, sums.data(), kTileStride);
  const auto at = [](const auto& tile, int i) { return tile[static_cast<std::size_t>(i)]; };
  for (int row = 0; row < kTileRows; ++row)
    for (int column = 0; column < kTileRows; ++column) {
      float sum = 0.0F;
      for (int k = 0; k < kTileDepth; ++k)
        sum += to_float(at(left, row * kTileDepth + k)) *
               to_float(at(right, (k / 2) * kTileDepth + column * 2 + k % 2));
      if (at(sums, row * kTileRows + column) != sum) return false;
    }
  return true;
}

HEARTH_AMX bool multiplies_bytes_rightly() {
  alignas(64) std::array<std::int8_t, kTileBytes> left;
  alignas(64) std::array<std::uint8_t, kTileBytes> right;
  alignas(64) std::array<std::int32_t, kTileRows * kTileRows> sums{};
  for (std::size_t i = 0; i < kTileBytes; ++i) {
    left[i] = static_cast<std::int8_t>(static_cast<int>(i % 253) - 126);
    right[i] = static_cast<std::uint8_t>(i % 251);
  }
  const TileScope tiles;
  _tile_zero(0);
  _tile_loadd(1, left.data(), kTileStride);
  _tile_loadd(2, right.data(), kTileStride);
  _tile_dpbsud(0, 1, 2);
  _tile_stored(0, sums.data(), kTileStride);
  const auto at = [](const auto& tile, int i) { return tile[static_cast<std::size_t>(i)]; };
  for (int row = 0; row < kTileRows; ++row)
    for (int column = 0; column < kTileRows; ++column) {
      int sum = 0;
      for (int k = 0; k < kTileStride; ++k)
        sum +=
            at(left, row * kTileStride + k) * at(right, k / 4 * kTileStride + column * 4 + k % 4);
      if (at(sums, row * kTileRows + column) != sum) return false;
    }
  return true;
}

}  // namespace

bool tiles_work() {
  return has_instructions() && ask_permission() && multiplies_rightly() &&
         multiplies_bytes_rightly();
}

bool has_amx() {
  return level() == Level::amx;
}

TileScope::TileScope() {
  _tile_loadconfig(&kFullTiles);
}
TileScope::TileScope(const TileShapes& shapes) {
  _tile_loadconfig(&shapes);
}
TileScope::~TileScope() {
  _tile_release();
}

}  // namespace hearth::kernels::cpu
