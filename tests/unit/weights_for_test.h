// Checkpoints of a small decoder, made in memory.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/decoder/description.h"
#include "models/files/weight_index.h"
#include "models/weights/plan.h"

namespace hearth::weights {

struct Checkpoint {
  decoder::Description description;
  std::vector<Tensor> before;  // as of a vision tower
  models::ModelFiles files;
  int fd = -1;  // of the weights, for tests that change them
};

struct Shape {
  std::int32_t hidden = 32;
  std::int32_t intermediate = 40;  // not a whole number of tiles
  std::int32_t vocabulary = 50;
  std::int32_t layers = 2;
  bool tied = true;
  bool biases = false;
  std::string_view dtype = "BF16";
  std::int32_t heads = 2;
  std::int32_t head_dim = 8;
  std::uint32_t seed = 1;
  std::int32_t experts = 0;  // of the last layer
  decoder::ExpertFiles expert_files = decoder::ExpertFiles::kSeparate;
  std::int32_t expert_intermediate = 20;  // gate and up are not whole tiles together
};

decoder::Description describe(const Shape& shape);

// A number as a file stores it.
std::string stored(float value, std::string_view dtype);

// The deviation of a tensor's normal numbers, so that activations stay around 1 as in trained
// models: linears by their inputs, those that add to the residual stream less the more there are.
float deviation_of(const std::string& name, const std::vector<std::int64_t>& shape,
                   std::int32_t layers);

Checkpoint make_checkpoint(const Shape& shape);

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return *std::move(result);
}

Plan plan_of(const files::WeightIndex& index, const Checkpoint& checkpoint, std::string_view dtype);

// A stored tensor's numbers.
std::vector<float> numbers(const files::WeightIndex& index, const std::string& name);

// Expects the bytes that one thread makes of the rows at once.
void expect_packed(const HearthMatrix& found, const std::vector<float>& rows, const char* what);

}  // namespace hearth::weights
