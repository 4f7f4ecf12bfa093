// A model's weights in memory: what the kernels and the vision tower compute from.
//
// Ownership: a Weights owns its arena; everything it hands out points into it. Immutable once
// loaded; any thread. Destroying it gives all of the memory back to the system.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/decoder/weights.h"
#include "models/files/weight_index.h"
#include "models/model.h"
#include "models/weights/arena.h"
#include "models/weights/plan.h"
#include "shm/base/result.h"

namespace hearth::weights {

class Weights {
 public:
  Weights(const Plan& plan, std::unique_ptr<Arena> arena);

  const Precision& precision() const { return precision_; }
  const decoder::Weights& decoder() const { return decoder_; }
  // One of the tensors that the plan was made with beside the decoder's: its first dimension times
  // all others, F32 or BF16. Vectors have one column.
  const HearthMatrix& tensor(const std::string& name) const { return further_.at(name); }
  std::uint64_t bytes() const { return arena_->bytes(); }  // that the device gives for it
  // All of them where a device has them; null: host memory.
  const decoder::DeviceBlock* block() const { return arena_->block(); }
  // Offsets behind each tensor in it, ascending.
  std::span<const std::uint64_t> ends() const { return ends_; }

 private:
  const std::unique_ptr<Arena> arena_;
  const Precision precision_;
  const decoder::Weights decoder_;
  std::map<std::string, HearthMatrix> further_;
  std::vector<std::uint64_t> ends_;
};

// Load thread. Reads everything that the plan places, rounds what is to be rounded, or takes it
// from options.weights_file, whose outcome it sets; then checks that the files are still the same.
// `arena` has at least plan.bytes. Errors: bad_model naming file and tensor, model_changed,
// unsupported, out_of_memory, cancelled; then the arena is gone.
Result<std::shared_ptr<const Weights>> load(const files::WeightIndex& index, const Plan& plan,
                                            const models::LoadOptions& options,
                                            std::unique_ptr<Arena> arena);

}  // namespace hearth::weights
