// Which graph a step takes, and that a graph is used only when it has been proved.

#include <cstring>

#include <gtest/gtest.h>

#include "models/decoder/cuda_memory.h"
#include "models/decoder/step_graphs.h"

namespace hearth::decoder {
namespace {

// A device on which a step adds its rows to a number; a graph adds what was recorded.
class FakeDevice : public GraphCapture, public RepeatableStep {
 public:
  enum class Flaw { kNone, kWrongGraph, kCannotRecord, kCannotInstantiate, kCannotLaunch };

  Result<void> reset() override {
    value_ = 100;
    return {};
  }
  Result<void> launch(const StepBucket& bucket) override {
    if (step_breaks) return fail(Code::kInternal, "the kernel refuses its arguments");
    ++(recording_ ? recorded : launched);
    if (recording_) {
      recorded_rows_ = bucket.rows;
      if (flaw == Flaw::kCannotRecord && bucket.rows == flawed_rows)
        return fail(Code::kInternal, "an allocation while recording");
    } else {
      value_ += bucket.rows;
    }
    return {};
  }
  Result<std::vector<std::byte>> outcome() override {
    std::vector<std::byte> bytes(sizeof value_);
    std::memcpy(bytes.data(), &value_, sizeof value_);
    return bytes;
  }

  Result<void> begin() override {
    EXPECT_FALSE(recording_);
    recording_ = true;
    return {};
  }
  Result<std::unique_ptr<Graph>> end() override {
    recording_ = false;
    const bool flawed = recorded_rows_ == flawed_rows;
    if (flawed && flaw == Flaw::kCannotInstantiate)
      return fail(Code::kInternal, "cudaGraphInstantiate: out of memory");
    return std::unique_ptr<Graph>(
        new FakeGraph(*this, recorded_rows_ + (flawed && flaw == Flaw::kWrongGraph ? 1 : 0),
                      flawed && flaw == Flaw::kCannotLaunch));
  }
  void abandon() noexcept override { recording_ = false; }

  bool is_recording() const { return recording_; }
  int value() const { return value_; }

  Flaw flaw = Flaw::kNone;
  int flawed_rows = 2;
  bool step_breaks = false;
  int launched = 0, recorded = 0, replayed = 0;

 private:
  class FakeGraph : public Graph {
   public:
    FakeGraph(FakeDevice& device, int rows, bool broken)
        : device_(device), rows_(rows), broken_(broken) {}
    Result<void> launch() override {
      if (broken_) return fail(Code::kInternal, "cudaGraphLaunch: invalid argument");
      ++device_.replayed;
      device_.value_ += rows_;
      return {};
    }

   private:
    FakeDevice& device_;
    int rows_;
    bool broken_;
  };

  int value_ = 0;
  int recorded_rows_ = 0;
  bool recording_ = false;
};

TEST(StepGraphs, RoundStepsUpToTheSmallestBucketThatHoldsThem) {
  FakeDevice device;
  const StepGraphs graphs(device, 16, 40'000);
  EXPECT_EQ(graphs.bucket(1, 1), (StepBucket{1, 512}));
  EXPECT_EQ(graphs.bucket(5, 512), (StepBucket{6, 512}));
  EXPECT_EQ(graphs.bucket(5, 513), (StepBucket{6, 2048}));
  EXPECT_EQ(graphs.bucket(16, 8193), (StepBucket{16, 32'768}));
  EXPECT_EQ(graphs.bucket(9, 40'000), (StepBucket{12, 40'000}));
}

TEST(StepGraphs, NeverExceedTheSlotsOrTheContext) {
  FakeDevice device;
  const StepGraphs graphs(device, 5, 300);
  EXPECT_EQ(graphs.buckets(),
            (std::vector<StepBucket>{{1, 300}, {2, 300}, {3, 300}, {4, 300}, {5, 300}}));
  EXPECT_EQ(graphs.bucket(5, 300), (StepBucket{5, 300}));
  EXPECT_EQ(graphs.bucket(3, 1), (StepBucket{3, 300}));
}

TEST(StepGraphs, ReplayWhatTheyHaveRecordedOnceItIsProved) {
  FakeDevice device;
  StepGraphs graphs(device, 4, 512);
  const Result<bool> before = graphs.launch({4, 512});
  ASSERT_TRUE(before);
  EXPECT_FALSE(*before) << "nothing is captured yet";
  ASSERT_TRUE(graphs.capture_all(device));
  EXPECT_EQ(graphs.captured(), 4);
  EXPECT_TRUE(graphs.remarks().empty());
  EXPECT_EQ(device.launched, 4);
  EXPECT_EQ(device.recorded, 4);
  EXPECT_EQ(device.replayed, 4) << "each graph runs once before it is trusted";
  ASSERT_TRUE(device.reset());
  const Result<bool> launched = graphs.launch({3, 512});
  ASSERT_TRUE(launched);
  EXPECT_TRUE(*launched);
  EXPECT_EQ(device.value(), 103);
}

class FlawedGraph : public testing::TestWithParam<std::pair<FakeDevice::Flaw, const char*>> {};

TEST_P(FlawedGraph, IsNotUsedAndARemarkSaysWhy) {
  FakeDevice device;
  device.flaw = GetParam().first;
  StepGraphs graphs(device, 3, 512);
  ASSERT_TRUE(graphs.capture_all(device));
  EXPECT_FALSE(device.is_recording());
  EXPECT_EQ(graphs.captured(), 2);
  ASSERT_EQ(graphs.remarks().size(), 1u);
  EXPECT_NE(graphs.remarks()[0].find("2 rows and 512 cached tokens"), std::string::npos)
      << graphs.remarks()[0];
  EXPECT_NE(graphs.remarks()[0].find(GetParam().second), std::string::npos) << graphs.remarks()[0];
  const Result<bool> flawed = graphs.launch({2, 512});
  ASSERT_TRUE(flawed);
  EXPECT_FALSE(*flawed);
  const Result<bool> sound = graphs.launch({3, 512});
  ASSERT_TRUE(sound);
  EXPECT_TRUE(*sound);
}

INSTANTIATE_TEST_SUITE_P(
    Flaws, FlawedGraph,
    testing::Values(std::pair(FakeDevice::Flaw::kWrongGraph, "first at byte 0 of 4"),
                    std::pair(FakeDevice::Flaw::kCannotRecord, "an allocation while recording"),
                    std::pair(FakeDevice::Flaw::kCannotInstantiate, "cudaGraphInstantiate"),
                    std::pair(FakeDevice::Flaw::kCannotLaunch, "cudaGraphLaunch")));

TEST(StepGraphs, PassOnTheErrorOfAStepThatFailsByItself) {
  FakeDevice device;
  device.step_breaks = true;
  StepGraphs graphs(device, 2, 512);
  const Result<void> result = graphs.capture_all(device);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what, "the kernel refuses its arguments");
}

TEST(CudaMemory, SaysSoWhereThereIsNoDevice) {
  const Result<std::unique_ptr<CudaMemory>> memory = cuda_memory(0);
  if (memory) GTEST_SKIP() << "a GPU is here: tests/gpu compares its kernels";
  EXPECT_EQ(memory.error().code, Code::kUnsupported);
  EXPECT_NE(memory.error().what.find("there is no GPU to compute on"), std::string::npos)
      << memory.error().what;
}

}  // namespace
}  // namespace hearth::decoder
