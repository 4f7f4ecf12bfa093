// What an error code of the CUDA runtime or driver means for the process that got it. One table,
// by number and never by text, for our own device layer and for libtorch's exceptions.
//
// Source of the numbers: cudaError_t of driver_types.h and CUresult of cuda.h (CUDA 13.0), which
// agree from 3 on but for a few that both lists name here. Any thread; needs no CUDA.
#pragma once

#include <cstdint>

namespace hearth::kernels {

enum class FaultClass : std::uint8_t {
  kProgram,      // a wrong call: of this one operation, the device works on
  kTransient,    // the device or the driver was not ready; the same call may succeed later
  kOutOfMemory,  // there was not so much memory
  kSticky,       // the context answers every further call with an error: the process must end
  kDeviceLost,   // so will every other process: the device has left the bus or needs a reset
};

FaultClass fault_class(int cuda_code);

}  // namespace hearth::kernels
