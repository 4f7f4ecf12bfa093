// All formats in plain C++, for processors without the vector code of the other files.

#include <cstring>

#include "models/kernels/cpu/linear_job.h"
#include "models/kernels/cpu/quantised.h"

namespace hearth::kernels::cpu {
namespace {

#define HEARTH_TARGET
#include "models/kernels/cpu/linear_rows.h"

constexpr int kLanes = 4;

struct Four {
  float lane[kLanes];
};

struct Lanes {
  using Input = float;
  using Sum = Four;
  using Vector = Four;
  static constexpr int kStep = kLanes, kRows = 4;
  static constexpr float kUnit = 1.0f;
  static Sum zero() { return {}; }
  static Vector input(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
  static Sum add(Sum sum, Vector w, Vector x) {
    for (int i = 0; i < kLanes; ++i) sum.lane[i] += w.lane[i] * x.lane[i];
    return sum;
  }
  static float total(Sum sum) { return (sum.lane[0] + sum.lane[1]) + (sum.lane[2] + sum.lane[3]); }
};

struct F32 : Lanes {
  using Weight = float;
  static Vector weight(const float* p) { return input(p); }
};

struct Bf16 : Lanes {
  using Weight = BFloat16;
  static Vector weight(const BFloat16* p) {
    return {{to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3])}};
  }
};

struct Fp8 : Lanes {
  using Weight = std::uint8_t;
  static Vector weight(const std::uint8_t* p) {
    static const Numbers numbers;
    return {{numbers.of[p[0]], numbers.of[p[1]], numbers.of[p[2]], numbers.of[p[3]]}};
  }

 private:
  struct Numbers {
    float of[256];
    Numbers() {
      for (int i = 0; i < 256; ++i) of[i] = e4m3_to_float(static_cast<std::uint8_t>(i));
    }
  };
};

// 16 features by one row over one group. weights: [16 quads, 16 features, 4].
void add_dots(const std::uint8_t* weights, const std::int32_t* quads, std::int64_t stride,
              std::int32_t* sums) {
  for (int q = 0; q < kGroup / 4; ++q) {
    std::int8_t x[4];
    std::memcpy(x, quads + q * stride, sizeof x);
    for (int f = 0; f < kTile; ++f)
      for (int i = 0; i < 4; ++i) sums[f] += weights[q * 4 * kTile + f * 4 + i] * x[i];
  }
}

// A group of int4 as bytes.
void spread_nibbles(const std::uint8_t* both, std::uint8_t* bytes) {
  constexpr int kHalf = kGroup * kTile / 2;
  for (int i = 0; i < kHalf; ++i) {
    bytes[i] = both[i] & 15;
    bytes[i + kHalf] = both[i] >> 4;
  }
}

void compute_tile(const LinearJob& job, std::int64_t tile) {
  const HearthMatrix& m = job.call->weight;
  const bool is_int4 = m.format == HEARTH_FORMAT_INT4;
  float sums[HEARTH_MAX_ROWS][kTile] = {};
  for (std::int64_t g = 0; g < job.groups; ++g) {
    const auto* weights = static_cast<const std::uint8_t*>(m.data) +
                          (tile * job.groups + g) * tile_bytes(m.format, 1);
    std::uint8_t bytes[kGroup * kTile];
    if (is_int4) spread_nibbles(weights, bytes);
    float scales[kTile];
    for (int f = 0; f < kTile; ++f)
      scales[f] = is_int4 ? f16_to_float(static_cast<const std::uint16_t*>(
                                m.scales)[(tile * job.groups + g) * kTile + f])
                          : 1.0f;
    for (std::int64_t r = 0; r < job.rows; ++r) {
      const std::int64_t place = g * job.padded_rows + r;
      std::int32_t dots[kTile];
      std::fill_n(dots, kTile, job.offset_sums[place]);
      add_dots(is_int4 ? bytes : weights, job.quads + g * (kGroup / 4) * job.padded_rows + r,
               job.padded_rows, dots);
      for (int f = 0; f < kTile; ++f)
        sums[r][f] += static_cast<float>(dots[f]) * (job.input_scales[place] * scales[f]);
    }
  }
  for (std::int64_t r = 0; r < job.rows; ++r) {
    for (int f = 0; !is_int4 && f < kTile; ++f)
      sums[r][f] *= static_cast<const float*>(m.scales)[tile * kTile + f];
    finish(*job.call, r, tile, sums[r]);
  }
}

}  // namespace

void int8_tiles_generic(const LinearJob& job, std::int64_t first, std::int64_t last) {
  for (std::int64_t tile = first; tile < last; ++tile) compute_tile(job, tile);
}

void int4_tiles_generic(const LinearJob& job, std::int64_t first, std::int64_t last) {
  int8_tiles_generic(job, first, last);
}

const TileFunctions kGenericTiles = {row_tiles<F32>,     row_tiles<Bf16>,    row_tiles<Fp8>,
                                     int8_tiles_generic, int4_tiles_generic, false};

}  // namespace hearth::kernels::cpu
