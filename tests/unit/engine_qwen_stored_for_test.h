// The tiny checkpoints of tests/data with their linears stored in 8 bits, in each of the ways that
// are read, and beside them the same numbers as plain f32.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/model.h"

namespace hearth::language {

struct FileTensor {
  std::string dtype;  // as safetensors has it
  std::vector<std::int64_t> shape;
  std::string bytes;
};
using FileTensors = std::map<std::string, FileTensor>;

enum class Way {
  kScaled,    // scaled_fp8 in e4m3, scale_weight
  kScaledE5,  // the same in e5m2
  kLayers,    // comfy_quant, float8_e4m3fn
  kHeader,    // _quantization_metadata, float8_e4m3fn
  kInt8,      // comfy_quant, int8_tensorwise, one scale
  kInt8Rows,  // a scale for each row
  kBlocks,    // weight_scale_inv and quantization_config
  kPlain,     // e4m3 without scales
};

inline constexpr Way kWays[] = {Way::kScaled, Way::kScaledE5, Way::kLayers, Way::kHeader,
                                Way::kInt8,   Way::kInt8Rows, Way::kBlocks, Way::kPlain};
std::string name_of(Way way);

struct StoredFiles {
  FileTensors rounded;   // codes and scales
  FileTensors exact;     // code * scale in f32
  std::string metadata;  // "__metadata__":{…}, or empty
  std::string config;
  std::size_t count = 0;  // of tensors in codes
};
// Linears of layer 1 and of everything but the decoder stay as they are. `name`: a case.
StoredFiles store(const std::string& name, Way way);

// A case's tensors, and its config.json.
FileTensors read_case(const std::string& name);
std::string config_of(const std::string& name);

// One safetensors file.
std::string file_of(const FileTensors& tensors, const std::string& metadata = {});

// The case's files without config.json and weights.
models::ModelFiles files_beside(const std::string& name);

// The case's files with these tensors instead of its own.
models::ModelFiles files_of(const std::string& name, const FileTensors& tensors,
                            const std::string& config, const std::string& metadata = {});

}  // namespace hearth::language
