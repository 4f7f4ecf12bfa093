#include <mutex>

#include "models/kernels/cuda/launch.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kMostDevices = 64;

// Compiled like all kernels here, so its architecture is theirs.
__global__ void probe() {}

// Waiting for the previous kernel is compiled in from compute capability 9 on. Where an older
// architecture's code runs on a newer device, kernels must not overlap.
bool overlaps(int major) {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, probe) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return major >= 9 && attributes.ptxVersion >= 90;
}

HearthStatus ask(int number, Device* device) {
  int major = 0;
  cudaError_t error =
      cudaDeviceGetAttribute(&device->multiprocessors, cudaDevAttrMultiProcessorCount, number);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&device->shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                   number);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number);
  if (error == cudaSuccess) device->overlaps = overlaps(major);
  return from_cuda(error);
}

}  // namespace

HearthStatus current_device(Device* device) {
  static std::mutex guard;
  static Device known[kMostDevices];
  int number = 0;
  if (const HearthStatus status = from_cuda(cudaGetDevice(&number)); status != HEARTH_OK)
    return status;
  if (number >= kMostDevices) return HEARTH_BAD_ARGUMENT;
  const std::lock_guard<std::mutex> lock(guard);
  if (known[number].multiprocessors == 0) {
    Device answer;
    if (const HearthStatus status = ask(number, &answer); status != HEARTH_OK) return status;
    known[number] = answer;
  }
  *device = known[number];
  return HEARTH_OK;
}

}  // namespace hearth::kernels::cuda
