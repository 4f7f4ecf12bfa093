#include "models/image/patchify.h"

#include "models/image/resize.h"

namespace hearth::image {

Still smallest_still(int merge_size) {
  return {.grid_height = merge_size, .grid_width = merge_size, .picture = {{1, 1}, {0, 0, 0}}};
}

Result<Still> read_still(const TensorView& tensor, const PictureRules& rules, ResizeWhere where) {
  TRY(auto picture, copy_picture(tensor));
  TRY(const auto size, smart_resize(picture.size, rules.limits()));
  const auto pixels = std::int64_t{picture.size.height} * picture.size.width;
  if (where == ResizeWhere::kHere || pixels > kMostDevicePixels)
    picture = resize_bicubic(std::move(picture), size);
  return Still{size.height / rules.patch_size, size.width / rules.patch_size, std::move(picture)};
}

Levels levels_of(const PictureRules& rules) {
  constexpr std::size_t kChannels = 3, kBytes = 256;
  Levels levels{};
  for (std::size_t c = 0; c < kChannels; ++c) {
    const float mean = static_cast<float>(rules.mean[c]) * 255.0F;
    const float std = static_cast<float>(rules.std[c]) * 255.0F;
    for (std::size_t x = 0; x < kBytes; ++x)
      levels[c * kBytes + x] = (static_cast<float>(x) - mean) / std;
  }
  return levels;
}

HearthPatchify patchify_call(const Still& still, const PictureRules& rules, const Levels& levels,
                             void* rows) {
  return {.type = HEARTH_F32,
          .grid_height = still.grid_height,
          .grid_width = still.grid_width,
          .patch = rules.patch_size,
          .merge = rules.merge_size,
          .frames = rules.temporal_patch_size,
          .picture = still.picture.pixels.data(),
          .level = levels.data(),
          .rows = rows};
}

}  // namespace hearth::image
