// All tensors of a model's files under one naming: what a family detects itself by and loads from.
//
// Reads model.safetensors, the shards of model.safetensors.index.json, or the one safetensors file
// there is, whatever its label. Both Hugging Face layouts come out under the older, shorter names:
//   model.language_model.X -> model.X        model.visual.X -> visual.X
//
// Ownership: shares the descriptors of the ModelFiles it was read from; holds no tensor bytes.
// Threads: immutable after read(); read_… from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/model_file.h"
#include "models/model.h"
#include "shm/base/result.h"
#include "shm/tensor.h"

namespace hearth::files {

struct WeightEntry {
  std::string name;         // unified
  std::string stored_name;  // as in the file, for messages
  DType dtype = DType::kU8;
  std::vector<std::int64_t> shape;
  std::size_t file = 0;      // index into the ModelFiles
  std::uint64_t offset = 0;  // from the start of that file
  std::uint64_t nbytes = 0;
};

class WeightIndex {
 public:
  // Headers only. Errors: bad_model (naming file, tensor or the missing shard), unsupported (GGUF,
  // pickles, element types hearth does not know).
  static Result<WeightIndex> read(const models::ModelFiles& files);

  std::span<const WeightEntry> entries() const { return entries_; }  // by name
  const WeightEntry* find(std::string_view name) const;              // null: not there
  // Errors: bad_model naming the tensor and the files that were searched.
  Result<const WeightEntry*> require(std::string_view name) const;
  // As require(), and of exactly this shape.
  Result<const WeightEntry*> require(std::string_view name,
                                     std::span<const std::int64_t> shape) const;

  std::uint64_t total_bytes() const { return total_bytes_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::string_view label_of(const WeightEntry& entry) const { return files_[entry.file].label; }

  // Fills `out`, whose size is entry.nbytes. Errors: bad_model naming tensor and file when the file
  // ends too early.
  Result<void> read_tensor(const WeightEntry& entry, std::span<std::byte> out) const;

  // Fills the rows from byte `begin` of the tensor's on. Errors: as read_tensor.
  Result<void> read_rows(const WeightEntry& entry, std::uint64_t begin,
                         const RowTarget& target) const;
  // Fetches bytes [begin, begin + bytes) of the tensor in the background (see model_file.h).
  void prefetch(const WeightEntry& entry, std::uint64_t begin, std::uint64_t bytes) const;

  // Compares every file (configuration too) with what it was at read(). Call after the last
  // read_tensor(). Errors: model_changed naming the file.
  Result<void> check_unchanged() const;

 private:
  Result<void> add_file(std::size_t file);
  Result<void> sort_entries();

  models::ModelFiles files_;
  std::vector<FileIdentity> identities_;  // of files_, at read()
  std::vector<WeightEntry> entries_;
  std::map<std::string, std::string> metadata_;
  std::uint64_t total_bytes_ = 0;
};

// model.language_model.X -> model.X, model.visual.X -> visual.X; anything else stays.
std::string unified_name(std::string_view stored_name);

// Lists for messages: "[151936, 2048]".
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace hearth::files
