#include "models/kernels/cpu/gemm_panel.h"

#include <algorithm>

#include "models/kernels/cpu/amx_tiles.h"
#include "models/kernels/formats.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kQuads = kTileDepth / 4;  // vectors of an int8 tile that a step takes

// --- row-major formats: 32 inputs of a feature as bf16, then a transposition

struct RowsOfFp8 {
  static constexpr std::int64_t kElementBytes = 1;
  // An e4m3 has 7 as the bias of its exponent, a bf16 127, and 4 more bits of fraction. Below 2^-6
  // an e4m3 is a count of 2^-9; all ones is NaN.
  HEARTH_AMX_INLINE static __m512i load(const char* row, __mmask32 mask) {
    const __m512i code = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, row));
    const __m512i size = _mm512_and_si512(code, _mm512_set1_epi16(0x7f));
    const __m512i counts = _mm512_castsi128_si512(
        _mm_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60));
    __m512i value = _mm512_add_epi16(_mm512_slli_epi16(size, 4), _mm512_set1_epi16(120 << 7));
    value = _mm512_mask_permutexvar_epi16(
        value, _mm512_cmplt_epu16_mask(size, _mm512_set1_epi16(8)), size, counts);
    value = _mm512_mask_mov_epi16(value, _mm512_cmpeq_epi16_mask(size, _mm512_set1_epi16(0x7f)),
                                  _mm512_set1_epi16(0x7fc0));
    const __m512i sign = _mm512_slli_epi16(_mm512_andnot_si512(size, code), 8);
    return _mm512_or_si512(value, sign);
  }
};

template <class Rows>
HEARTH_AMX void unpack_rows(const HearthMatrix& weight, const PanelPlace& place, char* right) {
  const std::int64_t stride = weight.in_features * Rows::kElementBytes;
  const char* base = static_cast<const char*>(weight.data) + place.feature * stride;
  for (int step = 0; step < place.steps; ++step) {
    const std::int64_t input = place.input + step * kTileDepth;
    const __mmask32 mask = first_pair_lanes(weight.in_features - input);
    for (int tile = 0; tile < 2; ++tile) {
      const int first = tile * kTileRows;
      transpose_tile<Rows>(base + first * stride + input * Rows::kElementBytes, stride,
                           weight.out_features - place.feature - first, mask,
                           right + step * kStepBytes + tile * kTileBytes);
    }
  }
}

// --- interleaved formats: a vector holds 4 inputs of 16 features, so pairs are lane-local

// Two integers that bf16 holds exactly, as a pair.
HEARTH_AMX_INLINE __m512i pair_of(__m512i low, __m512i high) {
  const __m512i a = _mm512_castps_si512(_mm512_cvtepi32_ps(low));
  const __m512i b = _mm512_castps_si512(_mm512_cvtepi32_ps(high));
  constexpr int kAOrBAndMask = 0xf8;
  return _mm512_ternarylogic_epi32(_mm512_srli_epi32(a, 16), b, _mm512_set1_epi32(-65536),
                                   kAOrBAndMask);
}

HEARTH_AMX void unpack_int8(const char* codes, int steps, char* right) {
  const __m512i flip = _mm512_set1_epi8(-128);
  for (int step = 0; step < steps; ++step)
    for (int quad = 0; quad < kQuads; ++quad) {
      const char* source = codes + (step * kQuads + quad) * kTileStride;
      const __m512i q = _mm512_xor_si512(_mm512_loadu_si512(source), flip);
      const __m512i q0 = _mm512_srai_epi32(_mm512_slli_epi32(q, 24), 24);
      const __m512i q1 = _mm512_srai_epi32(_mm512_slli_epi32(q, 16), 24);
      const __m512i q2 = _mm512_srai_epi32(_mm512_slli_epi32(q, 8), 24);
      const __m512i q3 = _mm512_srai_epi32(q, 24);
      char* target = right + step * kStepBytes + 2 * quad * kTileStride;
      _mm512_store_si512(target, pair_of(q0, q1));
      _mm512_store_si512(target + kTileStride, pair_of(q2, q3));
    }
}

// (code - 8) * scale in bf16, of the lowest bytes of `low` and `high`.
HEARTH_AMX_INLINE __m512i scaled_pair(__m512i low, __m512i high, __m512 scale, __m512 eight) {
  const __m512i byte = _mm512_set1_epi32(0xff);
  const __m512 a = _mm512_fmsub_ps(_mm512_cvtepi32_ps(_mm512_and_si512(low, byte)), scale, eight);
  const __m512 b = _mm512_fmsub_ps(_mm512_cvtepi32_ps(_mm512_and_si512(high, byte)), scale, eight);
  const __m512i apart = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a));
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, apart);
}

