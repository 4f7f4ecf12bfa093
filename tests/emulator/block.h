// Runs a CUDA kernel's threads on the CPU, one block after another, so that index arithmetic,
// reductions, masks and barriers can be proved without a GPU.
//
// Every thread of a block is a fiber. It runs until it ends or waits: at a block barrier, or at a
// warp operation until all lanes of its mask are there. Threads and blocks go in an order drawn
// from a seed that differs from launch to launch, so that a forgotten barrier is found by wrong
// results. Dynamic shared memory is poisoned with NaN before each block and ends where the launch
// says (AddressSanitizer sees beyond). A barrier that some threads never reach, and lanes of a warp
// that meet at different operations, end the program with a message.
//
// What it cannot show: memory models, caches, registers, timing, what another arch's mma rounds.
//
// Threads: one launch at a time in the whole process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// What CUDA gives every thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace emulator {

// One launch; returns when all blocks have ended.
void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& thread);

// Launches so far: proof that a test ran the kernels.
std::uint64_t launches();

unsigned char* shared_memory();

// Waits for all threads of the block that have not ended; the sum of their `votes`.
int block_barrier(int vote);

constexpr std::size_t kDepositBytes = 16;

// Waits for all lanes of `mask` at the same `operation`, each leaving a value of at most
// kDepositBytes. What they left stays readable until this thread's next warp operation.
class WarpMeeting {
 public:
  WarpMeeting(unsigned mask, const char* operation, const void* value, std::size_t bytes);

  // What a lane left; ends the program for a lane that is not in the mask, as its value is
  // undefined on a GPU.
  const void* of_lane(unsigned lane) const;
  bool has(unsigned lane) const { return lane < 32 && (mask_ >> lane & 1U) != 0; }
  unsigned mask() const { return mask_; }

 private:
  unsigned mask_;
  unsigned parities_;
};

unsigned lane();

}  // namespace emulator
