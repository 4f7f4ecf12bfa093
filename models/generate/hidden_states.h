// The result of an encode request while it is made: one tensor a tap, filled chunk by chunk.
//
// Private host memory; the pages come as rows are written. Engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/generate/decoder.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::generate {

class HiddenStates {
 public:
  // Throws std::bad_alloc.
  HiddenStates(const Taps& taps, std::int32_t tokens);

  // Where tokens [first, first + count) go: for each tap [count, width]. Valid until the next call.
  std::span<const std::span<std::byte>> rows(std::int32_t first, std::int32_t count);

  // Errors: not_finite, naming the state, when what lies in the last rows() holds NaN or infinity.
  Result<void> check_rows() const;

  // [tokens, width] for each tap.
  std::vector<models::HostTensor> finish() &&;

 private:
  const Taps& taps_;
  const std::int64_t tokens_;
  const std::size_t row_bytes_;
  std::vector<std::shared_ptr<std::byte[]>> memory_;  // by tap
  std::vector<std::span<std::byte>> rows_;            // by tap
};

}  // namespace hearth::generate
