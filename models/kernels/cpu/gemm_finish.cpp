#include "models/kernels/cpu/gemm_finish.h"

#include <algorithm>

#include "models/kernels/cpu/amx_math.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kLanes = 16;
constexpr int kTileFloats = kTileRows * kTileRows;

// What the 16 features of a column tile share.
struct Columns {
  __m512 scale, bias;
  __mmask16 lanes;
};

HEARTH_AMX_INLINE Columns columns_of(const HearthGemm& gemm, std::int64_t feature) {
  const HearthMatrix& weight = gemm.weight;
  const __mmask16 lanes = first_lanes(weight.out_features - feature);
  const bool scaled = weight.format == HEARTH_FORMAT_INT8 || weight.format == HEARTH_FORMAT_FP8;
  Columns columns{_mm512_set1_ps(1.0F), _mm512_setzero_ps(), lanes};
  if (lanes == 0) return columns;
  if (scaled)
    columns.scale =
        _mm512_maskz_loadu_ps(lanes, static_cast<const float*>(weight.scales) + feature);
  if (gemm.bias != nullptr)
    columns.bias = load_bfloat16(static_cast<const BFloat16*>(gemm.bias) + feature, lanes);
  return columns;
}

template <HearthActivation kActivation>
HEARTH_AMX_INLINE __m512 value_of(const float* sums, const Columns& columns) {
  const __m512 y = _mm512_fmadd_ps(_mm512_load_ps(sums), columns.scale, columns.bias);
  if constexpr (kActivation == HEARTH_GELU_TANH) return gelu_tanh(y);
  if constexpr (kActivation == HEARTH_GELU_ERF) return gelu_erf(y);
  return y;
}

HEARTH_AMX_INLINE __m512 load_output(const float* from, __mmask16 lanes) {
  return _mm512_maskz_loadu_ps(lanes, from);
}
HEARTH_AMX_INLINE __m512 load_output(const BFloat16* from, __mmask16 lanes) {
  return load_bfloat16(from, lanes);
}
HEARTH_AMX_INLINE void store_output(float* to, __mmask16 lanes, __m512 value) {
  _mm512_mask_storeu_ps(to, lanes, value);
}
HEARTH_AMX_INLINE void store_output(BFloat16* to, __mmask16 lanes, __m512 value) {
  store_bfloat16(to, lanes, value);
}

template <class T, HearthActivation kActivation, bool kAdd>
HEARTH_AMX void finish_features(const HearthGemm& gemm, const BlockPlace& place,
                                const float* sums) {
  const Columns columns[2] = {columns_of(gemm, place.feature),
                              columns_of(gemm, place.feature + kLanes)};
  for (std::int64_t row = 0; row < place.rows; ++row) {
    const float* from = sums + row / kTileRows * 2 * kTileFloats + row % kTileRows * kLanes;
    T* to = static_cast<T*>(gemm.output) + (place.row + row) * gemm.output_stride + place.feature;
    for (int i = 0; i < 2; ++i) {
      const __mmask16 lanes = columns[i].lanes;
      __m512 y = value_of<kActivation>(from + i * kTileFloats, columns[i]);
      if constexpr (kAdd) y = _mm512_add_ps(y, load_output(to + i * kLanes, lanes));
      store_output(to + i * kLanes, lanes, y);
    }
  }
}

template <class T>
HEARTH_AMX void finish_swiglu(const HearthGemm& gemm, const BlockPlace& place, const float* sums) {
  const Columns low = columns_of(gemm, place.feature);
  const Columns high = columns_of(gemm, place.feature + kLanes);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __mmask16 lanes = first_lanes((gemm.weight.out_features - place.feature) / 2);
  for (std::int64_t row = 0; row < place.rows; ++row) {
    const float* from = sums + row / kTileRows * 2 * kTileFloats + row % kTileRows * kLanes;
    T* to =
        static_cast<T*>(gemm.output) + (place.row + row) * gemm.output_stride + place.feature / 2;
    const __m512 left = value_of<HEARTH_NO_ACTIVATION>(from, low);
    const __m512 right = value_of<HEARTH_NO_ACTIVATION>(from + kTileFloats, high);
    const __m512 gate = _mm512_permutex2var_ps(left, even, right);
    const __m512 up = _mm512_permutex2var_ps(left, odd, right);
    store_output(to, lanes, _mm512_mul_ps(silu(gate), up));
  }
}

template <class T, HearthActivation kActivation>
void finish_activated(const HearthGemm& gemm, const BlockPlace& place, const float* sums) {
  if (gemm.epilogue == HEARTH_ADD) {
    finish_features<T, kActivation, true>(gemm, place, sums);
  } else {
    finish_features<T, kActivation, false>(gemm, place, sums);
  }
}

template <class T>
void finish_typed(const HearthGemm& gemm, const BlockPlace& place, const float* sums) {
  if (gemm.epilogue == HEARTH_SWIGLU) return finish_swiglu<T>(gemm, place, sums);
  switch (gemm.activation) {
    case HEARTH_GELU_TANH:
      return finish_activated<T, HEARTH_GELU_TANH>(gemm, place, sums);
    case HEARTH_GELU_ERF:
      return finish_activated<T, HEARTH_GELU_ERF>(gemm, place, sums);
    case HEARTH_NO_ACTIVATION:
      return finish_activated<T, HEARTH_NO_ACTIVATION>(gemm, place, sums);
  }
}

}  // namespace

void finish_block(const HearthGemm& gemm, const BlockPlace& place, const float* sums) {
  if (gemm.output_type == HEARTH_F32) {
    finish_typed<float>(gemm, place, sums);
  } else {
    finish_typed<BFloat16>(gemm, place, sums);
  }
}

}  // namespace hearth::kernels::cpu
