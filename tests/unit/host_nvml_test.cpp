// What a GPU is doing, as far as its driver says.

#include <optional>

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "models/nvml.h"
#include "tests/unit/fake_nvml.h"

namespace hearth::models {
namespace {

constexpr const char* kBusId = "0000:65:00.0";
constexpr int kOpeningCalls = 2;  // start, find the device

// The library that Nvml opens is this one: a second opening gives the same.
class NvmlTest : public testing::Test {
 protected:
  NvmlTest() : handle_(::dlopen(HEARTH_FAKE_NVML, RTLD_NOW | RTLD_LOCAL)) {
    using Control = FakeNvml* (*)();
    if (handle_ == nullptr) return;
    fake = reinterpret_cast<Control>(::dlsym(handle_, "fake_nvml"))();
    *fake = {};
  }
  ~NvmlTest() override {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  void SetUp() override { ASSERT_NE(handle_, nullptr) << ::dlerror(); }

  FakeNvml* fake = nullptr;
  Nvml nvml{HEARTH_FAKE_NVML, kBusId};

 private:
  void* handle_;
};

contract::DeviceState all_numbers() {
  contract::DeviceState state;
  state.source = "nvml";
  state.clock_mhz = 1980;
  state.memory_clock_mhz = 2619;
  state.power_w = 310.4;
  state.power_limit_w = 700.0;
  state.temperature_c = 45;
  state.memory_used_bytes = 30'000;
  state.memory_total_bytes = 80'000;
  return state;
}

TEST_F(NvmlTest, ReadsAllThatTheDriverSays) {
  EXPECT_EQ(nvml.read(), all_numbers());
  EXPECT_STREQ(fake->bus_id, kBusId);
}

TEST_F(NvmlTest, ADeviceThatHasLeftTheBusIsLostForGood) {
  nvml.read();
  EXPECT_EQ(nvml.lost(), "");
  fake->fail_at = fake->calls + 2;
  fake->code = 15;
  nvml.read();
  EXPECT_NE(nvml.lost().find("Lost"), std::string::npos) << nvml.lost();
  fake->fail_at = 0;
  nvml.read();
  EXPECT_NE(nvml.lost(), "");
}

TEST_F(NvmlTest, OpensTheLibraryOnceAndClosesIt) {
  {
    Nvml own(HEARTH_FAKE_NVML, kBusId);
    EXPECT_EQ(fake->calls, 0) << "it was opened before anybody asked";
    own.read();
    const int first = fake->calls;
    own.read();
    EXPECT_EQ(fake->calls, 2 * first - kOpeningCalls);
    EXPECT_EQ(fake->open, 1);
  }
  EXPECT_EQ(fake->open, 0);
}

// Each call in turn: what it would have said is absent, and nothing else.
TEST_F(NvmlTest, ACallThatIsRefusedTakesItsOwnNumberOnly) {
  using State = contract::DeviceState;
  constexpr void (*kAbsent[])(State&) = {
      [](State& state) { state.clock_mhz.reset(); },
      [](State& state) { state.memory_clock_mhz.reset(); },
      [](State& state) { state.temperature_c.reset(); },
      [](State& state) { state.power_w.reset(); },
      [](State& state) { state.power_limit_w.reset(); },
      [](State& state) { state.throttled_by = {"unknown"}; },
      [](State& state) {
        state.memory_used_bytes.reset();
        state.memory_total_bytes.reset();
      },
  };
  int call = kOpeningCalls;
  for (const auto& remove : kAbsent) {
    *fake = {};
    fake->fail_at = ++call;
    State expected = all_numbers();
    remove(expected);
    EXPECT_EQ(Nvml(HEARTH_FAKE_NVML, kBusId).read(), expected) << "call " << call;
  }
  EXPECT_EQ(fake->calls, call) << "a call without its case";
}

TEST_F(NvmlTest, WithoutALibraryTheSourceSaysSo) {
  Nvml absent("/nowhere/libnvidia-ml.so.1", kBusId);
  contract::DeviceState expected;
  expected.source = "no nvml: /nowhere/libnvidia-ml.so.1 cannot be opened";
  EXPECT_EQ(absent.read(), expected);
  EXPECT_EQ(absent.read(), expected) << "the second time";
}

TEST_F(NvmlTest, ALibraryThatDoesNotStartIsNamedWithItsReason) {
  fake->fail_at = 1;
  EXPECT_EQ(nvml.read().source, "no nvml: nvmlInit_v2: Not Supported");
  EXPECT_FALSE(nvml.read().clock_mhz);
  EXPECT_EQ(fake->open, 0);
}

TEST_F(NvmlTest, ADeviceThatNvmlDoesNotKnowHasNoNumbers) {
  Nvml other(HEARTH_FAKE_NVML, "0000:66:00.0");
  contract::DeviceState expected;
  expected.source = "no nvml: nvmlDeviceGetHandleByPciBusId_v2: Not Found";
  EXPECT_EQ(other.read(), expected);
}

TEST_F(NvmlTest, ADeviceThatIsLostLaterHasNoNumbersThen) {
  nvml.read();
  fake->fail_at = fake->calls + 1;
  fake->fail_on = true;
  const contract::DeviceState lost = nvml.read();
  EXPECT_EQ(lost.source, "no nvml: nvmlDeviceGetClockInfo: Not Supported");
  EXPECT_FALSE(lost.clock_mhz || lost.power_w || lost.temperature_c || lost.memory_used_bytes);
  fake->fail_at = 0;
  EXPECT_EQ(nvml.read(), all_numbers()) << "it came back";
}

TEST_F(NvmlTest, AnOlderDriverIsAskedByTheOlderName) {
  fake->is_old = true;
  fake->reasons = 0x4;
  EXPECT_EQ(nvml.read().throttled_by, std::vector<std::string>{"power_cap"});
}

TEST_F(NvmlTest, WhatHoldsTheClockDownIsNamed) {
  fake->reasons = 0x4 | 0x20;
  EXPECT_EQ(nvml.read().throttled_by, (std::vector<std::string>{"power_cap", "thermal"}));
}

struct Named {
  std::uint64_t reasons;
  std::vector<std::string> names;
};

class ThrottleNames : public testing::TestWithParam<Named> {};

TEST_P(ThrottleNames, EachBitHasItsWord) {
  EXPECT_EQ(throttle_names(GetParam().reasons), GetParam().names);
}

INSTANTIATE_TEST_SUITE_P(Reasons, ThrottleNames,
                         testing::Values(Named{0, {}}, Named{0x1, {}},
                                         Named{0x2, {"application_clocks"}},
                                         Named{0x8 | 0x1, {"hardware_slowdown"}},
                                         Named{0x10, {"sync_boost"}},
                                         Named{0x40 | 0x80, {"hardware_thermal", "power_brake"}},
                                         Named{0x100, {"display_clocks"}},
                                         Named{0x4000 | 0x4, {"power_cap", "reason_0x4000"}}));

}  // namespace
}  // namespace hearth::models
