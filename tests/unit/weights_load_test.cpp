// Loading: every weight where the plan says, in the format it says, whatever the threads do; what
// goes wrong on the way; memory that is given back.
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "models/kernels/bfloat16.h"
#include "models/kernels/formats.h"
#include "models/weights/convert.h"
#include "models/weights/weights.h"
#include "tests/unit/weights_for_test.h"

namespace hearth::weights {
namespace {

// Large enough that the largest placements are cut into several pieces.
Shape sizable(std::string_view dtype) {
  return {.hidden = 192,
          .intermediate = 7000,
          .vocabulary = 13000,
          .layers = 2,
          .biases = true,
          .dtype = dtype};
}

// Written once; tests that change a file make their own.
const Checkpoint& sizable_checkpoint(const std::string& dtype) {
  static std::map<std::string, Checkpoint> made;
  const auto [place, added] = made.try_emplace(dtype);
  if (added) place->second = make_checkpoint(sizable(dtype));
  return place->second;
}

struct Loaded {
  Plan plan;
  std::shared_ptr<const Weights> weights;
};

Loaded loaded(const files::WeightIndex& index, const Checkpoint& checkpoint,
              std::string_view dtype) {
  Plan plan = plan_of(index, checkpoint, dtype);
  models::LoadOptions options;
  options.device.threads = 4;
  auto weights = must(load(index, plan, options, must(host_arena(plan.bytes))));
  return {std::move(plan), std::move(weights)};
}

// The rows of linears under each other, or alternating.
std::vector<float> joined(const files::WeightIndex& index, const std::vector<std::string>& names,
                          std::size_t columns, bool interleaved) {
  std::vector<std::vector<float>> parts;
  for (const std::string& name : names) parts.push_back(numbers(index, name));
  std::vector<float> rows;
  if (interleaved) {
    for (std::size_t row = 0; row < parts[0].size() / columns; ++row)
      for (const auto& part : parts)
        rows.insert(rows.end(), part.begin() + static_cast<std::ptrdiff_t>(row * columns),
                    part.begin() + static_cast<std::ptrdiff_t>((row + 1) * columns));
  } else {
    for (const auto& part : parts) rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

void expect_floats(const float* found, const std::vector<float>& wanted, const char* what) {
  EXPECT_EQ(std::memcmp(found, wanted.data(), wanted.size() * sizeof(float)), 0) << what;
}

struct Case {
  const char* stored;
  const char* dtype;
};
class LoadFormats : public testing::TestWithParam<Case> {};

TEST_P(LoadFormats, EveryWeightIsWhereThePlanSaysInItsFormat) {
  const Checkpoint& checkpoint = sizable_checkpoint(GetParam().stored);
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const Loaded model = loaded(index, checkpoint, GetParam().dtype);
  const decoder::Weights& weights = model.weights->decoder();
  const auto hidden = static_cast<std::size_t>(checkpoint.description.hidden_size);
  const auto vector = [&](const void* data, std::vector<float> rows, const char* what) {
    const HearthMatrix found = {format_of(weights.type), static_cast<std::int64_t>(rows.size()), 1,
                                data, nullptr};
    expect_packed(found, rows, what);
  };

  vector(weights.embedding, numbers(index, "embed"), "embedding");
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const decoder::LayerWeights& layer = weights.layers[i];
    const auto name = [&](const char* part) { return fmt::format("{}.{}", i, part); };
    expect_floats(layer.attention_norm, numbers(index, name("attention_norm")), "attention_norm");
    expect_floats(layer.q_norm, numbers(index, name("q_norm")), "q_norm");
    expect_floats(layer.k_norm, numbers(index, name("k_norm")), "k_norm");
    expect_floats(layer.mlp_norm, numbers(index, name("mlp_norm")), "mlp_norm");
    expect_packed(layer.qkv.matrix, joined(index, {name("q"), name("k"), name("v")}, hidden, false),
                  "qkv");
    vector(layer.qkv.bias,
           joined(index, {name("q.bias"), name("k.bias"), name("v.bias")}, 1, false), "qkv bias");
    expect_packed(layer.output.matrix, numbers(index, name("output")), "output");
    expect_packed(layer.gate_up.matrix, joined(index, {name("gate"), name("up")}, hidden, true),
                  "gate_up");
    expect_packed(layer.down.matrix, numbers(index, name("down")), "down");
  }
  expect_floats(weights.final_norm, numbers(index, "norm"), "final norm");
  expect_packed(weights.head.matrix, numbers(index, "embed"), "head");
  expect_packed(model.weights->tensor("tower.norm"), numbers(index, "tower.norm"), "tower.norm");
  expect_packed(model.weights->tensor("tower.weight"), numbers(index, "tower.weight"), "tower");
  EXPECT_EQ(model.weights->bytes(), arena_bytes(model.plan.bytes));
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto* stored : {"F32", "BF16", "F16"})
    for (const auto* dtype : {"float32", "bfloat16", "float8", "int8", "int4"})
      cases.push_back({stored, dtype});
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Weights, LoadFormats, testing::ValuesIn(all_cases()),
                         [](const auto& info) {
                           return std::string(info.param.stored) + "_as_" + info.param.dtype;
                         });

TEST(Convert, EveryF16BecomesItsNumber) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    float found = 0.0F;
    convert(DType::kF16, reinterpret_cast<const std::byte*>(&half), HEARTH_F32, &found, 1);
    const float wanted = kernels::f16_to_float(half);
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(found)) << bits;
    } else {
      EXPECT_EQ(found, wanted) << bits;
      EXPECT_EQ(std::signbit(found), std::signbit(wanted)) << bits;
    }
  }
}

