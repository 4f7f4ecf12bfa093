// The tests of kernel tables, over the cpu table at each of its levels.

#include <cstdlib>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {

std::vector<Implementation> implementations_under_test() {
  return cpu_implementations();
}

void* allocate_for_test(std::size_t bytes) {
  return std::aligned_alloc(64, bytes);
}

void free_for_test(void* memory) {
  std::free(memory);
}

int fewer_repetitions() {
  return 1;
}

}  // namespace hearth::kernels
