#include "models/qwen2_5_vl/windows.h"

#include <algorithm>

namespace hearth::qwen2_5_vl {
namespace {

class Orderer {
 public:
  explicit Orderer(const VisionConfig& config)
      : side_(config.window_tokens()), merge_(config.merge_size) {
    order_.pictures = order_.windows = {0};
  }

  void add(const image::Still& picture) {
    const std::int32_t rows = picture.grid_height / merge_;
    const std::int32_t columns = picture.grid_width / merge_;
    const auto first = static_cast<std::int64_t>(order_.tokens.size());
    for (std::int32_t top = 0; top < rows; top += side_)
      for (std::int32_t left = 0; left < columns; left += side_) {
        for (std::int32_t row = top; row < std::min(top + side_, rows); ++row)
          for (std::int32_t column = left; column < std::min(left + side_, columns); ++column)
            token(first + std::int64_t{row} * columns + column, row, column);
        order_.windows.push_back(patches());
      }
    order_.pictures.push_back(patches());
  }

  PatchOrder finish() && {
    order_.places.resize(order_.tokens.size());
    for (std::size_t i = 0; i < order_.tokens.size(); ++i)
      order_.places[static_cast<std::size_t>(order_.tokens[i])] = static_cast<std::int64_t>(i);
    order_.positions.assign(rows_.size(), 0);  // all at time 0
    order_.positions.insert(order_.positions.end(), rows_.begin(), rows_.end());
    order_.positions.insert(order_.positions.end(), columns_.begin(), columns_.end());
    return std::move(order_);
  }

 private:
  std::int32_t patches() const { return static_cast<std::int32_t>(rows_.size()); }

  void token(std::int64_t number, std::int32_t row, std::int32_t column) {
    order_.tokens.push_back(number);
    for (std::int32_t down = 0; down < merge_; ++down)
      for (std::int32_t right = 0; right < merge_; ++right) {
        rows_.push_back(row * merge_ + down);
        columns_.push_back(column * merge_ + right);
      }
  }

  const std::int32_t side_, merge_;
  PatchOrder order_;
  std::vector<std::int32_t> rows_, columns_;
};

}  // namespace

PatchOrder order_patches(const VisionConfig& config,
                         std::span<const image::Still* const> pictures) {
  Orderer orderer(config);
  for (const image::Still* picture : pictures) orderer.add(*picture);
  return std::move(orderer).finish();
}

}  // namespace hearth::qwen2_5_vl
