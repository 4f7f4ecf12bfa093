#include "daemon/broker/process_use.h"

#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace hearth::broker {

std::uint64_t rss_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t total_pages = 0;
  std::uint64_t resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::uint32_t open_descriptors() {
  std::error_code error;
  std::filesystem::directory_iterator it("/proc/self/fd", error);
  std::uint32_t n = 0;
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) ++n;
  return n > 0 ? n - 1 : 0;  // the listing's own
}

}  // namespace hearth::broker
