// The work of a load, cut so that threads share it evenly and need little memory of their own.
#pragma once

#include <cstdint>
#include <vector>

#include "models/weights/plan.h"

namespace hearth::weights {

// Rows [first, first + rows) of a placement, all sources.
struct Piece {
  Place place = kNowhere;
  std::int64_t first = 0;
  std::int64_t rows = 0;
  bool last = false;  // of its placement
};

// Rows [first, first + rows) of a stored tensor.
struct SourceRows {
  std::int64_t first = 0;
  std::int64_t rows = 0;
};

// Pieces of at most `most_bytes` of sources, but at least one tile of rows, in the order of the
// arena. They begin at whole tiles, so that no two threads round into the same cache line. What is
// stored transposed is one piece: each of its rows lies in all of the stored matrix.
std::vector<Piece> cut(const Plan& plan, std::uint64_t most_bytes);

// Which of a source's rows a piece takes.
SourceRows rows_of(const Source& source, const Piece& piece);

}  // namespace hearth::weights
