// Memory of a real GPU that leaves and comes back. Without one there is nothing to test.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "models/decoder/cuda_memory.h"
#include "models/kernels/device.h"

namespace hearth::decoder {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
using Bytes = std::vector<std::byte>;

class CudaRest : public testing::Test {
 protected:
  void SetUp() override {
    std::int32_t devices = 0;
    if (hearth_device_count(&devices) != HEARTH_OK || devices == 0) GTEST_SKIP() << "no GPU";
    auto opened = cuda_memory(0);
    ASSERT_TRUE(opened) << opened.error().what;
    memory_ = *std::move(opened);
  }
  static Bytes pattern(std::size_t bytes) {
    Bytes made(bytes);
    std::uint32_t state = 1;
    for (std::byte& each : made)
      each = static_cast<std::byte>((state = state * 747796405U + 1) >> 24);
    return made;
  }
  Bytes content(const DeviceBlock& block) {
    Bytes read(block.bytes());
    EXPECT_TRUE(memory_->read(read.data(), block.data(), read.size()));
    return read;
  }
  // In two pieces.
  std::vector<DeviceBlock> saved(const DeviceBlock& block) {
    std::vector<DeviceBlock> image;
    const std::size_t first = block.bytes() / 3;
    for (const auto& [begin, bytes] :
         {std::pair(std::size_t{0}, first), std::pair(first, block.bytes() - first)}) {
      auto piece = memory_->allocate_pinned(bytes);
      EXPECT_TRUE(piece);
      EXPECT_TRUE(memory_->save(piece->data(), block.as<std::byte>() + begin, bytes));
      image.push_back(*std::move(piece));
    }
    return image;
  }
  static std::uint64_t free_bytes() {
    HearthDeviceFacts facts{};
    EXPECT_EQ(hearth_device_facts(&facts), HEARTH_OK);
    return facts.free_bytes;
  }

  std::unique_ptr<CudaMemory> memory_;
};

TEST_F(CudaRest, WhatWasSavedComesBackAtItsAddressAndTheRestIsZero) {
  auto weights = memory_->allocate(100 * kMiB);
  auto pages = memory_->allocate(70 * kMiB);
  ASSERT_TRUE(weights && pages);
  const Bytes expected = pattern(weights->bytes());
  ASSERT_TRUE(memory_->write(weights->data(), expected.data(), expected.size()));
  ASSERT_TRUE(memory_->write(pages->data(), expected.data(), pages->bytes()));
  ASSERT_TRUE(memory_->synchronize());
  const std::vector<DeviceBlock> image = saved(*weights);
  const std::uint64_t before = free_bytes();
  for (int cycle = 0; cycle < 20; ++cycle) {
    ASSERT_TRUE(memory_->evict());
    EXPECT_GE(free_bytes(), before + 160 * kMiB);
    ASSERT_TRUE(memory_->readmit(*weights));
    EXPECT_EQ(free_bytes(), before);
    const std::vector<std::uint64_t> ends = {kMiB, 40 * kMiB, 90 * kMiB, 100 * kMiB};
    ASSERT_TRUE(memory_->fill(*weights, image, ends));
    const void* const last[] = {weights->as<std::byte>() + weights->bytes() - 1};
    ASSERT_TRUE(memory_->await(last));  // the read below is on the stream that waits
    ASSERT_EQ(content(*weights), expected);
    ASSERT_EQ(content(*pages), Bytes(pages->bytes()));
  }
}

TEST_F(CudaRest, TheFirstPartIsThereOnceItWasAwaited) {
  auto weights = memory_->allocate(400 * kMiB);
  ASSERT_TRUE(weights);
  const Bytes expected = pattern(weights->bytes());
  ASSERT_TRUE(memory_->write(weights->data(), expected.data(), expected.size()));
  ASSERT_TRUE(memory_->synchronize());
  const std::vector<DeviceBlock> image = saved(*weights);
  ASSERT_TRUE(memory_->evict());
  ASSERT_TRUE(memory_->readmit(*weights));
  const std::vector<std::uint64_t> ends = {32 * kMiB, 400 * kMiB};
  ASSERT_TRUE(memory_->fill(*weights, image, ends));
  const void* const first[] = {weights->data()};
  ASSERT_TRUE(memory_->await(first));
  Bytes begin(32 * kMiB);
  ASSERT_TRUE(memory_->read(begin.data(), weights->data(), begin.size()));
  EXPECT_TRUE(std::equal(begin.begin(), begin.end(), expected.begin()));
  ASSERT_TRUE(memory_->await_all());
  EXPECT_EQ(content(*weights), expected);
}

TEST_F(CudaRest, BlocksMayEndWhileTheirMemoryIsAway) {
  const std::uint64_t before = free_bytes();
  auto weights = memory_->allocate(100 * kMiB);
  ASSERT_TRUE(weights);
  ASSERT_TRUE(memory_->evict());
  *weights = DeviceBlock();
  EXPECT_EQ(free_bytes(), before);
}

TEST_F(CudaRest, ATickIsTaken) {
  EXPECT_EQ(hearth_device_tick(nullptr), HEARTH_OK);
  EXPECT_TRUE(memory_->synchronize());
}

}  // namespace
}  // namespace hearth::decoder
