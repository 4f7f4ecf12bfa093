// A device whose memory leaves and comes back, made of this process's own: what has left cannot be
// touched, and what comes back arrives only as far as somebody awaits it. So an operation that runs
// before its weights have arrived reads NaN, every time. Launches can be recorded, as in
// recording_for_test.h.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>

#include "models/decoder/evictable.h"
#include "tests/unit/recording_for_test.h"

namespace hearth::decoder {

class EvictableMemory : public DeviceMemory, public GraphCapture, public Evictable {
 public:
  // What it has and counts; a test may look at it when the memory is somebody else's.
  struct Account {
    std::uint64_t device_limit_bytes = ~0ULL, pinned_limit_bytes = ~0ULL;
    std::uint64_t device_bytes = 0, pinned_bytes = 0;  // now
    std::uint64_t saved_bytes = 0, arrived_bytes = 0;  // in all; of the last fill
    bool deaf = false;                                 // nobody's await is heard
    int replays = 0;                                   // of recorded steps
  };

  explicit EvictableMemory(std::shared_ptr<Account> account) : account_(std::move(account)) {}
  ~EvictableMemory() override { recording() = nullptr; }

  const HearthKernels& kernels() const override { return recording_kernels(); }
  void* stream() const override { return nullptr; }
  GraphCapture* capture() override { return this; }
  Evictable* evictable() override { return this; }

  Result<DeviceBlock> allocate(std::size_t bytes) override {
    if (bytes == 0) return DeviceBlock();
    void* const data = map(nullptr, bytes, PROT_READ | PROT_WRITE);
    blocks_.push_back({data, bytes});
    account_->device_bytes += bytes;
    return DeviceBlock(*this, data, bytes);
  }
  Result<DeviceBlock> allocate_shared(std::size_t bytes) override {
    return DeviceBlock(*this, map(nullptr, bytes, PROT_READ | PROT_WRITE), bytes);
  }
  Result<DeviceBlock> allocate_pinned(std::size_t bytes) override {
    if (account_->pinned_bytes + bytes > account_->pinned_limit_bytes)
      return fail(Code::kOutOfMemory, fmt::format("{} bytes of pinned memory", bytes));
    void* const data = map(nullptr, bytes, PROT_READ | PROT_WRITE);
    images_.push_back(data);
    account_->pinned_bytes += bytes;
    return DeviceBlock(*this, data, bytes);
  }

  Result<void> write(void* target, const void* source, std::size_t bytes) override {
    EXPECT_EQ(recording(), nullptr) << "a copy from the host inside a recorded step";
    return copy(target, source, bytes);
  }
  Result<void> copy(void* target, const void* source, std::size_t bytes) override {
    std::memcpy(target, source, bytes);
    return {};
  }
  Result<void> clear(void* target, std::size_t bytes) override {
    std::memset(target, 0, bytes);
    return {};
  }
  Result<void> synchronize() override { return {}; }
  Result<void> read(void* target, const void* source, std::size_t bytes) override {
    return copy(target, source, bytes);
  }
  Result<void> check() override { return {}; }

  Result<void> begin() override {
    EXPECT_FALSE(filling_) << "a step is recorded while its weights are on their way";
    recording() = &launches_;
    return {};
  }
  Result<std::unique_ptr<Graph>> end() override {
    recording() = nullptr;
    return std::unique_ptr<Graph>(
        std::make_unique<RecordedGraph>(std::exchange(launches_, {}), account_->replays));
  }
  void abandon() noexcept override { recording() = nullptr; }

  std::size_t image_piece_bytes() const override { return 9'999; }
  Result<void> save(void* image, const void* source, std::size_t bytes) override {
    account_->saved_bytes += bytes;
    return copy(image, source, bytes);
  }
  Result<void> evict() override {
    CHECK_OK(finish_fill());
    for (const Block& each : blocks_) map(each.data, each.bytes, PROT_NONE);
    account_->device_bytes = 0;
    evicted_ = true;
    return {};
  }
  Result<void> readmit(const DeviceBlock& filled) override {
    EXPECT_TRUE(evicted_);
    std::uint64_t bytes = 0;
    for (const Block& each : blocks_) bytes += each.bytes;
    if (bytes > account_->device_limit_bytes)
      return fail(Code::kOutOfMemory, fmt::format("{} bytes of the device", bytes));
    for (const Block& each : blocks_) map(each.data, each.bytes, PROT_READ | PROT_WRITE);
    std::memset(filled.data(), 0xFF, filled.bytes());
    account_->device_bytes = bytes;
    evicted_ = false;
    return {};
  }
  Result<void> fill(const DeviceBlock& block, std::span<const DeviceBlock> image,
                    std::span<const std::uint64_t> ends) override {
    parts_ = FillParts(block, ends, 1);
    target_ = block.as<std::byte>();
    source_ = image;
    arrived_ = 0;
    account_->arrived_bytes = 0;
    filling_ = true;
    return {};
  }
  Result<void> finish_fill() override {
    if (filling_) arrive(parts_.ends().size());
    return {};
  }

 private:
  struct Block {
    void* data = nullptr;
    std::size_t bytes = 0;
  };

  static void* map(void* at, std::size_t bytes, int access) {
    const int fixed = at == nullptr ? 0 : MAP_FIXED;
    void* const data =
        ::mmap(at, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    EXPECT_NE(data, MAP_FAILED);
    return data;
  }
  void release(void* data, std::size_t bytes) noexcept override {
    const bool is_block =
        std::erase_if(blocks_, [&](const Block& each) { return each.data == data; }) > 0;
    if (is_block && !evicted_) account_->device_bytes -= bytes;
    if (std::erase(images_, data) > 0) account_->pinned_bytes -= bytes;
    ::munmap(data, bytes);
  }

  Result<void> await_filled(std::span<const void* const> addresses) override {
    std::size_t wanted = 0;
    for (const void* address : addresses) wanted = std::max(wanted, parts_.until(address));
    if (!account_->deaf) arrive(wanted);
    return {};
  }
  Result<void> await_filled() override {
    if (!account_->deaf) arrive(parts_.ends().size());
    return {};
  }
  void arrive(std::size_t parts) {
    for (; arrived_ < parts; ++arrived_) {
      const std::uint64_t end = parts_.ends()[arrived_];
      const std::uint64_t begin = account_->arrived_bytes;
      EXPECT_TRUE(copy_pieces(source_, begin, end,
                              [&](std::uint64_t at, const std::byte* source, std::uint64_t bytes) {
                                return copy(target_ + at, source, bytes);
                              }));
      account_->arrived_bytes = end;
    }
    filling_ = arrived_ < parts_.ends().size();
  }

  std::shared_ptr<Account> account_;
  std::vector<Block> blocks_;
  std::vector<void*> images_;
  bool evicted_ = false;
  FillParts parts_;
  std::byte* target_ = nullptr;
  std::span<const DeviceBlock> source_;
  std::size_t arrived_ = 0;  // parts
  Launches launches_;
};

}  // namespace hearth::decoder
