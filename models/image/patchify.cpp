#include "models/image/patchify.h"

#include <cassert>
#include <cstring>

#include "models/image/resize.h"

namespace hearth::image {
namespace {

constexpr int kChannels = 3;

// What a byte becomes, for each channel: (x - 255 mean) / (255 std), every step in fp32.
using Normalised = std::array<std::array<float, 256>, kChannels>;

Normalised normalise(const PictureRules& rules) {
  Normalised table{};
  for (int c = 0; c < kChannels; ++c) {
    const float mean = static_cast<float>(rules.mean[c]) * 255.0F;
    const float std = static_cast<float>(rules.std[c]) * 255.0F;
    for (int x = 0; x < 256; ++x) table[c][x] = (static_cast<float>(x) - mean) / std;
  }
  return table;
}

// One patch whose upper left pixel is `source`: [channel, frame, patch, patch].
void write_patch(const std::uint8_t* source, std::size_t stride, const PictureRules& rules,
                 const Normalised& table, float* __restrict row) {
  const int side = rules.patch_size;
  const std::size_t frame_floats = static_cast<std::size_t>(side) * side;
  for (int c = 0; c < kChannels; ++c) {
    float* __restrict frame = row + c * rules.temporal_patch_size * frame_floats;
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x)
        frame[y * side + x] = table[c][source[y * stride + x * kChannels + c]];
    for (int t = 1; t < rules.temporal_patch_size; ++t)
      std::memcpy(frame + t * frame_floats, frame, frame_floats * sizeof(float));
  }
}

}  // namespace

Patches patchify(const Picture& picture, const PictureRules& rules) {
  const int side = rules.patch_size, merge = rules.merge_size;
  assert(picture.size.height % (side * merge) == 0 && picture.size.width % (side * merge) == 0);
  Patches patches{picture.size.height / side, picture.size.width / side, {}};
  patches.rows = FloatRows(static_cast<std::size_t>(patches.count()) * rules.row_floats());
  const auto table = normalise(rules);
  const auto stride = static_cast<std::size_t>(picture.size.width) * kChannels;
  float* row = patches.rows.data();
  const auto write = [&](int y, int x) {  // in patches
    const auto* source =
        picture.pixels.data() + y * side * stride + static_cast<std::size_t>(x) * side * kChannels;
    write_patch(source, stride, rules, table, row);
    row += rules.row_floats();
  };
  for (int block_y = 0; block_y < patches.grid_height; block_y += merge)
    for (int block_x = 0; block_x < patches.grid_width; block_x += merge)
      for (int y = 0; y < merge; ++y)
        for (int x = 0; x < merge; ++x) write(block_y + y, block_x + x);
  return patches;
}

Result<Picture> fit_picture(const TensorView& tensor, const PictureRules& rules) {
  TRY(const auto picture, copy_picture(tensor));
  TRY(const auto size, smart_resize(picture.size, rules.limits()));
  return resize_bicubic(picture, size);
}

}  // namespace hearth::image