// An arena that remembers what it was told and what lay there then.
class WatchedArena : public Arena {
 public:
  explicit WatchedArena(std::uint64_t bytes) : memory_(bytes), seen_(bytes) {}
  std::byte* host() override { return memory_.data(); }
  const std::byte* address() const override { return memory_.data(); }
  int device() const override { return -1; }
  std::uint64_t bytes() const override { return memory_.size(); }
  Result<void> arrived(std::uint64_t end) override {
    if (throws) throw std::runtime_error("the device is lost");
    if (fails) return fail(Code::kOutOfMemory, "the copy failed");
    EXPECT_GT(end, arrived_);
    std::memcpy(seen_.data() + arrived_, memory_.data() + arrived_, end - arrived_);
    arrived_ = end;
    return {};
  }
  void expect_complete() const {
    EXPECT_EQ(arrived_, memory_.size());
    EXPECT_EQ(std::memcmp(seen_.data(), memory_.data(), memory_.size()), 0);
  }
  bool fails = false;
  bool throws = false;

 private:
  std::vector<std::byte> memory_, seen_;
  std::uint64_t arrived_ = 0;
};

TEST(Load, ArrivesFromTheFrontAndWhatArrivedStays) {
  const Checkpoint& checkpoint = sizable_checkpoint("F16");
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const Plan plan = plan_of(index, checkpoint, "int8");
  models::LoadOptions options;
  options.device.threads = 4;
  auto arena = std::make_unique<WatchedArena>(plan.bytes);
  const WatchedArena& watched = *arena;
  const auto weights = must(load(index, plan, options, std::move(arena)));
  watched.expect_complete();
}

TEST(Load, AnArenaThatFailsEndsIt) {
  const Checkpoint checkpoint = make_checkpoint({});
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const Plan plan = plan_of(index, checkpoint, "auto");
  auto arena = std::make_unique<WatchedArena>(plan.bytes);
  arena->fails = true;
  const auto outcome = load(index, plan, {}, std::move(arena));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kOutOfMemory);
}

TEST(Load, WhatAnArenaThrowsReachesTheCaller) {
  const Checkpoint& checkpoint = sizable_checkpoint("BF16");
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const Plan plan = plan_of(index, checkpoint, "auto");
  models::LoadOptions options;
  options.device.threads = 4;
  auto arena = std::make_unique<WatchedArena>(plan.bytes);
  arena->throws = true;
  EXPECT_THROW(static_cast<void>(load(index, plan, options, std::move(arena))), std::runtime_error);
}

TEST(Load, ADeviceGetsWhatTheHostWouldHave) {
  const Checkpoint& checkpoint = sizable_checkpoint("BF16");
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const auto memory = decoder::host_memory(*hearth_kernels_ref());  // stands in for a device's
  for (const auto* dtype : {"bfloat16", "int4"}) {
    const Loaded host = loaded(index, checkpoint, dtype);
    auto arena = must(device_arena(*memory, 3, host.plan.bytes));
    const auto device = must(load(index, host.plan, {}, std::move(arena)));
    EXPECT_EQ(device->decoder().device, 3);
    EXPECT_EQ(device->bytes(), host.plan.bytes);
    const auto start = [](const Weights& weights) { return weights.tensor("tower.norm").data; };
    EXPECT_EQ(std::memcmp(start(*device), start(*host.weights), host.plan.bytes), 0) << dtype;
  }
}

