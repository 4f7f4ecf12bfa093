// What the processor is doing, as far as the kernel's files say.

#include "models/host_state.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace hearth::models {
namespace {

namespace fs = std::filesystem;

// A machine that consists of the files a test writes.
class HostStateTest : public testing::Test {
 protected:
  HostStateTest() {
    std::string name = (fs::temp_directory_path() / "hearth-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) root_ = name;
  }
  ~HostStateTest() override {
    if (!root_.empty()) fs::remove_all(root_);
  }
  void SetUp() override { ASSERT_FALSE(root_.empty()); }

  void write(const std::string& name, const std::string& text) {
    const fs::path file = root_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  contract::DeviceState read() { return host_state(root_.string()); }

 private:
  fs::path root_;
};

TEST_F(HostStateTest, NothingIsKnownOfAMachineWithoutFiles) {
  contract::DeviceState expected;
  expected.source = "procfs";
  EXPECT_EQ(read(), expected);
}

TEST_F(HostStateTest, TheClockIsTheCoresMean) {
  write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n");
  write("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "2001000\n");
  write("sys/devices/system/cpu/cpuidle/current_driver", "none\n");
  EXPECT_EQ(read().clock_mhz, 2501U);
}

TEST_F(HostStateTest, AMeasuredClockInCpuinfoCounts) {
  write("proc/cpuinfo",
        "flags\t\t: fpu aperfmperf\ncpu MHz\t\t: 2000.4\n\nflags\t\t: fpu aperfmperf\ncpu MHz\t\t: "
        "3000.0\n");
  EXPECT_EQ(read().clock_mhz, 2500U);
}

TEST_F(HostStateTest, ANominalClockIsNotTakenForThePresentOne) {
  write("proc/cpuinfo", "flags\t\t: fpu aperfmperfish\ncpu MHz\t\t: 2000.4\n");
  EXPECT_FALSE(read().clock_mhz);
}

TEST_F(HostStateTest, TheHottestSensorOfTheProcessorCounts) {
  write("sys/class/hwmon/hwmon0/name", "nvme\n");
  write("sys/class/hwmon/hwmon0/temp1_input", "90000\n");
  write("sys/class/hwmon/hwmon1/name", "coretemp\n");
  write("sys/class/hwmon/hwmon1/temp1_input", "51400\n");
  write("sys/class/hwmon/hwmon1/temp2_input", "52600\n");
  write("sys/class/hwmon/hwmon1/temp1_max", "100000\n");
  EXPECT_EQ(read().temperature_c, 53U);
}

TEST_F(HostStateTest, ASensorThatGivesNoNumberIsAbsent) {
  write("sys/class/hwmon/hwmon0/name", "k10temp\n");
  write("sys/class/hwmon/hwmon0/temp1_input", "?\n");
  EXPECT_FALSE(read().temperature_c);
  write("sys/class/hwmon/hwmon0/temp1_input", "-273000\n");
  EXPECT_FALSE(read().temperature_c) << "below zero";
}

TEST_F(HostStateTest, UsedMemoryIsWhatIsNotAvailable) {
  write("proc/meminfo", "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  600 kB\n");
  const contract::DeviceState state = read();
  EXPECT_EQ(state.memory_total_bytes, 1000U << 10);
  EXPECT_EQ(state.memory_used_bytes, 400U << 10);
}

TEST_F(HostStateTest, HalfOfTheMemorysNumbersAreNone) {
  write("proc/meminfo", "MemTotal:  1000 kB\n");
  EXPECT_FALSE(read().memory_total_bytes || read().memory_used_bytes);
  write("proc/meminfo", "MemTotal:  1000 kB\nMemAvailable:  2000 kB\n");
  EXPECT_FALSE(read().memory_total_bytes || read().memory_used_bytes);
}

TEST(HostState, ThisMachineKnowsItsMemory) {
  const contract::DeviceState state = host_state();
  ASSERT_TRUE(state.memory_used_bytes && state.memory_total_bytes);
  EXPECT_GT(*state.memory_used_bytes, 0U);
  EXPECT_GT(*state.memory_total_bytes, *state.memory_used_bytes);
}

}  // namespace
}  // namespace hearth::models
