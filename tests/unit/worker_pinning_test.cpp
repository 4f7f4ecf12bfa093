// Page-locked shared memory, with a driver of the test's own that accepts or refuses.

#include <algorithm>
#include <mutex>

#include <gtest/gtest.h>

#include "daemon/worker/pinned_memory.h"
#include "shm/segment.h"
#include "tests/unit/worker_served_for_test.h"

namespace hearth::worker {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

// Stands in for the driver. Its functions touch the memory: unmapped memory would end the test.
class FakeDriver {
 public:
  models::HostPinning functions() {
    return {[this](std::span<const std::byte> memory, models::HostAccess access) {
              return pin(memory, access);
            },
            [this](std::span<const std::byte> memory) { unpin(memory); }};
  }
  std::size_t pinned() {
    const std::lock_guard lock(mutex_);
    return pinned_.size();
  }

  std::atomic<bool> accepts_reading{true};
  std::atomic<bool> accepts_writing{true};
  std::atomic<int> asked{0};

 private:
  bool pin(std::span<const std::byte> memory, models::HostAccess access) {
    ++asked;
    touch(memory);
    const std::lock_guard lock(mutex_);
    if (!(access == models::HostAccess::kRead ? accepts_reading : accepts_writing)) return false;
    pinned_.push_back(memory.data());
    return true;
  }
  void unpin(std::span<const std::byte> memory) {
    touch(memory);
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(std::erase(pinned_, memory.data()), 1U);
  }
  void touch(std::span<const std::byte> memory) {
    volatile std::byte sink = memory.front();
    sink = memory.back();
    (void)sink;
  }

