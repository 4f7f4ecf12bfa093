#include "models/torch/patch_cutter.h"

#include <algorithm>

#include <ATen/ops/empty.h>

#include "models/image/resize.h"
#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

using decoder::check_status;

constexpr std::int64_t kPixelBytes = 3;
constexpr std::int64_t kClipFrames = 2;  // of a patch, in all families

}  // namespace

PatchCutter::PatchCutter(const Compute& compute, const image::PictureRules& rules)
    : compute_(compute), rules_(rules), levels_(image::levels_of(rules)) {}

// A copy on the device, on its way when this returns, or on the host a view. [count]
Result<at::Tensor> PatchCutter::placed(const void* values, std::int64_t count,
                                       at::ScalarType type) const {
  if (compute_.device < 0) return view_at(values, {count}, at::TensorOptions(type));
  at::Tensor copy = at::empty({count}, compute_.options().dtype(type));
  CHECK_OK(compute_.memory->write(copy.mutable_data_ptr(), values, copy.nbytes()));
  return copy;
}

// Its pixels in the size of its grid. [frames, height, width, 3], u8
Result<at::Tensor> PatchCutter::fitted(const image::Still& still) const {
  const auto& source = still.picture;
  TRY(at::Tensor pixels,
      placed(source.pixels.data(), static_cast<std::int64_t>(source.pixels.size()), at::kByte));
  for (const image::ResizeStep& step :
       image::resize_steps(source.size, still.size(rules_.patch_size), still.frames)) {
    at::Tensor resized =
        at::empty({step.outer * step.outputs * step.inner}, compute_.options().dtype(at::kByte));
    const image::Taps& taps = step.taps;
    TRY(const at::Tensor first, placed(taps.first.data(), step.outputs, at::kInt));
    TRY(const at::Tensor count, placed(taps.count.data(), step.outputs, at::kInt));
    TRY(const at::Tensor weights,
        placed(taps.weights.data(), step.outputs * taps.most, at::kShort));
    HearthResample call =
        step.call(pixels.const_data_ptr<std::uint8_t>(), resized.mutable_data_ptr<std::uint8_t>());
    call.first = first.const_data_ptr<std::int32_t>();
    call.count = count.const_data_ptr<std::int32_t>();
    call.weights = weights.const_data_ptr<std::int16_t>();
    CHECK_OK(
        check_status(compute_.kernels().resample(&call, compute_.memory->stream()), "resample"));
    pixels = std::move(resized);
  }
  return pixels;
}

Result<at::Tensor> PatchCutter::cut(std::span<const image::Still* const> pictures,
                                    std::int64_t patches) const {
  at::Tensor rows = at::empty({patches, rules_.row_floats()}, compute_.options());
  TRY(const at::Tensor levels,
      placed(levels_.data(), static_cast<std::int64_t>(levels_.size()), at::kFloat));
  std::int64_t first = 0;
  for (const image::Still* still : pictures) {
    TRY(const at::Tensor pixels, fitted(*still));
    HearthPatchify call = image::patchify_call(
        *still, rules_, levels_, rows.narrow(0, first, still->count()).mutable_data_ptr());
    call.type = compute_.type;
    call.picture = pixels.const_data_ptr<std::uint8_t>();
    call.level = levels.const_data_ptr<float>();
    CHECK_OK(
        check_status(compute_.kernels().patchify(&call, compute_.memory->stream()), "patchify"));
    first += still->count();
  }
  return rows;
}

// What was sent, between the steps, and of the grid's size: the first may be far larger than the
// last.
std::uint64_t PatchCutter::scratch_bytes(std::int64_t patch_size, std::int64_t patches) {
  const std::int64_t pixels = kClipFrames * patches * patch_size * patch_size;
  const std::int64_t sent = std::max(pixels, image::kMostDevicePixels);
  return static_cast<std::uint64_t>(kPixelBytes * (sent + 2 * pixels));
}

}  // namespace hearth::engine