// A group's first 32 inputs are in the low nibbles of its 8 vectors, the others in the high ones.
HEARTH_AMX void unpack_int4(const char* codes, const std::uint16_t* scales, int steps,
                            char* right) {
  constexpr int kGroupBytes = HEARTH_GROUP * HEARTH_TILE / 2;
  const __m512i nibble = _mm512_set1_epi8(15);
  for (int step = 0; step < steps; ++step) {
    const int group = step / 2;
    const __m512 scale = _mm512_cvtph_ps(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales + group * HEARTH_TILE)));
    const __m512 eight = _mm512_mul_ps(scale, _mm512_set1_ps(8.0F));
    for (int quad = 0; quad < kQuads; ++quad) {
      const __m512i both = _mm512_loadu_si512(codes + group * kGroupBytes + quad * kTileStride);
      const __m512i q = _mm512_and_si512(step % 2 == 0 ? both : _mm512_srli_epi32(both, 4), nibble);
      char* target = right + step * kStepBytes + 2 * quad * kTileStride;
      _mm512_store_si512(target, scaled_pair(q, _mm512_srli_epi32(q, 8), scale, eight));
      _mm512_store_si512(target + kTileStride, scaled_pair(_mm512_srli_epi32(q, 16),
                                                           _mm512_srli_epi32(q, 24), scale, eight));
    }
  }
}

HEARTH_AMX void zero_tiles(int steps, char* right) {
  for (int step = 0; step < steps; ++step)
    for (int i = 0; i < kTileRows; ++i)
      _mm512_store_si512(right + step * kStepBytes + i * kTileStride, _mm512_setzero_si512());
}

void unpack_interleaved(const HearthMatrix& weight, const PanelPlace& place, char* right) {
  const std::int64_t groups = groups_of(weight.in_features);
  const std::int64_t bytes = tile_bytes(weight.format, groups);
  for (int i = 0; i < 2; ++i) {
    const std::int64_t tile = place.feature / HEARTH_TILE + i;
    char* target = right + i * kTileBytes;
    if (tile * HEARTH_TILE >= weight.out_features) {
      zero_tiles(place.steps, target);
      continue;
    }
    const char* codes = static_cast<const char*>(weight.data) + tile * bytes;
    if (weight.format == HEARTH_FORMAT_INT8) {
      unpack_int8(codes + place.input * HEARTH_TILE, place.steps, target);
    } else {
      const auto* scales = static_cast<const std::uint16_t*>(weight.scales);
      unpack_int4(codes + place.input * HEARTH_TILE / 2,
                  scales + (tile * groups + place.input / HEARTH_GROUP) * HEARTH_TILE, place.steps,
                  target);
    }
  }
}

}  // namespace

void unpack_panel(const HearthMatrix& weight, const PanelPlace& place, char* right) {
  switch (weight.format) {
    case HEARTH_FORMAT_BF16:
      unpack_rows<RowsOfBFloat16>(weight, place, right);
      break;
    case HEARTH_FORMAT_FP8:
      unpack_rows<RowsOfFp8>(weight, place, right);
      break;
    default:
      unpack_interleaved(weight, place, right);
  }
}

Prefetch panel_lines(const HearthMatrix& weight, const PanelPlace& place) {
  const bool rows = !is_tiled(weight.format);
  // Bytes that a step takes of a run, and the features in a run.
  const int step_bytes = weight.format == HEARTH_FORMAT_BF16   ? 2 * kTileDepth
                         : weight.format == HEARTH_FORMAT_FP8  ? kTileDepth
                         : weight.format == HEARTH_FORMAT_INT8 ? kTileDepth * HEARTH_TILE
                                                               : kTileDepth * HEARTH_TILE / 2;
  const std::int64_t features = rows ? 1 : HEARTH_TILE;
  const std::int64_t stride = rows ? weight.in_features * step_bytes / kTileDepth
                                   : tile_bytes(weight.format, groups_of(weight.in_features));
  const std::int64_t runs = (weight.out_features - place.feature + features - 1) / features;
  Prefetch ahead;
  ahead.base = static_cast<const char*>(weight.data) + place.feature / features * stride +
               place.input * step_bytes / kTileDepth;
  ahead.stride = stride;
  ahead.rows = static_cast<std::int32_t>(std::clamp<std::int64_t>(runs, 0, kBlock / features));
  ahead.lines = (place.steps * step_bytes + 63) / 64;
  return ahead;
}

}  // namespace hearth::kernels::cpu