  std::mutex mutex_;
  std::vector<const std::byte*> pinned_;
};

TEST(PinnedMemory, TakesAQuarterOfSmallMachinesAndLittleOfLargeOnes) {
  EXPECT_EQ(pinned_arena_budget(8ULL << 30), 2ULL << 30);
  EXPECT_EQ(pinned_arena_budget(16ULL << 30), 4ULL << 30);
  EXPECT_EQ(pinned_arena_budget(1024ULL << 30), 4ULL << 30);
  EXPECT_EQ(pinned_arena_budget(0), 0U);
}

TEST(PinnedMemory, KeepsToItsBudget) {
  FakeDriver driver;
  PinnedMemory pinned(driver.functions(), 10'000);
  const std::vector<std::byte> memory(24'000);
  const std::span all(memory);
  auto first = pinned.pin(all.first(6'000), models::HostAccess::kRead);
  EXPECT_TRUE(first);
  EXPECT_FALSE(pinned.pin(all.subspan(6'000, 4'001), models::HostAccess::kRead));
  EXPECT_EQ(driver.asked, 1) << "what is over the budget does not reach the driver";
  auto second = pinned.pin(all.subspan(6'000, 4'000), models::HostAccess::kRead);
  EXPECT_TRUE(second);
  EXPECT_EQ(pinned.pinned_bytes(), 10'000U);
  first.reset();
  EXPECT_EQ(pinned.pinned_bytes(), 4'000U);
  EXPECT_TRUE(pinned.pin(all.first(6'000), models::HostAccess::kReadWrite));
  EXPECT_EQ(pinned.refusals(), 0U);
}

TEST(PinnedMemory, CoversWhatLiesInOneRange) {
  FakeDriver driver;
  PinnedMemory pinned(driver.functions(), kMiB);
  const std::vector<std::byte> memory(3'000);
  const std::span all(memory);
  auto hold = pinned.pin(all.subspan(1'000, 1'000), models::HostAccess::kRead);
  EXPECT_TRUE(pinned.covers(all.subspan(1'000, 1'000)));
  EXPECT_TRUE(pinned.covers(all.subspan(1'500, 10)));
  EXPECT_TRUE(pinned.covers({}));
  EXPECT_FALSE(pinned.covers(all.subspan(999, 10)));
  EXPECT_FALSE(pinned.covers(all.subspan(1'500, 501)));
  EXPECT_FALSE(pinned.covers(all.subspan(2'000, 1)));
  hold.reset();
  EXPECT_FALSE(pinned.covers(all.subspan(1'500, 10)));
}

TEST(PinnedMemory, RemembersARefusalAndReturnsItsBudget) {
  FakeDriver driver;
  driver.accepts_reading = false;
  PinnedMemory pinned(driver.functions(), 1'000);
  const std::vector<std::byte> memory(1'000);
  EXPECT_FALSE(pinned.pin(memory, models::HostAccess::kRead));
  EXPECT_EQ(pinned.refusals(), 1U);
  EXPECT_EQ(pinned.pinned_bytes(), 0U);
  EXPECT_TRUE(pinned.pin(memory, models::HostAccess::kReadWrite)) << "for this one it is free";
}

TEST(PinnedMemory, LeavesLargeRangesAlone) {
  FakeDriver driver;
  PinnedMemory pinned(driver.functions(), ~std::uint64_t{0});
  const std::byte nothing{};
  const std::span large(&nothing, PinnedMemory::kMaxRangeBytes + 1);
  EXPECT_FALSE(pinned.pin(large, models::HostAccess::kRead));
  EXPECT_FALSE(pinned.pin({}, models::HostAccess::kRead));
  EXPECT_EQ(driver.asked, 0);
}

TEST(PinnedMemory, IsNoneWithoutADriver) {
  PinnedMemory pinned({}, kMiB);
  const std::vector<std::byte> memory(100);
  EXPECT_FALSE(pinned.pin(memory, models::HostAccess::kReadWrite));
  EXPECT_FALSE(pinned.covers(memory));
}

// What a driver must outlive, as the program's does.
struct WithDriver {
  FakeDriver driver;
};

class Pinning : private WithDriver, public Served {
 protected:
  explicit Pinning(std::uint64_t budget = 64 * kMiB)
      : Served(with(WithDriver::driver, budget)), driver(WithDriver::driver) {
    const auto segment = create_segment(kMiB);
    EXPECT_TRUE(segment);
    send_arena(*segment);
  }
  static Settings with(FakeDriver& driver, std::uint64_t budget) {
    Settings settings;
    settings.engine.pinning = driver.functions();
    settings.pinned_bytes = budget;
    settings.results.smallest_segment_bytes = kMiB;
    settings.results.idle_time = std::chrono::milliseconds(20);
    settings.results.check_interval = std::chrono::milliseconds(5);
    return settings;
  }

  // An encode or generate request that looks at a picture.
  template <class Request>
  void look(std::uint32_t id, Request request) {
    contract::ContentPart part;
    part.kind = "image";
    part.tensor = contract::Tensor{7, 8192, 8 * 8 * 3, "u8", {8, 8, 3}, "HWC", "u8"};
    request.messages[0].content.push_back(part);
    request.model = "m";
    broker.send(id, contract::AssignJob{1000, 5, 16 * kMiB});
    broker.send(id, request);
  }
  bool encode_is_pinned(std::uint32_t id) {
    const Heard& heard = broker.end_of(id);
    EXPECT_TRUE(heard.encoded) << (heard.error ? heard.error->what : "");
    return heard.encoded && heard.encoded->receipt.pinned;
  }

  FakeDriver& driver;

 private:
  void send_arena(const Fd& segment) {
    broker.send(0, contract::AttachArena{7, kMiB}, {segment.get()});
  }
};

TEST_F(Pinning, IsSaidInTheReceiptWhenEveryTensorIsPinned) {
  make_hot();
  look(1, generate::encode("look", {0}));
  EXPECT_TRUE(encode_is_pinned(1));
  encode(2, "nothing to see");
  EXPECT_TRUE(encode_is_pinned(2));
  look(3, generate::chat("look"));
  EXPECT_TRUE(broker.end_of(3).generated->receipt.pinned);
  generate(4, "without tensors nothing is pinned");
  EXPECT_FALSE(broker.end_of(4).generated->receipt.pinned);
  EXPECT_EQ(driver.pinned(), 2U) << "one arena in, one out";
}

TEST_F(Pinning, EndsBeforeTheMemoryIsUnmapped) {
  make_hot();
  look(1, generate::encode("look", {0}));
  EXPECT_TRUE(encode_is_pinned(1));
  const contract::Tensor tensor = broker.heard[1].encoded->tensors.at(0);
  broker.send(0, contract::DetachArena{7});
  broker.send(0, contract::ReleaseSlots{tensor.arena, {tensor.offset}});
  broker.read_until([&] { return !broker.taken_back.empty(); });
  generate(2, "a round trip");
  broker.end_of(2);
  const auto deadline = models::Clock::now() + std::chrono::seconds(kWatchdogSeconds);
  while (driver.pinned() > 0 && models::Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(driver.pinned(), 0U);
}

TEST_F(Pinning, ThatIsRefusedForResultsMakesThemUnpinned) {
  driver.accepts_writing = false;
  make_hot();
  look(1, generate::encode("look", {0}));
  EXPECT_FALSE(encode_is_pinned(1));
  look(2, generate::chat("look"));
  EXPECT_TRUE(broker.end_of(2).generated->receipt.pinned) << "its picture is";
}

class NoBudget : public Pinning {
 protected:
  NoBudget() : Pinning(kMiB - 1) {}
};

TEST_F(NoBudget, WorksWithoutPinning) {
  make_hot();
  look(1, generate::encode("look", {0}));
  EXPECT_FALSE(encode_is_pinned(1));
  look(2, generate::chat("look"));
  EXPECT_FALSE(broker.end_of(2).generated->receipt.pinned);
  EXPECT_EQ(driver.asked, 0);
}

class Refusing : public Served {
 protected:
  Refusing() : Served(with_refusals()) {}
  static Settings with_refusals() {
    Settings settings;
    settings.engine.pinning = {[](auto, auto) { return false; },
                               [](auto) { ADD_FAILURE() << "nothing was pinned"; }};
    return settings;
  }
};

TEST_F(Refusing, WorksWithoutPinning) {
  make_hot();
  encode(1, "abc");
  ASSERT_TRUE(broker.end_of(1).encoded);
  EXPECT_FALSE(broker.heard[1].encoded->receipt.pinned);
}

}  // namespace
}  // namespace hearth::worker
