// Pictures and clips to patch rows where the tower computes: u8 pixels go to the device, and
// kernels resize, normalise and cut them there.
//
// Borrows the Compute's device memory. Engine thread, inside c10::InferenceMode and on the kernels'
// stream (OnStream). Throws what ATen throws.
#pragma once

#include <span>

#include "models/image/patchify.h"
#include "models/torch/compute.h"

namespace hearth::engine {

class PatchCutter {
 public:
  PatchCutter(const Compute& compute, const image::PictureRules& rules);

  // Rows of all pictures, one after another, in the Compute's type.
  // [patches, 3 * temporal * patch * patch]
  Result<at::Tensor> cut(std::span<const image::Still* const> pictures, std::int64_t patches) const;

  // Device memory for pictures, or clips, of so many patches on their way to rows.
  static std::uint64_t scratch_bytes(std::int64_t patch_size, std::int64_t patches);

 private:
  Result<at::Tensor> placed(const void* values, std::int64_t count, at::ScalarType type) const;
  Result<at::Tensor> fitted(const image::Still& still) const;

  const Compute compute_;
  const image::PictureRules rules_;
  const image::Levels levels_;
};

}  // namespace hearth::engine
