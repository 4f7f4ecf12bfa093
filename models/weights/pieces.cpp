#include "models/weights/pieces.h"

#include <algorithm>

namespace hearth::weights {
namespace {

// The first row of a source that lies at or behind row `row` of the placement.
std::int64_t first_from(const Source& source, std::int64_t row) {
  const std::int64_t distance = std::max<std::int64_t>(row - source.first, 0);
  return std::min(source.rows, (distance + source.step - 1) / source.step);
}

std::int64_t rows_within(const Placement& placement, std::uint64_t most_bytes) {
  if (placement.is_transposed()) return placement.rows;
  std::uint64_t item = 1;
  for (const Source& source : placement.sources)
    item = std::max<std::uint64_t>(item, hearth::item_bytes(source.entry->dtype));
  const std::uint64_t row_bytes =
      std::max<std::uint64_t>(static_cast<std::uint64_t>(placement.columns) * item, 1);
  const std::uint64_t tiles = most_bytes / row_bytes / HEARTH_TILE;
  return static_cast<std::int64_t>(std::max<std::uint64_t>(tiles, 1)) * HEARTH_TILE;
}

}  // namespace

std::vector<Piece> cut(const Plan& plan, std::uint64_t most_bytes) {
  std::vector<Piece> pieces;
  for (Place place = 0; place < plan.placements.size(); ++place) {
    const Placement& placement = plan.placements[place];
    const std::int64_t step = rows_within(placement, most_bytes);
    for (std::int64_t first = 0; first < placement.rows; first += step) {
      const std::int64_t rows = std::min(step, placement.rows - first);
      pieces.push_back({place, first, rows, first + rows == placement.rows});
    }
  }
  return pieces;
}

SourceRows rows_of(const Source& source, const Piece& piece) {
  const std::int64_t first = first_from(source, piece.first);
  return {first, first_from(source, piece.first + piece.rows) - first};
}

}  // namespace hearth::weights
