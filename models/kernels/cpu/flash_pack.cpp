#include "models/kernels/cpu/flash_pack.h"

#include "models/kernels/cpu/amx_math.h"
#include "models/kernels/cpu/amx_tiles.h"

namespace hearth::kernels::cpu {
namespace {

const BFloat16* token_of(const FlashJob& job, const void* cache, std::int64_t token) {
  return static_cast<const BFloat16*>(cache) + job.kv_head * job.flash.head_stride +
         token * job.flash.token_stride;
}

// 16 channels of a token, each in the low half of a lane. Zeros where there is no token.
HEARTH_AMX_INLINE __m512i channels(const BFloat16* token, __mmask16 lanes) {
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, token));
}

// Tokens [first, last), at most kTileDepth, of 16 channels.
HEARTH_AMX_INLINE void pack_value_tile(const FlashJob& job, std::int64_t first, std::int64_t last,
                                       std::int64_t channel, char* target) {
  const __mmask16 lanes = first_lanes(job.flash.head_dim - channel);
  const BFloat16* value = token_of(job, job.flash.values, first) + channel;
  for (std::int64_t pair = 0; pair < kTileRows; ++pair) {
    const std::int64_t left = last - first - 2 * pair;
    const BFloat16* even = value + 2 * pair * job.flash.token_stride;
    const __m512i low = left > 0 ? channels(even, lanes) : _mm512_setzero_si512();
    const __m512i high =
        left > 1 ? channels(even + job.flash.token_stride, lanes) : _mm512_setzero_si512();
    _mm512_store_si512(target + pair * kTileStride,
                       _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
}

}  // namespace

HEARTH_AMX void pack_queries(const FlashJob& job, std::int64_t row, char* left) {
  const HearthFlash& flash = job.flash;
  const std::int64_t rows = std::min<std::int64_t>(job.rows() - row, kBlock);
  for (std::int64_t i = 0; i < kBlock; ++i) {
    const auto* query = static_cast<const BFloat16*>(flash.query);
    if (i < rows)
      query += job.token(row + i) * flash.query_stride + job.head(row + i) * flash.head_dim;
    char* target = left + i / kTileRows * kTileBytes + i % kTileRows * kTileStride;
    for (std::int64_t step = 0; step < channel_steps(flash.head_dim); ++step) {
      const std::int64_t channel = step * kTileDepth;
      const __mmask32 lanes = first_pair_lanes(i < rows ? flash.head_dim - channel : 0);
      _mm512_store_si512(target + step * kStepBytes,
                         _mm512_maskz_loadu_epi16(lanes, query + channel));
    }
  }
}

HEARTH_AMX void pack_keys(const FlashJob& job, std::int64_t first, std::int64_t last, char* right) {
  const auto* base = reinterpret_cast<const char*>(token_of(job, job.flash.keys, first));
  const std::int64_t stride = job.flash.token_stride * std::int64_t{sizeof(BFloat16)};
  for (std::int64_t step = 0; step < channel_steps(job.flash.head_dim); ++step) {
    const __mmask32 mask = first_pair_lanes(job.flash.head_dim - step * kTileDepth);
    for (std::int64_t tile = 0; tile < 2; ++tile) {
      const std::int64_t key = tile * kTileRows;
      transpose_tile<RowsOfBFloat16>(base + key * stride + step * kTileStride, stride,
                                     last - first - key, mask,
                                     right + step * kStepBytes + tile * kTileBytes);
    }
  }
}

HEARTH_AMX void pack_values(const FlashJob& job, std::int64_t first, std::int64_t last,
                            std::int64_t most_steps, char* right) {
  for (std::int64_t block = 0; block < channel_steps(job.flash.head_dim); ++block)
    for (std::int64_t token = first; token < last; token += kTileDepth) {
      const std::int64_t step = (token - first) / kTileDepth;
      char* target = right + (block * most_steps + step) * kStepBytes;
      for (std::int64_t tile = 0; tile < 2; ++tile)
        pack_value_tile(job, token, last, block * kBlock + tile * kTileRows,
                        target + tile * kTileBytes);
    }
}

}  // namespace hearth::kernels::cpu
