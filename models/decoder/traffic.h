// How much memory one decode step reads, from its plan: what bounds a step's speed.
//
// One row's step: what several sequences read together is counted once for each of them. Plain
// values; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "models/decoder/description.h"
#include "models/decoder/plan.h"
#include "models/decoder/weights.h"

namespace hearth::decoder {

struct StepTraffic {
  // Weights as they are stored, scales and biases with them: one row of the embedding, all linears
  // and norms, of experts those that are chosen, the head.
  std::uint64_t weights_bytes = 0;
  std::uint64_t token_bytes = 0;  // keys and values of one token, in all layers
  std::uint64_t state_bytes = 0;  // what layers with a state read of it; as much is written

  // With so many tokens in the caches.
  std::uint64_t bytes(std::int32_t tokens) const {
    return weights_bytes + state_bytes + token_bytes * static_cast<std::uint64_t>(tokens);
  }
};

StepTraffic traffic_of(const Description& description, const Weights& weights);

}  // namespace hearth::decoder
