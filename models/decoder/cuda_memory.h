// A CUDA device's memory, stream and graphs for the step executor.
//
// Large blocks are chunks of virtual memory, which can leave while their addresses stay. Blocks of
// less than half a chunk stay when the others leave: they are the driver's, and few.
//
// Ownership: the device memory owns its streams and what it allocates; graphs are the caller's and
// end before it. Threads: as DeviceMemory; everything but construction and allocate() on the engine
// thread.
#pragma once

#include <memory>

#include "models/decoder/device_memory.h"
#include "models/decoder/evictable.h"
#include "models/decoder/step_graphs.h"

namespace hearth::decoder {

class CudaMemory : public DeviceMemory, public GraphCapture, public Evictable {
 public:
  GraphCapture* capture() override { return this; }
  Evictable* evictable() override { return this; }
};

// Errors: unsupported without a device, or when no machine code of our kernels fits it (the driver
// would compile for tens of seconds at the first request), with what to build instead.
Result<std::unique_ptr<CudaMemory>> cuda_memory(int device);

}  // namespace hearth::decoder
