// Every error of CUDA at every call of the device layer means what it is: the end of the process,
// of the device, a lack of memory, or a failure of one operation; and nothing is left behind.
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "models/decoder/cuda_memory.h"
#include "models/generate/fault.h"
#include "models/kernels/device.h"
#include "models/kernels/fault_class.h"
#include "tests/shim/fake_cuda.h"

namespace hearth::decoder {
namespace {

using kernels::fault_class;
using kernels::FaultClass;
using shim::fake_cuda;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr int kHighestCode = 1000;
// Of the codes that mean no more than that one call was wrong. A life takes a hundred times as long
// where every access to memory is checked.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kTriedOfProgramErrors = 97;  // every so many
#else
constexpr int kTriedOfProgramErrors = 1;
#endif
constexpr int kNotReady = 600;

// One large block, one small one, their images, a captured step: each call of the device layer that
// a model's life makes. `memory` is left to the caller, who ends it.
Result<void> live(std::unique_ptr<CudaMemory>& memory) {
  TRY(memory, cuda_memory(0));
  TRY(DeviceBlock large, memory->allocate(40 * kMiB));
  TRY(DeviceBlock small, memory->allocate(4096));
  TRY(DeviceBlock shared, memory->allocate_shared(4096));
  TRY(DeviceBlock image, memory->allocate_pinned(40 * kMiB));
  CHECK_OK(memory->write(small.data(), shared.data(), 64));
  CHECK_OK(memory->copy(small.data(), shared.data(), 64));
  CHECK_OK(memory->read(shared.data(), small.data(), 64));
  CHECK_OK(memory->begin());
  TRY(const std::unique_ptr<Graph> graph, memory->end());
  CHECK_OK(graph->launch());
  CHECK_OK(check_status(hearth_device_tick(memory->stream()), "a kernel"));
  CHECK_OK(memory->check());
  CHECK_OK(memory->save(image.data(), large.data(), 40 * kMiB));
  CHECK_OK(memory->evict());
  CHECK_OK(memory->readmit(large));
  std::vector<DeviceBlock> images;
  images.push_back(std::move(image));
  const std::vector<std::uint64_t> ends = {40 * kMiB};
  CHECK_OK(memory->fill(large, images, ends));
  const void* const wanted[] = {large.data()};
  CHECK_OK(memory->await(wanted));
  return memory->finish_fill();
}

struct Outcome {
  std::optional<Error> error;  // returned
  std::optional<Code> lost;    // thrown
};

Outcome outcome_of(std::unique_ptr<CudaMemory>& memory) {
  try {
    const Result<void> lived = live(memory);
    if (lived) return {};
    return {lived.error(), std::nullopt};
  } catch (const generate::DeviceLost& lost) {
    return {std::nullopt, lost.code()};
  }
}

Outcome run(int call, int code, bool for_good) {
  fake_cuda().fail(call, code, for_good);
  std::unique_ptr<CudaMemory> memory;
  return outcome_of(memory);
}

// How many calls a life makes before anything is given back.
int calls_of_a_life() {
  run(0, 0, false);  // some things are asked once a process
  fake_cuda().fail(0, 0, false);
  std::unique_ptr<CudaMemory> memory;
  int calls = 0;
  {
    // The blocks of live() end with it: what they call is not counted.
    const Outcome outcome = outcome_of(memory);
    EXPECT_FALSE(outcome.error || outcome.lost);
    calls = fake_cuda().calls;
  }
  int given_back = 0;
  const auto& names = fake_cuda().names;
  // From the end: the first calls that only give back begin after finish_fill().
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    const bool gives_back = *name == "cuMemUnmap" || *name == "cuMemAddressFree" ||
                            *name == "cudaFree" || *name == "cudaFreeHost" ||
                            *name == "cudaGraphExecDestroy" || *name == "cudaStreamSynchronize";
    if (!gives_back) break;
    ++given_back;
  }
  return calls - given_back + 1;  // finish_fill() itself waits for a stream
}

class EveryCode : public testing::TestWithParam<bool> {};

TEST_P(EveryCode, MeansAtEveryCallWhatItIs) {
  const int calls = calls_of_a_life();
  ASSERT_GT(calls, 30);
  for (int call = 1; call <= calls; ++call) {
    for (int code = 1; code < kHighestCode; ++code) {
      if (fault_class(code) == FaultClass::kProgram && code % kTriedOfProgramErrors != 0) continue;
      const Outcome outcome = run(call, code, GetParam());
      const std::string& name = fake_cuda().names[static_cast<std::size_t>(call) - 1];
      SCOPED_TRACE(name + ", call " + std::to_string(call) + ", code " + std::to_string(code));
      // A process that must end takes all of it along.
      if (!outcome.lost) {
        ASSERT_EQ(fake_cuda().open, 0) << "something was left behind";
      }
      if (code == kNotReady && name == "cudaStreamQuery") continue;  // that is no failure
      switch (fault_class(code)) {
        case FaultClass::kSticky:
          ASSERT_EQ(outcome.lost, Code::kWorkerLost);
          break;
        case FaultClass::kDeviceLost:
          ASSERT_EQ(outcome.lost, Code::kDeviceFailed);
          break;
        case FaultClass::kOutOfMemory:
          ASSERT_TRUE(outcome.error);
          ASSERT_EQ(outcome.error->code, Code::kOutOfMemory) << outcome.error->what;
          break;
        case FaultClass::kProgram:
        case FaultClass::kTransient:
          // One operation failed; but a device that refuses what it has long been doing is not
          // trusted any further.
          ASSERT_TRUE(outcome.error || outcome.lost == Code::kWorkerLost ||
                      name == "cudaFuncGetAttributes");
          break;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Once, EveryCode, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(FromThereOn, EveryCode, testing::Values(true));

TEST(FaultClasses, TheCodesOfABrokenContextAreSticky) {
  for (const int code : {214, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999})
    EXPECT_EQ(fault_class(code), FaultClass::kSticky) << code;
  EXPECT_EQ(fault_class(2), FaultClass::kOutOfMemory);
  EXPECT_EQ(fault_class(100), FaultClass::kDeviceLost);
  EXPECT_EQ(fault_class(600), FaultClass::kTransient);
  EXPECT_EQ(fault_class(1), FaultClass::kProgram);
  EXPECT_EQ(fault_class(701), FaultClass::kProgram) << "too many registers are no fault of memory";
}

TEST(FaultClasses, AKernelThatIsRefusedTellsItsNumber) {
  fake_cuda().fail(0, 0, false);
  ASSERT_EQ(hearth_device_tick(nullptr), HEARTH_OK);
  fake_cuda().fail(2, 1, false);  // the first asks which device this is
  const auto refused = check_status(hearth_device_tick(nullptr), "a kernel");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("CUDA error 1"), std::string::npos) << refused.error().what;
}

}  // namespace
}  // namespace hearth::decoder
