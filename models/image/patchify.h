// From a picture to the rows that the vision tower reads.
#pragma once

#include <array>
#include <cstdint>

#include "models/image/float_rows.h"
#include "models/image/picture.h"
#include "models/image/smart_resize.h"
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

// Patches of one still, temporal size 1.
struct Patches {
  int grid_height = 0;  // in patches, before merging
  int grid_width = 0;
  FloatRows rows;  // [grid_height * grid_width, 3 * temporal * patch * patch]

  std::int64_t count() const { return std::int64_t{grid_height} * grid_width; }
  // Tokens in the prompt.
  std::int64_t tokens(int merge_size) const { return count() / (merge_size * merge_size); }
};

// Normalised in fp32 as the fast processor folds it, (x - 255 mean) / (255 std), the still repeated
// for each frame of a temporal patch, rows in merge-block order: the merge_size² patches of one
// token follow each other. Both sides of `picture` are multiples of patch_size * merge_size.
Patches patchify(const Picture& picture, const PictureRules& rules);

// What patchify takes: copied, and resized as smart_resize says. Errors: bad_picture.
Result<Picture> fit_picture(const TensorView& tensor, const PictureRules& rules);

}  // namespace hearth::image