Error failure(const files::WeightIndex& index, const Checkpoint& checkpoint, std::string_view dtype,
              models::LoadOptions options = {}) {
  const Plan plan = plan_of(index, checkpoint, dtype);
  options.device.threads = 2;
  const auto outcome = load(index, plan, options, must(host_arena(plan.bytes)));
  return outcome ? Error{} : outcome.error();
}

TEST(Load, AFileThatGotShorterIsNamedWithItsTensor) {
  const Checkpoint checkpoint = make_checkpoint(sizable("BF16"));
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  ASSERT_EQ(::ftruncate(checkpoint.fd, 1 << 20), 0);
  const Error error = failure(index, checkpoint, "auto");
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_NE(error.what.find("model.safetensors ends at byte"), std::string::npos) << error.what;
  EXPECT_NE(error.what.find("Tensor "), std::string::npos) << error.what;
}

TEST(Load, AFileThatChangedMeanwhileIsRefused) {
  const Checkpoint checkpoint = make_checkpoint({});
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  ASSERT_EQ(::ftruncate(checkpoint.fd, ::lseek(checkpoint.fd, 0, SEEK_END) + 1), 0);
  EXPECT_EQ(failure(index, checkpoint, "auto").code, Code::kModelChanged);
}

TEST(Load, ReportsProgressThatOnlyGrowsAndEndsWithAllBytes) {
  const Checkpoint& checkpoint = sizable_checkpoint("BF16");
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  std::uint64_t last = 0, whole = 0;
  models::LoadOptions options;
  options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, last);
    last = done;
    whole = total;
  };
  EXPECT_EQ(failure(index, checkpoint, "int4", options).what, "");
  EXPECT_EQ(last, whole);
  EXPECT_EQ(whole, index.total_bytes() + index.find("embed")->nbytes);
}

TEST(Load, StopsWhenItIsCancelled) {
  const Checkpoint& checkpoint = sizable_checkpoint("BF16");
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  std::atomic<bool> cancelled{false};
  models::LoadOptions options;
  options.cancelled = &cancelled;
  std::uint64_t done_bytes = 0;
  options.on_progress = [&](std::uint64_t done, std::uint64_t) {
    cancelled = true;
    done_bytes = done;
  };
  EXPECT_EQ(failure(index, checkpoint, "auto", options).code, Code::kCancelled);
  EXPECT_LT(done_bytes, index.total_bytes());
}

TEST(Load, AWeightThatIsNotFiniteIsNamedWhereItWouldBeRounded) {
  const Checkpoint checkpoint = make_checkpoint({});
  auto index = must(files::WeightIndex::read(checkpoint.files));
  const files::WeightEntry& entry = *index.find("1.up");
  const std::uint16_t infinity = 0x7f80;
  ASSERT_EQ(::pwrite(checkpoint.fd, &infinity, 2, static_cast<off_t>(entry.offset + 10)), 2);
  index = must(files::WeightIndex::read(checkpoint.files));
  EXPECT_EQ(failure(index, checkpoint, "bfloat16").what, "");
  for (const auto* dtype : {"float8", "int8", "int4"}) {
    const Error error = failure(index, checkpoint, dtype);
    EXPECT_EQ(error.code, Code::kBadModel);
    EXPECT_NE(error.what.find("1.up in model.safetensors has weights that are not finite"),
              std::string::npos)
        << error.what;
  }
}

std::uint64_t resident_pages() {
  std::uint64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident;
}

TEST(Load, UnloadingGivesAllMemoryBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer keeps memory of its own";
#endif
  const Checkpoint& checkpoint = sizable_checkpoint("BF16");
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const auto cycle = [&] {
    const std::uint64_t before = resident_pages();
    const Loaded model = loaded(index, checkpoint, "bfloat16");
    EXPECT_GT((resident_pages() - before) * 4096, model.plan.bytes / 2);
  };
  for (int warm_up = 0; warm_up < 2; ++warm_up) cycle();
  const std::uint64_t before = resident_pages();
  for (int i = 0; i < 20; ++i) cycle();
  constexpr std::uint64_t kNoisePages = 512;  // thread stacks and the allocator's own
  EXPECT_LE(resident_pages(), before + kNoisePages);
}

}  // namespace
}  // namespace hearth::weights
