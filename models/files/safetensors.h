// The header of one safetensors file: 8 bytes little-endian length, then JSON, then the tensors'
// bytes (github.com/huggingface/safetensors, "Format").
//
// Every number of the header is checked against the others and against the file's real size before
// it is believed. Holes between tensors are refused like overlaps: the format forbids both, and a
// hole can carry anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/model.h"
#include "shm/base/result.h"
#include "shm/tensor.h"

namespace hearth::files {

inline constexpr std::size_t kMaxSafetensorsHeaderBytes = std::size_t{16} << 20;

struct StoredTensor {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  // from the start of the file
  std::uint64_t nbytes = 0;
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;            // by offset
  std::map<std::string, std::string> metadata;  // __metadata__
};

// Reads the header only. Errors: bad_model naming file and tensor; unsupported for an element type
// that hearth does not know.
Result<SafetensorsHeader> read_safetensors_header(const models::ModelFile& file);

}  // namespace hearth::files
