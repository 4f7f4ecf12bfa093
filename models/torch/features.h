// What a vision tower makes of a picture.
#pragma once

#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/image/patchify.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::engine {

// On the engine's device, in its arithmetic type.
struct Features {
  at::Tensor rows;                    // [tokens, hidden]: replace the placeholders' embeddings
  std::vector<at::Tensor> deepstack;  // levels of [tokens, hidden]: added after decoder layer i

  std::uint64_t bytes() const;
};

class Tower {
 public:
  virtual ~Tower() = default;
  // Engine thread, inside c10::InferenceMode. Several pictures in one pass, none of which sees
  // another; what a picture gives does not depend on its company. Those that are not of their
  // grid's size yet are resized. Throws what ATen throws.
  virtual Result<std::vector<Features>> encode(models::OnEngine,
                                               std::span<const image::Still* const> pictures) = 0;
  // The smallest picture it takes, in no particular colour: for a first pass that warms up.
  virtual image::Still smallest_picture() const = 0;
  // Gives memory that is kept between passes back.
  virtual void drop_scratch() = 0;
};

}  // namespace hearth::engine
