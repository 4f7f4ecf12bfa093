// models::open_engine() of a build with libtorch: which device computes, or why none can.

#include "models/kernels/device.h"

#include <algorithm>
#include <array>
#include <memory>

#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include "models/decoder/device_memory.h"
#include "models/host_cpu.h"
#include "models/host_state.h"
#include "models/kernels/cpu/bandwidth.h"
#include "models/kernels/cpu/team.h"
#include "models/model.h"
#include "models/nvml.h"
#include "models/torch/driver.h"
#include "models/torch/version.h"
#include "shm/segment.h"

namespace hearth::models {
namespace {

constexpr auto kMeasuringLimit = std::chrono::milliseconds(100);
constexpr int kMostArchitectures = 32;
constexpr std::string_view kCpuHint = "With --device cpu hearth computes on the CPU.";

Engine cpu_engine(std::uint32_t threads) {
  Engine engine;
  engine.device.name = processor_name();
  engine.device.memory_bytes = total_memory_bytes();
  engine.device.threads = compute_threads(threads);
  at::set_num_threads(static_cast<int>(engine.device.threads));
  kernels::cpu::set_team_threads(
      std::min(static_cast<int>(engine.device.threads), kernels::cpu::kMostThreads));
  engine.read_state = [] { return host_state(); };
  engine.measure_bandwidth = [] { return kernels::cpu::measure_bandwidth(kMeasuringLimit); };
  if (avoid_broken_amx())
    engine.remarks.emplace_back("this machine announces AMX but hides its tiles: going without it");
  return engine;
}

std::string version_text(long version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// The library registers its device with libtorch_cpu while it is opened and stays open for good.
Result<void> open_libtorch_cuda() {
  if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return {};
  return fail(
      Code::kUnsupported,
      fmt::format("there is a GPU, but libtorch's CUDA part cannot be opened: {}.", ::dlerror()),
      "Install libtorch whole, with its nvidia packages: hearth setup --for cuda. " +
          std::string(kCpuHint));
}

// Within one major version of CUDA any driver of that version will do.
Result<void> check_driver(const engine::Driver& driver) {
  const long built_for = at::detail::getCUDAHooks().versionCUDART();
  if (driver.cuda_version / 1000 >= built_for / 1000) return {};
  return fail(Code::kUnsupported,
              fmt::format("the NVIDIA driver runs CUDA up to {}, this libtorch was built for {}.",
                          version_text(driver.cuda_version), version_text(built_for)),
              "Update the NVIDIA driver (CUDA 13 needs r580), or build with a libtorch for the "
              "older CUDA (HEARTH_TORCH_DIR). " +
                  std::string(kCpuHint));
}

// 90 is "9.0".
std::string capability_text(std::int32_t capability) {
  return capability == 0 ? "" : fmt::format("{}.{}", capability / 10, capability % 10);
}

std::vector<std::string> architectures() {
  std::array<std::int32_t, kMostArchitectures> built{};
  const std::int32_t count = hearth_device_architectures(built.data(), kMostArchitectures);
  std::vector<std::string> names;
  for (std::int32_t i = 0; i < std::min(count, kMostArchitectures); ++i)
    names.push_back(capability_text(built[static_cast<std::size_t>(i)]));
  return names;
}

// libtorch's part of the device's memory. Its allocator is not there before the first tensor; a
// number that it will not give is absent.
void read_allocator(contract::DeviceState& state) {
  try {
    c10::DeviceAllocator* const allocator = c10::getDeviceAllocator(at::kCUDA);
    if (!allocator->initialized()) return;
    constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto stats = allocator->getDeviceStats(0);
    state.torch_used_bytes = static_cast<std::uint64_t>(stats.allocated_bytes[kAll].current);
    state.torch_kept_bytes = static_cast<std::uint64_t>(stats.reserved_bytes[kAll].current);
  } catch (const c10::Error&) {
    return;
  }
}

std::uint64_t kept_bytes() {
  contract::DeviceState state;
  read_allocator(state);
  return state.torch_kept_bytes.value_or(0);
}

// What libtorch keeps for tensors to come. Bytes that went back to the driver.
std::uint64_t empty_allocator() {
  const std::uint64_t before = kept_bytes();
  if (before == 0) return 0;
  c10::getDeviceAllocator(at::kCUDA)->emptyCache();
  const std::uint64_t after = kept_bytes();
  return before > after ? before - after : 0;
}

void describe_device(const engine::Driver& driver, Device& device) {
  device.kind = DeviceKind::kCuda;
  device.name = driver.device_name;
  device.memory_bytes = driver.device_bytes;
  device.compute_capability = capability_text(driver.compute_capability);
  device.built_for = architectures();
  device.bandwidth_bytes_per_s = driver.bandwidth_bytes_per_s;
}

Result<Engine> cuda_engine(const engine::Driver& driver, std::uint32_t threads) {
  CHECK_OK(open_libtorch_cuda());
  CHECK_OK(check_driver(driver));
  if (!at::detail::getCUDAHooks().hasCUDA())
    return fail(Code::kUnsupported, fmt::format("libtorch cannot use {}.", driver.device_name),
                std::string(kCpuHint));
  Engine engine = cpu_engine(threads);
  describe_device(driver, engine.device);
  engine.measure_bandwidth = nullptr;
  engine.read_state = [nvml = std::make_shared<Nvml>("libnvidia-ml.so.1", driver.pci_bus_id)]()
      -> Result<contract::DeviceState> {
    contract::DeviceState state = nvml->read();
    if (!nvml->lost().empty()) return fail(Code::kDeviceFailed, "The GPU is lost. " + nvml->lost());
    read_allocator(state);
    return state;
  };
  engine.trim = empty_allocator;
  engine.tick = []() -> Result<void> {
    return decoder::check_status(hearth_device_tick(nullptr), "keeping the GPU awake");
  };
  engine.pinning.pin = [](std::span<const std::byte> memory, HostAccess access) {
    return engine::pin_host_memory(memory, access == HostAccess::kRead);
  };
  engine.pinning.unpin = [](std::span<const std::byte> memory) {
    engine::unpin_host_memory(memory);
  };
  return engine;
}

}  // namespace

Result<Engine> open_engine(std::string_view wanted, std::uint32_t threads) {
  CHECK_OK(engine::check_version(engine::loaded_version()));
  if (wanted == "cpu") return cpu_engine(threads);
  const std::optional<engine::Driver> driver = engine::find_driver();
  if (driver && driver->devices > 0) return cuda_engine(*driver, threads);
  const std::string_view why =
      driver ? "the NVIDIA driver shows no GPU" : "there is no NVIDIA driver on this machine";
  if (wanted == "cuda")
    return fail(Code::kUnsupported, fmt::format("no GPU: {}.", why), std::string(kCpuHint));
  Engine engine = cpu_engine(threads);
  engine.remarks.push_back(fmt::format("{}: computing on {} with {} threads", why,
                                       engine.device.name, engine.device.threads));
  return engine;
}

}  // namespace hearth::models
