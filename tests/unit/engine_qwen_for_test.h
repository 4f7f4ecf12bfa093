// The tiny checkpoints of tests/data and what transformers made of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "models/files/weight_index.h"
#include "models/image/patchify.h"
#include "models/model.h"

namespace hearth::language {

inline constexpr const char* kCases[] = {"tied_bf16", "untied_shards_f32", "biased_bf16",
                                         "shallow_bf16"};
inline constexpr const char* kInputs[] = {"text", "one", "many"};

// Cases are named family/case; those of qwen3_vl by the case alone.
std::filesystem::path case_folder(const std::string& name);

models::ModelFiles without(models::ModelFiles files, std::string_view label);

models::ModelFiles case_files(const std::string& name);

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return *std::move(result);
}
void must(Result<void> result);

// oracle.safetensors of one case.
class Oracle {
 public:
  explicit Oracle(const std::string& name);
  // One file of a folder.
  Oracle(const std::filesystem::path& folder, const std::string& label);

  bool has(const std::string& name) const;
  std::vector<std::int64_t> shape(const std::string& name) const;
  std::vector<float> floats(const std::string& name) const;
  std::vector<std::int32_t> integers(const std::string& name) const;
  std::vector<std::uint8_t> bytes(const std::string& name) const;

 private:
  const files::WeightEntry& entry(const std::string& name) const;
  template <class T>
  std::vector<T> read(const std::string& name) const;

  files::WeightIndex index_;
};

// An input's picture as the processor of transformers cut it into patches.
image::Still read_still(const Oracle& oracle, const std::string& input, std::size_t picture);

double max_difference(std::span<const float> a, std::span<const float> b);

// |a - b| / |b|
double relative_difference(std::span<const float> a, std::span<const float> b);

}  // namespace hearth::language
