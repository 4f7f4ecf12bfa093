// The tests of kernel tables, over a GPU: memory is pinned, which both sides reach at one address,
// and each call waits for its kernels. Where there is no GPU the program says so and exits with 77.

#include <cstdio>

#include "models/kernels/device.h"
#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

template <auto kFunction, class Call>
HearthStatus compute(const Call* call, void* stream) {
  const HearthStatus status = (hearth_kernels_cuda()->*kFunction)(call, stream);
  return status == HEARTH_OK ? hearth_stream_wait(stream) : status;
}

const HearthKernels& waiting_table() {
  static const HearthKernels table = {
      .name = "cuda",
#define OPERATION(name, Call) .name = &compute<&HearthKernels::name>,
#include "models/kernels/operations.def"
  };
  return table;
}

}  // namespace

std::vector<Implementation> implementations_under_test() {
  return {{"cuda", &waiting_table()}};
}

void* allocate_for_test(std::size_t bytes) {
  void* memory = nullptr;
  if (hearth_pinned_allocate(bytes, &memory) == HEARTH_OK) return memory;
  std::fprintf(stderr, "no pinned memory: %s\n", hearth_device_trouble());
  std::abort();
}

void free_for_test(void* memory) {
  hearth_pinned_free(memory);
}

int fewer_repetitions() {
  return 100;
}

}  // namespace hearth::kernels

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  std::int32_t devices = 0;
  if (hearth_device_count(&devices) != HEARTH_OK || devices == 0) {
    std::printf("no GPU here, so no kernel was run: %s\n", hearth_device_trouble());
    return kSkipped;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
