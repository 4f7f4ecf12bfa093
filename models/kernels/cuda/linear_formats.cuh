// How each weight format comes from memory into the tensor cores' fragments.
//
// A warp multiplies a tile of 16 features by a unit of kUnit inputs at a time. Which feature is
// which row of a fragment, and which input is which column, is free as long as the other operand
// agrees, so both follow the weights' layout: with group = lane / 4 and t = lane % 4
//   rows group and group + 8 are features 2 group and 2 group + 1 of the tile, so that a lane ends
//   up with gate and up of the same output;
//   in product m of a unit a lane's four columns are the inputs input_of(m, t) .. + 3.
// Every weight is read once, streaming, and becomes a bf16 exactly; scales multiply sums.
//
// A format's constants: kUnit and kProducts as above; kGroupScales: sums of each unit are scaled;
// kRowScales: sums of each feature are; kTiled, kWeightBits: how many bytes a tile has; kPitchRest:
// of staged rows' distance in bf16s modulo 64, so that lanes reading at once meet different banks.
#pragma once

#include <cuda_fp16.h>

#include "models/kernels/cuda/mma.cuh"

namespace hearth::kernels::cuda {

constexpr int kTile = HEARTH_TILE;
constexpr int kGroup = HEARTH_GROUP;

// A HearthMatrix as kernels take it.
struct Weights {
  HearthFormat format;
  const unsigned char* data;
  const void* scales;
  int out_features;
  int in_features;
  bool whole;  // rows lie on 16-byte borders and are full packs of 16 bytes
};

inline Weights weights_of(const HearthMatrix& matrix) {
  const long long pack = matrix.format == HEARTH_FORMAT_F32    ? 4
                         : matrix.format == HEARTH_FORMAT_BF16 ? 8
                                                               : 16;
  return {matrix.format,
          static_cast<const unsigned char*>(matrix.data),
          matrix.scales,
          static_cast<int>(matrix.out_features),
          static_cast<int>(matrix.in_features),
          matrix.in_features % pack == 0 &&
              reinterpret_cast<unsigned long long>(matrix.data) % 16 == 0};
}

__device__ __forceinline__ long long groups_of(const Weights& w) {
  return (w.in_features + kGroup - 1) / kGroup;
}

// 16 bytes of a row-major row from byte `at` on; zeros beyond its `row_bytes`.
__device__ __forceinline__ uint4 load_row(const Weights& w, int feature, long long at,
                                          long long row_bytes) {
  if (feature >= w.out_features || at >= row_bytes) return uint4{0, 0, 0, 0};
  const unsigned char* from = w.data + feature * row_bytes + at;
  if (w.whole) return __ldcs(reinterpret_cast<const uint4*>(from));
  unsigned word[4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < 16; ++i)
    if (at + i < row_bytes) word[i / 4] |= static_cast<unsigned>(from[i]) << (i % 4 * 8);
  return uint4{word[0], word[1], word[2], word[3]};
}

__device__ __forceinline__ unsigned word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

__device__ __forceinline__ unsigned subtract_pairs(unsigned a, unsigned b) {
  return bits_as<unsigned>(__hsub2(bits_as<__nv_bfloat162>(a), bits_as<__nv_bfloat162>(b)));
}

// The two fragment words of four weights of a row: inputs 0, 1 and inputs 2, 3.
struct Quad {
  unsigned first, second;
};

struct Bf16Format {
  static constexpr int kUnit = 32;
  static constexpr int kProducts = 2;
  static constexpr bool kGroupScales = false;
  static constexpr bool kRowScales = false;
  static constexpr bool kTiled = false;
  static constexpr int kWeightBits = 16;
  static constexpr int kPitchRest = 4;
  struct Raw {
    uint4 row[2];
  };
  __device__ static int input_of(int m, int t) { return 8 * t + 4 * m; }
  __device__ static Raw load(const Weights& w, int tile, int unit, int lane) {
    const int feature = tile * kTile + lane / 4 * 2;
    const long long at = (static_cast<long long>(unit) * kUnit + lane % 4 * 8) * 2;
    const long long row_bytes = 2LL * w.in_features;
    return {{load_row(w, feature, at, row_bytes), load_row(w, feature + 1, at, row_bytes)}};
  }
  __device__ static Quad quad(const Raw& raw, int row, int m) {
    return {word_of(raw.row[row], 2 * m), word_of(raw.row[row], 2 * m + 1)};
  }
};

// e4m3 has its exponent's and mantissa's bits where bf16 has the ends of its own, so a shift makes
// a bf16 that is 2^120 too small, subnormals included. (Packed weights hold no NaN.)
struct Fp8Format {
  static constexpr int kUnit = 64;
  static constexpr int kProducts = 4;
  static constexpr bool kGroupScales = false;
  static constexpr bool kRowScales = true;
  static constexpr bool kTiled = false;
  static constexpr int kWeightBits = 8;
  static constexpr int kPitchRest = 4;
  struct Raw {
    uint4 row[2];
  };
  __device__ static int input_of(int m, int t) { return 16 * t + 4 * m; }
  __device__ static Raw load(const Weights& w, int tile, int unit, int lane) {
    const int feature = tile * kTile + lane / 4 * 2;
    const long long at = static_cast<long long>(unit) * kUnit + lane % 4 * 16;
    return {{load_row(w, feature, at, w.in_features), load_row(w, feature + 1, at, w.in_features)}};
  }
  // Two codes, in the low bytes of the halves.
  __device__ static unsigned pair(unsigned codes) {
    constexpr unsigned kTwoTo120 = 0x7b807b80u;
    const unsigned small = (codes & 0x00800080u) << 8 | (codes & 0x007f007fu) << 4;
    return bits_as<unsigned>(
        __hmul2(bits_as<__nv_bfloat162>(small), bits_as<__nv_bfloat162>(kTwoTo120)));
  }
  __device__ static Quad quad(const Raw& raw, int row, int m) {
    const unsigned codes = word_of(raw.row[row], m);
    return {pair(__byte_perm(codes, 0, 0x4140)), pair(__byte_perm(codes, 0, 0x4342))};
  }
};

// 0x4300 is 128 in bf16 and its last bit counts 1, so 0x4300 | x is 128 + x for x < 128.
struct Int8Format {
  static constexpr int kUnit = kGroup;
  static constexpr int kProducts = 4;
  static constexpr bool kGroupScales = false;
  static constexpr bool kRowScales = true;
  static constexpr bool kTiled = true;
  static constexpr int kWeightBits = 8;
  static constexpr int kPitchRest = 16;
  struct Raw {
    uint2 part[4];  // features 2 group and 2 group + 1
  };
  __device__ static int input_of(int m, int t) { return 16 * m + 4 * t; }
  __device__ static Raw load(const Weights& w, int tile, int unit, int lane) {
    const unsigned char* from =
        w.data + (tile * groups_of(w) + unit) * (kTile * kGroup) + lane % 4 * 64 + lane / 4 * 8;
    Raw raw;
#pragma unroll
    for (int m = 0; m < 4; ++m)
      raw.part[m] = __ldcs(reinterpret_cast<const uint2*>(from + m * 256));
    return raw;
  }
  // Two codes w + 128, in the low bytes of the halves: 128 + low seven bits, less 128 or, where the
  // eighth is not set, less 256.
  __device__ static unsigned pair(unsigned codes) {
    return subtract_pairs((codes & 0x007f007fu) | 0x43004300u, (codes & 0x00800080u) ^ 0x43804380u);
  }
  __device__ static Quad quad(const Raw& raw, int row, int m) {
    const unsigned codes = row == 0 ? raw.part[m].x : raw.part[m].y;
    return {pair(__byte_perm(codes, 0, 0x4140)), pair(__byte_perm(codes, 0, 0x4342))};
  }
};

struct Int4Format {
  static constexpr int kUnit = kGroup;
  static constexpr int kProducts = 4;
  static constexpr bool kGroupScales = true;
  static constexpr bool kRowScales = false;
  static constexpr bool kTiled = true;
  static constexpr int kWeightBits = 4;
  static constexpr int kPitchRest = 16;
  struct Raw {
    uint2 part[2];       // features 2 group and 2 group + 1
    unsigned scale = 0;  // of both, f16
  };
  __device__ static int input_of(int m, int t) { return 16 * m + 4 * t; }
  __device__ static Raw load(const Weights& w, int tile, int unit, int lane) {
    const long long group = tile * groups_of(w) + unit;
    const unsigned char* from =
        w.data + group * (kTile * kGroup / 2) + lane % 4 * 64 + lane / 4 * 8;
    Raw raw;
    raw.part[0] = __ldcs(reinterpret_cast<const uint2*>(from));
    raw.part[1] = __ldcs(reinterpret_cast<const uint2*>(from + 256));
    raw.scale = __ldcs(static_cast<const unsigned*>(w.scales) + (group * kTile + lane / 4 * 2) / 2);
    return raw;
  }
  __device__ static float scale(const Raw& raw, int row) {
    __half_raw bits;
    bits.x = static_cast<unsigned short>(row == 0 ? raw.scale : raw.scale >> 16);
    return __half2float(__half(bits));
  }
  // Products 0 and 1 are the low nibbles of both parts, 2 and 3 the high ones. A nibble w + 8
  // behind 0x43 is 136 + w.
  __device__ static Quad quad(const Raw& raw, int row, int m) {
    const uint2 part = m % 2 == 0 ? raw.part[0] : raw.part[1];
    const unsigned codes = ((row == 0 ? part.x : part.y) >> (m / 2 * 4)) & 0x0f0f0f0fu;
    return {subtract_pairs(__byte_perm(codes, 0x43434343u, 0x4140), 0x43084308u),
            subtract_pairs(__byte_perm(codes, 0x43434343u, 0x4342), 0x43084308u)};
  }
};

// Inputs k .. k + 3 of a feature; beyond in_features zeros, or what is left as it was.
// For weights of any format as fp32; one at a time.
__device__ inline void weights_at(const Weights& m, int feature, int k, float* w) {
  const long long row = static_cast<long long>(feature) * m.in_features;
  const long long group = (feature / kTile) * groups_of(m) + k / kGroup;
  const int quad = k % kGroup / 4;
  if (m.format == HEARTH_FORMAT_INT8) {
    const unsigned codes = *reinterpret_cast<const unsigned*>(m.data + group * (kTile * kGroup) +
                                                              quad * 64 + feature % kTile * 4);
    const float scale = static_cast<const float*>(m.scales)[feature];
    for (int i = 0; i < 4; ++i)
      w[i] = scale * static_cast<float>(static_cast<int>(codes >> (8 * i) & 255u) - 128);
  } else if (m.format == HEARTH_FORMAT_INT4) {
    const unsigned codes = *reinterpret_cast<const unsigned*>(
        m.data + group * (kTile * kGroup / 2) + quad % 8 * 64 + feature % kTile * 4);
    __half_raw bits;
    bits.x = static_cast<const unsigned short*>(m.scales)[group * kTile + feature % kTile];
    const float scale = __half2float(__half(bits));
    for (int i = 0; i < 4; ++i)
      w[i] =
          scale * static_cast<float>(static_cast<int>(codes >> (8 * i + quad / 8 * 4) & 15u) - 8);
  } else {
    for (int i = 0; i < 4 && k + i < m.in_features; ++i) {
      if (m.format == HEARTH_FORMAT_FP8)
        w[i] = static_cast<const float*>(m.scales)[feature] *
               low_half(Fp8Format::pair(m.data[row + k + i]));
      else
        w[i] = number_at(m.format == HEARTH_FORMAT_F32 ? HEARTH_F32 : HEARTH_BF16, m.data,
                         row + k + i);
    }
  }
}

}  // namespace hearth::kernels::cuda
