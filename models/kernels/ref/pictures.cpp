#include <algorithm>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels::ref {
namespace {

constexpr std::int64_t kChannels = 3;
constexpr std::int64_t kLevels = 256;

std::uint8_t weighted(const HearthResample& c, std::int64_t o, std::int64_t i, std::int64_t k) {
  std::int32_t sum = 1 << (c.precision - 1);
  for (std::int32_t j = 0; j < c.count[i]; ++j)
    sum += c.weights[i * c.most + j] * c.source[(o * c.inputs + c.first[i] + j) * c.inner + k];
  return static_cast<std::uint8_t>(std::clamp(sum >> c.precision, 0, 255));
}

// Place of a patch, and of a pixel in it, in a picture. [3] bytes
const std::uint8_t* pixel(const HearthPatchify& c, const std::uint8_t* picture, std::int64_t row,
                          std::int64_t y, std::int64_t x) {
  const std::int64_t each = c.merge * c.merge, across = c.grid_width / c.merge;
  const std::int64_t token = row / each, within = row % each;
  const std::int64_t patch_y = token / across * c.merge + within / c.merge;
  const std::int64_t patch_x = token % across * c.merge + within % c.merge;
  return picture +
         ((patch_y * c.patch + y) * c.grid_width * c.patch + patch_x * c.patch + x) * kChannels;
}

template <class T>
void patchify_to(const HearthPatchify& c) {
  T* out = static_cast<T*>(c.rows);
  const std::int64_t picture_bytes =
      c.pictures == 1 ? 0 : c.grid_height * c.grid_width * c.patch * c.patch * kChannels;
  for (std::int64_t row = 0; row < c.grid_height * c.grid_width; ++row)
    for (std::int64_t channel = 0; channel < kChannels; ++channel)
      for (std::int64_t frame = 0; frame < c.frames; ++frame)
        for (std::int64_t y = 0; y < c.patch; ++y)
          for (std::int64_t x = 0; x < c.patch; ++x)
            store(out++, c.level[channel * kLevels +
                                 pixel(c, c.picture + frame * picture_bytes, row, y, x)[channel]]);
}

}  // namespace

HearthStatus resample(const HearthResample* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  std::uint8_t* out = call->target;
  for (std::int64_t o = 0; o < call->outer; ++o)
    for (std::int64_t i = 0; i < call->outputs; ++i)
      for (std::int64_t k = 0; k < call->inner; ++k) *out++ = weighted(*call, o, i, k);
  return HEARTH_OK;
}

HearthStatus patchify(const HearthPatchify* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? patchify_to<float>(*call) : patchify_to<BFloat16>(*call);
  return HEARTH_OK;
}

}  // namespace hearth::kernels::ref
