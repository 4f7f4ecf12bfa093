// A linear for few rows: the inputs are prepared once, then threads compute tiles of outputs.

#include "models/kernels/check.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/linear_input.h"
#include "models/kernels/cpu/linear_job.h"
#include "models/kernels/cpu/quantised.h"
#include "models/kernels/cpu/team.h"

namespace hearth::kernels::cpu {
namespace {

const TileFunctions& functions() {
#if defined(__x86_64__)
  switch (level()) {
    case Level::amx:
    case Level::avx512bf16:
      return kAvx512Bf16Tiles;
    case Level::avx512vnni:
      return kAvx512VnniTiles;
    case Level::avx512:
      return kAvx512Tiles;
    case Level::avx2:
      return kAvx2Tiles;
    case Level::generic:
      break;
  }
#endif
  return kGenericTiles;
}

TileFunction function_for(const TileFunctions& functions, HearthFormat format) {
  switch (format) {
    case HEARTH_FORMAT_F32:
      return functions.f32;
    case HEARTH_FORMAT_BF16:
      return functions.bf16;
    case HEARTH_FORMAT_FP8:
      return functions.fp8;
    case HEARTH_FORMAT_INT8:
      return functions.int8;
    case HEARTH_FORMAT_INT4:
      break;
  }
  return functions.int4;
}

#if defined(__x86_64__)
// With fewer rows than these products of vectors are faster than those of tiles. Both give integers
// and so the same bits; of bf16 they do not, so there AMX multiplies any number of rows.
constexpr std::int64_t kRowsForTiles = 3;

bool is_for_amx(const HearthLinear& l) {
  if (level() != Level::amx || l.weight.format == HEARTH_FORMAT_F32 ||
      l.weight.format == HEARTH_FORMAT_FP8)
    return false;
  return !is_tiled(l.weight.format) || l.rows >= kRowsForTiles;
}

Choice choose_amx(HearthFormat format) {
  return {function_for(kAmxTiles, format),
          is_tiled(format) ? Layout::kRowsOfBytes : Layout::kPairs};
}
#endif

}  // namespace

Choice choose(const HearthLinear& l) {
  const HearthFormat format = l.weight.format;
#if defined(__x86_64__)
  if (is_for_amx(l)) return choose_amx(format);
#endif
  const TileFunctions& at_level = functions();
  const bool halves = format == HEARTH_FORMAT_BF16 && at_level.multiplies_bf16;
  return {function_for(at_level, format), is_tiled(format) ? Layout::kQuads
                                          : halves         ? Layout::kHalves
                                                           : Layout::kFloats};
}

HearthStatus linear(const HearthLinear* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const HearthMatrix& m = call->weight;
  const Choice choice = choose(*call);
  const LinearJob job = prepare(*call, choice.layout);
  const std::int64_t one_tile =
      static_cast<std::int64_t>(hearth_matrix_bytes(m.format, kTile, m.in_features));
  for_chunks(tiles_of(m.out_features), kClaimedBytes / one_tile,
             [&](Chunk chunk) { choice.compute(job, chunk.first, chunk.last); });
  return HEARTH_OK;
}

}  // namespace hearth::kernels::cpu
