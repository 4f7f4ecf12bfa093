// Reading the files somebody opened for us: by pread only, and only as many bytes as are allowed.
//
// Borrowed: a ModelFile's descriptor belongs to whoever made the ModelFiles. Any thread; nothing
// here keeps state or moves a file position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::files {

// What must stay the same between the offer of a file and the end of reading it.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

// Errors: bad_model when the descriptor cannot be examined or is not a regular file.
Result<FileIdentity> identity_of(const models::ModelFile& file);

// The file with this label, or null.
const models::ModelFile* find_file(const models::ModelFiles& files, std::string_view label);

// Fills `out` from `offset`. Errors: bad_model naming the file when it ends before `out` is full.
Result<void> read_at(const models::ModelFile& file, std::uint64_t offset, std::span<std::byte> out);

// Memory for equal rows that lie `stride_bytes` apart: in a file they follow each other.
struct RowTarget {
  std::byte* first = nullptr;
  std::size_t rows = 0;
  std::size_t row_bytes = 0;
  std::size_t stride_bytes = 0;  // from one row to the next; at least row_bytes
};

// Fills all rows from `offset`, without a copy between. Errors: as read_at.
Result<void> read_rows(const models::ModelFile& file, std::uint64_t offset,
                       const RowTarget& target);

// Has the system fetch what of these bytes it does not hold yet, and returns before it has. One
// reader by itself waits for the disk after every few blocks; with fetches some 64 MiB ahead of it
// the disk is never idle. Only advice: where it fails, reading is slower.
void prefetch(const models::ModelFile& file, std::uint64_t offset, std::uint64_t bytes);

// The whole file. Errors: bad_model when it is larger than `max_bytes` or cannot be read.
Result<std::string> read_whole(const models::ModelFile& file, std::size_t max_bytes);

// Text out of a file, short enough for a message: at most 100 bytes, cut between characters.
std::string shortened(std::string_view text);

}  // namespace hearth::files
