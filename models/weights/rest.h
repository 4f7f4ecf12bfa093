// Weights that leave the device and come back from pinned host memory instead of from their files.
//
// Their image is made once: weights never change, so a second rest copies nothing.
//
// Ownership: owns the image; borrows device memory and weights, which outlive it. Threads:
// keep_image() and drop_image() on one thread at a time, beside the engine thread; the others on
// the engine thread.
#pragma once

#include <cstdint>
#include <vector>

#include "models/decoder/evictable.h"
#include "models/weights/weights.h"
#include "shm/base/result.h"

namespace hearth::weights {

class Rest {
 public:
  // `memory` is evictable and holds `weights`.
  Rest(decoder::DeviceMemory& memory, const Weights& weights)
      : memory_(*memory.evictable()), weights_(weights) {}

  std::uint64_t image_bytes() const;  // 0: none
  // Copies the weights to pinned memory, unless they are there already. Bytes copied. Errors:
  // out_of_memory, and nothing has changed.
  Result<std::uint64_t> keep_image();
  // Not while the weights are away. Waits until nobody copies from the image.
  Result<void> drop_image();

  // Gives all memory of the device back, that of its other blocks, too. Needs the image. Errors:
  // internal without one.
  Result<void> leave();
  // Takes the memory again and begins to copy. Errors: out_of_memory; the weights stay away.
  Result<void> come_back();

 private:
  decoder::Evictable& memory_;
  const Weights& weights_;
  std::vector<decoder::DeviceBlock> image_;  // pieces; none or all
};

}  // namespace hearth::weights
