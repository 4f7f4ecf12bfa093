// What the plain sampler draws from, for tests that look at more than the drawn token.
#pragma once

#include <cstdint>
#include <span>

#include "models/kernels/kernels.h"

namespace hearth::kernels {

struct Candidate {
  std::int32_t id;
  float score;   // the logit after penalties and temperature
  float weight;  // probability before renormalising over what is left
};

namespace ref {

// The ids that the processors leave for row `row`, in order of id; its slot's temperature is > 0.
// They live in the call's workspace.
std::span<const Candidate> candidates(const HearthSample& call, std::int64_t row);

}  // namespace ref
}  // namespace hearth::kernels
