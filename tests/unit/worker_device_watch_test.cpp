// The device's part of a receipt, and that nobody waits for it.

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "daemon/worker/device_watch.h"

namespace hearth::worker {
namespace {

constexpr auto kSoon = std::chrono::milliseconds(1);
constexpr auto kNever = std::chrono::hours(1);
constexpr auto kLimit = std::chrono::seconds(60);

// Counts readings; each says which it is.
class Device {
 public:
  contract::DeviceState read() {
    const std::lock_guard lock(mutex_);
    ++readings_;
    read_.notify_all();
    contract::DeviceState state;
    state.source = "test";
    state.clock_mhz = readings_;
    return state;
  }
  // Waits until there were so many; false at the watchdog.
  bool wait_for(std::uint32_t readings) {
    std::unique_lock lock(mutex_);
    return read_.wait_for(lock, kLimit, [&] { return readings_ >= readings; });
  }
  std::uint32_t readings() {
    const std::lock_guard lock(mutex_);
    return readings_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable read_;
  std::uint32_t readings_ = 0;
};

contract::Receipt receipt_of(const DeviceWatch& watch) {
  contract::Receipt receipt;
  receipt.bytes_per_token = 2'000;
  receipt.tokens_per_second = 50.0;
  watch.complete(receipt, 77);
  return receipt;
}

// The reading is done before its result can be seen.
template <class Enough>
bool wait_until(const DeviceWatch& watch, const Enough& enough) {
  const auto limit = std::chrono::steady_clock::now() + kLimit;
  while (!enough(receipt_of(watch).device_state)) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(DeviceWatch, ReadsTheDeviceOnceBeforeAnybodyAsks) {
  Device device;
  const DeviceWatch watch([&] { return device.read(); },
                          std::chrono::duration_cast<std::chrono::milliseconds>(kNever));
  EXPECT_TRUE(wait_until(watch, [](const auto& state) { return state.clock_mhz == 1U; }));
  EXPECT_EQ(receipt_of(watch).device_state.source, "test");
}

TEST(DeviceWatch, ReadsAgainAndAgainWhileJobsAreOpen) {
  Device device;
  DeviceWatch watch([&] { return device.read(); }, kSoon);
  ASSERT_TRUE(device.wait_for(1));
  watch.job_began();
  watch.job_began();
  watch.job_ended();
  EXPECT_TRUE(device.wait_for(5));
}

TEST(DeviceWatch, ReadsNothingWhileNothingRuns) {
  Device device;
  DeviceWatch watch([&] { return device.read(); }, kSoon);
  watch.job_began();
  ASSERT_TRUE(device.wait_for(2));
  watch.job_ended();
  // A reading may be under way; the one that is due after it finds no job and is the last.
  const std::uint32_t most = device.readings() + 2;
  Device busy;
  DeviceWatch beside([&] { return busy.read(); }, kSoon);
  beside.job_began();
  ASSERT_TRUE(busy.wait_for(20));
  EXPECT_LE(device.readings(), most);
}

TEST(DeviceWatch, ReadsNoMoreOftenThanItMay) {
  Device device;
  DeviceWatch watch([&] { return device.read(); },
                    std::chrono::duration_cast<std::chrono::milliseconds>(kNever));
  ASSERT_TRUE(device.wait_for(1));
  for (int i = 0; i < 100; ++i) {
    watch.job_began();
    watch.job_ended();
  }
  EXPECT_EQ(device.readings(), 1U);
}

TEST(DeviceWatch, ADeviceThatHangsKeepsNobodyWaiting) {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  DeviceWatch watch(
      [released] {
        released.wait();
        return contract::DeviceState{};
      },
      kSoon);
  watch.job_began();
  EXPECT_EQ(receipt_of(watch).device_state.source, "the device was not read yet");
  watch.job_ended();
  release.set_value();
}

TEST(DeviceWatch, ShareIsWhatWasReadOfWhatCouldBe) {
  DeviceWatch watch({}, kSoon);
  EXPECT_EQ(receipt_of(watch).bandwidth_share, 0.0) << "before the bandwidth is known";
  watch.set_bandwidth(400'000);
  const contract::Receipt receipt = receipt_of(watch);
  EXPECT_DOUBLE_EQ(receipt.bandwidth_share, 0.25);
  EXPECT_EQ(receipt.device_state.held_bytes, 77U);
  EXPECT_EQ(receipt.device_state.source, "nobody reads this device");
}

}  // namespace
}  // namespace hearth::worker
