// Starting kernels: what the device is, and launches that may overlap the end of the one before.
//
// Every kernel here begins with wait_for_previous(): on devices of compute capability 9 a kernel's
// blocks are placed while the one before it ends (programmatic dependent launch), and before that
// call it may touch nothing but weights. All kernels take part, so that "the one before is
// complete" says the same of all that went before it.
#pragma once

#include <cstddef>

#include <cuda_runtime.h>

#include "models/kernels/kernels.h"

namespace hearth::kernels::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// The current device.
struct Device {
  int multiprocessors = 0;
  int shared_bytes = 0;  // the most that a block can ask for
  bool overlaps = false;
};

// Asks the CUDA runtime once for each device, then remembers.
HearthStatus current_device(Device* device);

inline HearthStatus from_cuda(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return HEARTH_OK;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
      return HEARTH_NO_DEVICE;
    default:
      return HEARTH_LAUNCH_FAILED;
  }
}

// Rows go along x: the other two are limited to 65535, and a picture may have more patches.
struct Shape {
  dim3 grid;
  int threads;
  std::size_t shared_bytes = 0;
};

template <class... Parameters, class... Arguments>
HearthStatus launch(const Shape& shape, void* stream, void (*kernel)(Parameters...),
                    const Arguments&... arguments) {
  Device device;
  if (const HearthStatus status = current_device(&device); status != HEARTH_OK) return status;
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &overlap;
  config.numAttrs = device.overlaps ? 1 : 0;
  return from_cuda(cudaLaunchKernelEx(&config, kernel, arguments...));
}

inline unsigned blocks_for(long long count, int each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
#endif
}

// The block's shared memory, Shape::shared_bytes of it, undefined at first.
__device__ __forceinline__ unsigned char* shared_memory() {
#if defined(HEARTH_EMULATED)
  return emulator::shared_memory();
#else
  extern __shared__ uint4 hearth_shared[];
  return reinterpret_cast<unsigned char*>(hearth_shared);
#endif
}

}  // namespace hearth::kernels::cuda
