#include "models/image/patchify.h"

#include <algorithm>

#include "models/image/resize.h"

namespace hearth::image {

Still smallest_still(int merge_size) {
  return {.grid_height = merge_size, .grid_width = merge_size, .picture = {{1, 1}, {0, 0, 0}}};
}

namespace {

// picture: so many frames of its size.
Still fit(Picture picture, int frames, Size size, int patch_size, ResizeWhere where) {
  const auto pixels = std::int64_t{picture.size.height} * picture.size.width * frames;
  if (where == ResizeWhere::kHere || pixels > kMostDevicePixels)
    picture = resize_bicubic(std::move(picture), size, frames);
  return {size.height / patch_size, size.width / patch_size, std::move(picture), frames};
}

}  // namespace

Result<Still> read_still(const TensorView& tensor, const PictureRules& rules, ResizeWhere where) {
  TRY(auto picture, copy_picture(tensor));
  TRY(const auto size, smart_resize(picture.size, rules.limits()));
  return fit(std::move(picture), 1, size, rules.patch_size, where);
}

Result<Still> read_step(const TensorView& clip, std::int64_t first, Size size,
                        const PictureRules& rules, ResizeWhere where) {
  const std::int64_t all = clip.shape[0];
  const std::size_t frame_bytes = clip.bytes.size() / static_cast<std::size_t>(all);
  const std::vector<std::int64_t> shape(clip.shape.begin() + 1, clip.shape.end());
  const auto frame = [&](std::int64_t number) {
    const auto begin = frame_bytes * static_cast<std::size_t>(std::min(number, all - 1));
    return copy_picture({clip.dtype, shape, clip.bytes.subspan(begin, frame_bytes)});
  };
  TRY(Picture picture, frame(first));
  // A step that is one frame repeated is a still.
  const int frames = first + 1 < all ? rules.temporal_patch_size : 1;
  for (int i = 1; i < frames; ++i) {
    TRY(const Picture next, frame(first + i));
    picture.pixels.insert(picture.pixels.end(), next.pixels.begin(), next.pixels.end());
  }
  return fit(std::move(picture), frames, size, rules.patch_size, where);
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
          .pictures = still.frames,
          .picture = still.picture.pixels.data(),
          .level = levels.data(),
          .rows = rows};
}

}  // namespace hearth::image
