// Loads a decoder's weights as its description names them, in the layout the step plan wants.
#pragma once

#include <vector>

#include "models/decoder/description.h"
#include "models/decoder/weights.h"
#include "models/torch/weight_reader.h"

namespace hearth::engine {

// Weights and the memory they point into.
struct LoadedDecoder {
  decoder::Weights weights;
  std::vector<at::Tensor> owners;
};

// Load thread. Errors: those of WeightReader.
Result<LoadedDecoder> load_decoder(WeightReader& reader, const decoder::Description& description);

}  // namespace hearth::engine
