// Rows to sample: logits, settings and what has been said, as one call of the kernel.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/ref/sample.h"
#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {

struct Sampling {
  // Greedy, no penalties, never done.
  static HearthSlot plain_slot();

  Floats logits;
  HearthSlot slot = plain_slot();
  std::vector<std::int32_t> prompt, answer;
  std::vector<bool> out;  // ids that the slot's mask leaves out; empty: it has none
};

// Rows with a slot each, row r in slot r; all have as many logits.
struct Sampled {
  Sampled(Memory& memory, const std::vector<Sampling>& rows);
  // Samples all rows and gives their entries of the ring, in its order.
  std::vector<HearthSampled> run(const Implementation& implementation, Memory& memory);

  HearthSample call{};
};

// What the plain sampler draws from, as probabilities by id; impossible ones left out.
std::map<std::int32_t, double> normalised(std::span<const Candidate> candidates);

// Those under test, and the plain one, of which the closed forms must hold as well.
std::vector<Implementation> samplers_under_test();

class SamplerTest : public testing::TestWithParam<Implementation> {
 protected:
  // One draw with these settings, not a first one.
  std::int32_t pick(const Sampling& sampling) const;
  // Draws of `count` answers with these settings, by the table and by the plain loops. Their
  // weights differ in the last bits, so a draw on the border between two ids may, too: rarely.
  void expect_draws_as_plain(const Sampling& sampling, std::uint32_t count) const;
};

}  // namespace hearth::kernels
