// The engine of a build without libtorch: the CPU, for families that need no library.

#include "models/generate/fault.h"
#include "models/host_cpu.h"
#include "models/host_state.h"
#include "models/model.h"
#include "shm/segment.h"

namespace hearth::models {
Fault describe(std::exception_ptr exception) noexcept {
  return generate::describe_standard(std::move(exception));
}

Result<Engine> open_engine(std::string_view wanted, std::uint32_t threads) {
  if (wanted == "cuda")
    return fail(Code::kUnsupported, "This build of hearth has no GPU engine (HEARTH_TORCH=OFF).",
                "Build with the preset release, or ask for the device cpu.");
  Engine engine;
  engine.device.name = processor_name();
  engine.device.memory_bytes = total_memory_bytes();
  engine.device.threads = compute_threads(threads);
  engine.read_state = [] { return host_state(); };
  engine.remarks.push_back("built without libtorch: only families that need none are here");
  return engine;
}

}  // namespace hearth::models
