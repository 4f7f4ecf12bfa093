// What a vision tower makes of a picture.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "models/image/patchify.h"
#include "models/model.h"

namespace hearth::engine {

// On the engine's device, in its arithmetic type.
struct Features {
  at::Tensor rows;                    // [tokens, hidden]: replace the placeholders' embeddings
  std::vector<at::Tensor> deepstack;  // levels of [tokens, hidden]: added after decoder layer i
};

class Tower {
 public:
  virtual ~Tower() = default;
  // Engine thread. `picture.rows` as image::patchify makes them.
  virtual Features encode(models::OnEngine, const image::Patches& picture) = 0;
};

}  // namespace hearth::engine
