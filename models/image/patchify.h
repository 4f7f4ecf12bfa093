// From a picture to what the vision tower reads: which size, how it is cut, what a byte becomes.
//
// The rows themselves are made where the tower computes, by HearthPatchify
// (models/kernels/kernels.h): a picture is an eighth of its rows' bytes. Plain functions on values;
// any thread.
#pragma once

#include <array>
#include <cstdint>

#include "models/image/picture.h"
#include "models/image/smart_resize.h"
#include "models/kernels/kernels.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::image {

// How a family wants its pictures; the defaults are Qwen3-VL's.
struct PictureRules {
  int patch_size = 16;
  int merge_size = 2;
  int temporal_patch_size = 2;
  std::int64_t min_pixels = 65'536;
  std::int64_t max_pixels = 16'777'216;
  std::array<double, 3> mean = {0.5, 0.5, 0.5};
  std::array<double, 3> std = {0.5, 0.5, 0.5};

  PixelLimits limits() const { return {patch_size * merge_size, min_pixels, max_pixels}; }
  int row_floats() const { return 3 * temporal_patch_size * patch_size * patch_size; }
};

// preprocessor_config.json, or the image_processor of processor_config.json, over `defaults`;
// without either the defaults. Errors: bad_model naming file and key; unsupported for steps hearth
// does not do.
Result<PictureRules> read_picture_rules(const models::ModelFiles& files, PictureRules defaults);

// A still, or one step of a clip, and the grid of patches that it becomes, temporal size 1.
struct Still {
  int grid_height = 0;  // in patches, before merging
  int grid_width = 0;
  Picture picture;  // of the grid's size, or what is still to be resized to it
  // 1: a still, every frame the same; else temporal_patch_size frames of a clip, in picture.pixels
  // [frames, height, width, 3].
  int frames = 1;

  std::int64_t count() const { return std::int64_t{grid_height} * grid_width; }
  // Tokens in the prompt.
  std::int64_t tokens(int merge_size) const { return count() / (merge_size * merge_size); }
  // In pixels.
  Size size(int patch_size) const { return {grid_height * patch_size, grid_width * patch_size}; }
};

// A pixel in no particular colour, to become the smallest grid: for a first pass that warms up.
Still smallest_still(int merge_size);

// Pictures of more pixels are never left to a device, whose memory is planned without them.
inline constexpr std::int64_t kMostDevicePixels = std::int64_t{1} << 24;

enum class ResizeWhere { kHere, kOnDevice };

// A copy of a client's picture for the grid that smart_resize gives. Errors: bad_picture.
Result<Still> read_still(const TensorView& tensor, const PictureRules& rules, ResizeWhere where);

// One step of a clip [frames, height, width, channels]: its frames from number `first` on,
// temporal_patch_size of them, the last one again where there are none left. `size`: what they are
// brought to, multiples of the patch size. Errors: bad_picture.
Result<Still> read_step(const TensorView& clip, std::int64_t first, Size size,
                        const PictureRules& rules, ResizeWhere where);

// What a byte of each channel becomes, normalised in fp32 as the fast processor folds it,
// (x - 255 mean) / (255 std).
using Levels = std::array<float, 3 * 256>;  // [3, 256]
Levels levels_of(const PictureRules& rules);

// Cuts a picture of the grid's size in the host's memory into `rows` of f32, [still.count(),
// rules.row_floats()]. For another device or type, picture, level, rows and type are the caller's.
HearthPatchify patchify_call(const Still& still, const PictureRules& rules, const Levels& levels,
                             void* rows);

}  // namespace hearth::image
