// The tests of kernel tables, over the emulated one.

#include "tests/emulator/table.h"
#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {

std::vector<Implementation> implementations_under_test() {
  return {{"cuda_emulated", hearth_kernels_cuda_emulated()}};
}

void* allocate_for_test(std::size_t bytes) {
  return std::aligned_alloc(64, bytes);
}

void free_for_test(void* memory) {
  std::free(memory);
}

int fewer_repetitions() {
  return 100;
}

}  // namespace hearth::kernels
