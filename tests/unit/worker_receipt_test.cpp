// What the worker adds to receipts and introductions: its device.

#include "tests/unit/worker_served_for_test.h"

namespace hearth::worker {
namespace {

constexpr std::uint64_t kBandwidth = 4'000'000;
constexpr std::uint32_t kMostTries = 1'000;  // to find the device read

Settings with_device(std::function<void(models::Engine&)> change) {
  Settings settings;
  settings.engine.device.kind = models::DeviceKind::kCuda;
  settings.engine.device.compute_capability = "9.0";
  settings.engine.device.built_for = {"8.0", "9.0"};
  settings.engine.read_state = [] {
    contract::DeviceState state;
    state.source = "test";
    state.power_w = 310.0;
    state.held_bytes = 5;  // not the engine's to say
    return state;
  };
  change(settings.engine);
  return settings;
}

class KnownBandwidth : public Served {
 protected:
  KnownBandwidth()
      : Served(with_device(
            [](models::Engine& engine) { engine.device.bandwidth_bytes_per_s = kBandwidth; })) {}
};

TEST_F(KnownBandwidth, TheIntroductionDescribesTheDevice) {
  ASSERT_TRUE(broker.read_one());
  ASSERT_TRUE(broker.ready);
  const contract::Device& device = broker.ready->device;
  EXPECT_EQ(device.kind, "cuda");
  EXPECT_EQ(device.compute_capability, "9.0");
  EXPECT_EQ(device.built_for, (std::vector<std::string>{"8.0", "9.0"}));
  EXPECT_EQ(device.bandwidth_bytes_per_s, kBandwidth);
}

// The reading that is made at the start may still be under way.
TEST_F(KnownBandwidth, AReceiptSaysWhatTheDeviceDoes) {
  make_hot("m", R"(, "weights_bytes": 100000)");
  contract::Receipt receipt;
  std::uint32_t id = 1;
  do {
    generate(++id, "!wait step 1 hello");
    receipt = broker.end_of(id).generated->receipt;
  } while (receipt.device_state.source != "test" && id < kMostTries);
  EXPECT_EQ(receipt.device_state.power_w, 310.0);
  EXPECT_GT(receipt.device_state.held_bytes, 100'000U);
  EXPECT_EQ(receipt.bytes_per_token, 100'000 + 8 * (receipt.prompt_tokens + 5));
  EXPECT_DOUBLE_EQ(receipt.bandwidth_share, static_cast<double>(receipt.bytes_per_token) *
                                                receipt.tokens_per_second / kBandwidth);
  EXPECT_GT(receipt.bandwidth_share, 0.0);
}

TEST_F(KnownBandwidth, AnEncodingsReceiptSaysItToo) {
  make_hot();
  contract::Receipt receipt;
  std::uint32_t id = 1;
  do {
    encode(++id, "hello");
    receipt = broker.end_of(id).encoded->receipt;
  } while (receipt.device_state.source != "test" && id < kMostTries);
  EXPECT_GT(receipt.device_state.held_bytes, 0U);
  EXPECT_EQ(receipt.bandwidth_share, 0.0);
}

class MeasuredBandwidth : public Served {
 protected:
  MeasuredBandwidth()
      : Served(with_device([](models::Engine& engine) {
          engine.measure_bandwidth = [] { return kBandwidth; };
        })) {}
};

TEST_F(MeasuredBandwidth, IsToldAfterTheWorkerIsReady) {
  ASSERT_TRUE(broker.read_one());
  ASSERT_TRUE(broker.ready);
  contract::WorkerReady expected = *broker.ready;
  EXPECT_EQ(expected.device.bandwidth_bytes_per_s, 0U);
  expected.device.bandwidth_bytes_per_s = kBandwidth;
  broker.read_until([&] { return broker.ready->device.bandwidth_bytes_per_s != 0; });  // or beats
  EXPECT_EQ(*broker.ready, expected);
}

TEST_F(MeasuredBandwidth, CountsInReceipts) {
  make_hot();
  generate(2, "!wait step 1 hello");
  EXPECT_GT(broker.end_of(2).generated->receipt.bandwidth_share, 0.0);
}

class UnknownBandwidth : public Served {
 protected:
  UnknownBandwidth()
      : Served(with_device([](models::Engine& engine) {
          engine.measure_bandwidth = [] { return std::uint64_t{0}; };
          engine.read_state = nullptr;
        })) {}
};

TEST_F(UnknownBandwidth, IsNoShareAndNoFurtherFrame) {
  ASSERT_TRUE(broker.read_one());
  const contract::WorkerReady first = *broker.ready;
  make_hot();
  generate(2, "!wait step 1 hello");
  const contract::Receipt receipt = broker.end_of(2).generated->receipt;
  EXPECT_EQ(receipt.bandwidth_share, 0.0);
  EXPECT_EQ(receipt.device_state.source, "nobody reads this device");
  EXPECT_EQ(*broker.ready, first);
}

}  // namespace
}  // namespace hearth::worker
