#include "models/kernels/cpu/amx.h"

#include <array>

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "models/kernels/cpu/level.h"

namespace hearth::kernels::cpu {
namespace {

// The operand of ldtilecfg. Intel, Software Developer's Manual, volume 1, 18.2.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> row_bytes{};
  std::array<std::uint8_t, 16> rows{};
};
static_assert(sizeof(TileShapes) == 64);

constexpr TileShapes full_tiles() {
  TileShapes shapes;
  for (std::size_t tile = 0; tile < 8; ++tile) {
    shapes.row_bytes[tile] = kTileStride;
    shapes.rows[tile] = kTileRows;
  }
  return shapes;
}
constexpr TileShapes kFullTiles = full_tiles();

bool has_instructions() {
  constexpr unsigned kFeatures = 7, kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kAmxBf16) != 0 && (d & kAmxTile) != 0 && machine_level() == Level::avx512bf16 &&
         __builtin_cpu_supports("avx512vbmi");
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

}  // namespace

bool has_amx() {
  static const bool works = has_instructions() && ask_permission() && multiplies_rightly();
  return works && level() == Level::avx512bf16;
}

TileScope::TileScope() {
  _tile_loadconfig(&kFullTiles);
}
TileScope::~TileScope() {
  _tile_release();
}

}  // namespace hearth::kernels::cpu
