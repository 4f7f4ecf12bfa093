#include "models/kernels/check_operations.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/rows.h"
#include "models/kernels/cpu/share.h"
#include "models/kernels/sequence.h"
#include "models/kernels/workspace.h"

namespace hearth::kernels {
namespace {

constexpr std::int32_t kNothing = -2;  // beside draw()'s -1: the row's slot was done

// A row's part of the workspace and, behind its maxima, what was drawn there.
struct Place {
  cpu::SampleRow row;
  std::int32_t* drawn;
};

Place place_of(const HearthSample& call, std::int64_t row) {
  const auto ids = static_cast<std::size_t>(call.vocabulary);
  const std::size_t row_bytes = aligned_bytes(8 * ids) + kSampleRowBytes;
  char* start = static_cast<char*>(call.workspace) + static_cast<std::size_t>(row) * row_bytes;
  auto* scores = reinterpret_cast<float*>(start);
  auto* maxima = reinterpret_cast<float*>(start + aligned_bytes(8 * ids));
  return {{row, scores, reinterpret_cast<std::int32_t*>(scores + ids), maxima},
          reinterpret_cast<std::int32_t*>(maxima + cpu::kMostMaxima)};
}

static_assert(kSampleRowBytes >= (cpu::kMostMaxima + 1) * sizeof(float));

}  // namespace

HearthStatus cpu::sample(const HearthSample* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const auto draw = row_functions(level()).draw;
  share(call->rows, call->vocabulary * 12, [&](std::int64_t row) {
    const Place place = place_of(*call, row);
    *place.drawn = is_running(call->slots, call->slot[row]) ? draw(*call, place.row) : kNothing;
  });
  RingWriter ring(*call);
  for (std::int64_t row = 0; row < call->rows; ++row) {
    const std::int32_t drawn = *place_of(*call, row).drawn;
    if (drawn == kNothing)
      ring.nothing(row);
    else if (drawn < 0)
      ring.not_finite(row);
    else
      ring.drawn(row, drawn);
  }
  ring.publish();
  return HEARTH_OK;
}

}  // namespace hearth::kernels
