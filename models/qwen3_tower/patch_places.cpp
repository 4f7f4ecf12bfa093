#include "models/qwen3_tower/patch_places.h"

#include <algorithm>
#include <cmath>

namespace hearth::qwen3_tower {
namespace {

constexpr std::uint8_t kRowAxis = 1;
constexpr std::uint8_t kColumnAxis = 2;

// Where a patch falls between two rows (or columns) of the learned grid.
struct Between {
  std::int64_t low = 0, high = 0;
  float low_weight = 1.0F, high_weight = 0.0F;
};

// Endpoints of `size` patches map to the endpoints of `side` learned positions; fp32 as in the
// source.
Between find_between(int index, int size, std::int64_t side) {
  const float at = static_cast<float>(index) * static_cast<float>(side - 1) /
                   static_cast<float>(std::max(size - 1, 1));
  const float floor = std::floor(at);
  const auto low = static_cast<std::int64_t>(floor);
  const float distance = at - floor;
  return {std::clamp<std::int64_t>(low, 0, side - 1),
          std::clamp<std::int64_t>(low + 1, 0, side - 1), 1.0F - distance,
          1.0F - std::abs(distance - 1.0F)};
}

std::vector<Between> find_all(int size, std::int64_t side) {
  std::vector<Between> all;
  for (int index = 0; index < size; ++index) all.push_back(find_between(index, size, side));
  return all;
}

// The patches of a picture in merge-block order, as row and column.
template <class Visit>
void for_each_patch(const image::Still& picture, int merge, Visit visit) {
  for (int block_row = 0; block_row < picture.grid_height; block_row += merge)
    for (int block_column = 0; block_column < picture.grid_width; block_column += merge)
      for (int row = 0; row < merge; ++row)
        for (int column = 0; column < merge; ++column)
          visit(block_row + row, block_column + column);
}

class Placer {
 public:
  Placer(const VisionConfig& config, std::int64_t patches)
      : merge_(config.merge_size),
        side_(std::lround(std::sqrt(static_cast<double>(config.position_rows)))),
        patches_(static_cast<std::size_t>(patches)) {
    places_.segments = {0};
    places_.positions.resize(3 * patches_);
    places_.corners.reserve(4 * patches_);
    places_.weights.reserve(4 * patches_);
  }

  void add(const image::Still& picture) {
    const std::vector<Between> rows = find_all(picture.grid_height, side_);
    const std::vector<Between> columns = find_all(picture.grid_width, side_);
    for_each_patch(picture, merge_, [&](int row, int column) {
      places_.positions[kRowAxis * patches_ + next_] = row;
      places_.positions[kColumnAxis * patches_ + next_] = column;
      add_corners(rows[static_cast<std::size_t>(row)], columns[static_cast<std::size_t>(column)]);
      ++next_;
    });
    places_.segments.push_back(static_cast<std::int32_t>(next_));
  }

  PatchPlaces finish() && { return std::move(places_); }

 private:
  void add_corners(const Between& y, const Between& x) {
    places_.corners.insert(places_.corners.end(),
                           {y.low * side_ + x.low, y.low * side_ + x.high, y.high * side_ + x.low,
                            y.high * side_ + x.high});
    places_.weights.insert(places_.weights.end(),
                           {y.low_weight * x.low_weight, y.low_weight * x.high_weight,
                            y.high_weight * x.low_weight, y.high_weight * x.high_weight});
  }

  const int merge_;
  const std::int64_t side_;
  const std::size_t patches_;
  std::size_t next_ = 0;
  PatchPlaces places_;
};

}  // namespace

PatchPlaces place_patches(const VisionConfig& config,
                          std::span<const image::Still* const> pictures) {
  std::int64_t patches = 0;
  for (const image::Still* picture : pictures) patches += picture->count();
  Placer placer(config, patches);
  for (const image::Still* picture : pictures) placer.add(*picture);
  return std::move(placer).finish();
}

}  // namespace hearth::qwen3_tower
