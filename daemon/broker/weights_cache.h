// Rounded weights on disk: a folder of files, one for each set of weights, under the key that
// examine() gives them. The broker chooses files and hands descriptors to the worker, which alone
// reads and writes them; what is in a file, only the worker can tell.
//
// A file has no name until it is whole: one that is being written when a process dies leaves
// nothing. Several services may share a folder: files are only ever added whole and removed, and
// who has one open keeps it. Other files in the folder are left alone.
//
// All functions may block: off the loop. Any thread; nothing is kept but the folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon/broker/message.h"
#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth::broker {

class WeightsCache {
 public:
  struct File {
    std::string key;
    SharedFd fd;
    bool writes = false;  // it is empty and has no name yet
  };

  // Makes the folder, for this user alone. Errors: bad_request when it cannot be made or opened, or
  // its file system has no files without a name (O_TMPFILE).
  static Result<std::shared_ptr<const WeightsCache>> open(const std::string& folder,
                                                          std::uint64_t most_bytes);
  // $CACHE_DIRECTORY (of systemd), $XDG_CACHE_HOME/hearth or ~/.cache/hearth, and /weights. Empty
  // when there is none of these.
  static std::string default_folder();

  // Another bound from here on; what is over it goes when the next file is kept.
  void set_most_bytes(std::uint64_t most_bytes) const { most_bytes_ = most_bytes; }

  // The file of this key, which counts as used now, or an empty one to write. None where the folder
  // is gone.
  std::optional<File> find(const std::string& key) const;
  // Names a file that was written. The ones that were not used for longest are removed for it.
  // Errors: out_of_memory when it alone is larger than what all may take; internal.
  Result<void> keep(const File& file) const;
  void drop(const std::string& key) const;
  std::uint64_t bytes() const;  // of all files

 private:
  WeightsCache(Fd folder, std::uint64_t most_bytes)
      : folder_(std::move(folder)), most_bytes_(most_bytes) {}
  Fd new_file() const;

  const Fd folder_;
  mutable std::atomic<std::uint64_t> most_bytes_;
};

}  // namespace hearth::broker
