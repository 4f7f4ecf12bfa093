// A decode step that can be made again and again from the same state: what captured graphs are
// proved with before a model is ready.
//
// Every row has a slot, a token and a place in the cache of its own, as long as the bucket allows.
// Lifetime: borrows everything; used while all slots are free, on the engine thread.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "models/decoder/description.h"
#include "models/decoder/device_memory.h"
#include "models/decoder/step_graphs.h"
#include "models/decoder/step_memory.h"

namespace hearth::decoder {

class StepRehearsal : public RepeatableStep {
 public:
  using Launch = std::function<Result<void>(const StepBucket&)>;
  // `launch`: the step's kernels for a bucket.
  StepRehearsal(DeviceMemory& memory, const StepMemory& fixed, const Description& description,
                StepLimits limits, Launch launch);

  Result<void> reset() override;
  Result<void> launch(const StepBucket& bucket) override;
  Result<std::vector<std::byte>> outcome() override;
  // Slots, page tables, states and ring as they were before any step.
  Result<void> finish();

 private:
  Result<void> clear();

  DeviceMemory& memory_;
  const StepMemory& fixed_;
  const Description& description_;
  const StepLimits limits_;
  const Launch launch_;
  std::int32_t most_tokens_ = 1;  // of the bucket at hand
};

}  // namespace hearth::decoder
