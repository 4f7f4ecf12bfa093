// The engine of a build without libtorch: the CPU, for families that need no library.

#include <algorithm>
#include <fstream>
#include <thread>

#include <unistd.h>

#include "models/generate/fault.h"
#include "models/model.h"

namespace hearth::models {
namespace {

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

std::uint64_t ram_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
}

}  // namespace

Fault describe(std::exception_ptr exception) noexcept {
  return generate::describe_standard(std::move(exception));
}

Result<Engine> open_engine(std::string_view wanted, std::uint32_t threads) {
  if (wanted == "cuda")
    return fail(Code::kUnsupported, "This build of hearth has no GPU engine (HEARTH_TORCH=OFF).",
                "Build with the preset release, or ask for the device cpu.");
  Engine engine;
  engine.device.name = processor_name();
  engine.device.memory_bytes = ram_bytes();
  engine.device.threads = threads > 0 ? threads : std::max(1U, std::thread::hardware_concurrency());
  engine.remarks.push_back("built without libtorch: only families that need none are here");
  return engine;
}

}  // namespace hearth::models
