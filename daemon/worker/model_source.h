// A model as the broker attached it: open files, and what they were like then.
//
// Immutable after attaching; any thread. The files are closed with the last holder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::worker {

struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

struct ModelSource {
  std::string name;                    // for the log
  std::string dtype, head, attention;  // of LoadOptions
  models::ModelFiles files;
  std::vector<FileStamp> stamps;  // of `files`, when they were attached
};

// Takes the descriptors, one for each label. Errors: bad_request when their numbers differ.
Result<ModelSource> open_source(const contract::AttachModel& message, std::vector<Fd> fds);

// Errors: model_changed, naming the file that is not what it was.
Result<void> check_unchanged(const ModelSource& source);

// models::detect and models::plan as the answer to attach_model, its id left empty; what they throw
// becomes an error.
Result<contract::ModelOffered> examine_guarded(const ModelSource& source,
                                               const models::LoadOptions& options);

struct Loaded {
  Result<std::shared_ptr<models::Model>> model;
  bool device_lost = false;
};

// Load thread. models::load between two checks of the files; what it throws becomes an error.
Loaded load_unchanged(const ModelSource& source, const models::LoadOptions& options);

}  // namespace hearth::worker
