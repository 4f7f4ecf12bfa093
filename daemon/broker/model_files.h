// What the broker looks at of a model's files: that they are readable regular files, and which.
//
// It never reads a byte of them. examine() makes system calls that a hostile descriptor can block
// for ever; it runs off the loop.
#pragma once

#include <string>
#include <vector>

#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth::broker {

// How a model computes, as offer_model has it: with the files, what makes it one model and not
// another.
struct Numerics {
  std::string dtype = "auto";
  std::string head = "auto";
  std::string attention = "auto";
};

struct ExaminedFiles {
  std::string
      identity;  // (numerics, label, device, inode, size, mtime, ctime) of all files, as text
  std::string model_id;  // 16 hex digits, a hash of the identity
  // 40 hex digits, a hash of what decides about rounded weights: files, dtype, head. Empty: the
  // dtype rounds nothing.
  std::string weights_key;
};

// Labels are plain file names, each once. Errors: bad_request, naming the label.
Result<void> check_labels(const std::vector<std::string>& labels, std::size_t n_files);

// Each descriptor must be a regular file opened for reading only. `fds` and `labels` have the same
// length. Errors: bad_model, naming the label.
Result<ExaminedFiles> examine(const std::vector<int>& fds, const std::vector<std::string>& labels,
                              const Numerics& numerics);

// Opens the files of a model's folder: .json, .safetensors, .txt and .jinja. Errors: bad_model.
struct OpenedFolder {
  std::vector<std::string> labels;  // sorted
  std::vector<Fd> fds;
};
Result<OpenedFolder> open_folder(const std::string& path);

}  // namespace hearth::broker
