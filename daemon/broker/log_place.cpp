#include "daemon/broker/log_place.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hearth::broker {

// systemd says which device and inode its stream has (systemd.exec(5)): the variable alone may be
// inherited by a program whose output goes elsewhere.
std::string log_place() {
  struct stat file = {};
  if (fstat(STDERR_FILENO, &file) != 0) return {};
  const char* journal = std::getenv("JOURNAL_STREAM");
  if (journal != nullptr && fmt::format("{}:{}", file.st_dev, file.st_ino) == journal)
    return "journal";
  if (!S_ISREG(file.st_mode)) return {};
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/fd/2", error);
  return error ? std::string() : path.string();
}

}  // namespace hearth::broker
