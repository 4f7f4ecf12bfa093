// The cuda table, its kernels run on the CPU (tests/emulator/block.h).
//
// Ownership: the table is static. Threads: one call at a time.
#pragma once

#include "models/kernels/kernels.h"

extern "C" const HearthKernels* hearth_kernels_cuda_emulated();
