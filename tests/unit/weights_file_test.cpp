// Rounded weights that are read back from a file: byte for byte, or not at all.
#include "models/weights/weights_file.h"

#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>
#include <map>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/weights/crc32c.h"
#include "models/weights/weights.h"
#include "tests/unit/model_files_for_test.h"
#include "tests/unit/weights_for_test.h"

namespace hearth::weights {
namespace {

using Outcome = models::WeightsFile::Outcome;

// Several blocks of 4 MiB.
const Shape kShape{.hidden = 256, .intermediate = 7000, .vocabulary = 13000};

// Arena of a loaded model that can be looked at, and that watches what arrives.
class WatchedArena : public Arena {
 public:
  explicit WatchedArena(std::uint64_t bytes) : memory_(bytes) {}
  std::byte* host() override { return memory_.data(); }
  const std::byte* address() const override { return memory_.data(); }
  int device() const override { return -1; }
  std::uint64_t bytes() const override { return memory_.size(); }
  Result<void> arrived(std::uint64_t end) override {
    EXPECT_GT(end, arrived_);
    arrived_ = end;
    return {};
  }
  std::uint64_t arrived_bytes() const { return arrived_; }

 private:
  std::vector<std::byte> memory_;
  std::uint64_t arrived_ = 0;
};

struct Kept : testing::Test {
  const Checkpoint checkpoint = make_checkpoint(kShape);
  const files::WeightIndex index = must(files::WeightIndex::read(checkpoint.files));
  std::shared_ptr<const Fd> fd = std::make_shared<const Fd>(models::memory_file(""));
  models::WeightsFile file;
  std::uint64_t most_bytes = 1 << 30, keep_free = 0;

  struct Loaded {
    Result<std::shared_ptr<const Weights>> weights;
    const WatchedArena* arena;
  };
  Loaded load_with(const Plan& plan, bool writes, const std::atomic<bool>* cancelled = nullptr) {
    file = {fd, writes, most_bytes, keep_free};
    models::LoadOptions options;
    options.device.threads = 4;
    options.weights_file = &file;
    options.cancelled = cancelled;
    auto arena = std::make_unique<WatchedArena>(plan.bytes);
    const WatchedArena* watched = arena.get();
    return {load(index, plan, options, std::move(arena)), watched};
  }
  std::uint64_t size() const {
    struct stat status {};
    EXPECT_EQ(::fstat(fd->get(), &status), 0);
    return static_cast<std::uint64_t>(status.st_size);
  }
  void flip(std::uint64_t place) const {
    char byte = 0;
    ASSERT_EQ(::pread(fd->get(), &byte, 1, static_cast<off_t>(place)), 1);
    byte = static_cast<char>(byte ^ 0x10);
    ASSERT_EQ(::pwrite(fd->get(), &byte, 1, static_cast<off_t>(place)), 1);
  }
};

TEST_F(Kept, WhatWasRoundedIsReadBackToTheByte) {
  for (const char* dtype : {"int8", "int4", "float8"}) {
    const Plan plan = plan_of(index, checkpoint, dtype);
    ASSERT_GT(plan.bytes, std::uint64_t{9} << 20);
    ASSERT_EQ(::ftruncate(fd->get(), 0), 0);
    const Loaded written = load_with(plan, true);
    ASSERT_TRUE(written.weights);
    EXPECT_EQ(file.outcome, Outcome::kWritten);
    EXPECT_EQ(file.nbytes, size());
    const Loaded read = load_with(plan, false);
    ASSERT_TRUE(read.weights) << read.weights.error().what;
    EXPECT_EQ(file.outcome, Outcome::kRead);
    EXPECT_EQ(read.arena->arrived_bytes(), plan.bytes);
    EXPECT_EQ(std::memcmp(read.arena->address(), written.arena->address(), plan.bytes), 0);
  }
}

// Files outlive the program that wrote them. Whoever changes what rounding or a layout makes must
// raise kLayoutVersion, and then these numbers.
TEST(Layout, IsTheOneOfItsVersion) {
  const Checkpoint checkpoint = make_checkpoint({});
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const std::map<std::string, std::uint32_t> crcs = {
      {"float8", 0x6ba1b88cU}, {"int4", 0xf3864812U}, {"int8", 0xdf76b4cdU}};
  EXPECT_EQ(kLayoutVersion, 1U);
  for (const auto& [dtype, crc] : crcs) {
    const Plan plan = plan_of(index, checkpoint, dtype);
    auto arena = std::make_unique<WatchedArena>(plan.bytes);
    const WatchedArena& bytes = *arena;
    const auto loaded = load(index, plan, {}, std::move(arena));
    ASSERT_TRUE(loaded) << loaded.error().what;
    EXPECT_EQ(crc32c(0, bytes.address(), plan.bytes), crc) << dtype;
  }
}

TEST_F(Kept, WhatIsNotRoundedNeedsNoFile) {
  const Loaded loaded = load_with(plan_of(index, checkpoint, "bfloat16"), true);
  EXPECT_TRUE(loaded.weights);
  EXPECT_EQ(file.outcome, Outcome::kUnused);
  EXPECT_EQ(size(), 0U);
}

TEST_F(Kept, ADamagedFileIsNotBelieved) {
  const Plan plan = plan_of(index, checkpoint, "int8");
  ASSERT_TRUE(load_with(plan, true).weights);
  const std::uint64_t whole = size();
  // Header, both ends of the data, the checksums.
  for (const std::uint64_t place : {std::uint64_t{9}, std::uint64_t{25}, std::uint64_t{4096},
                                    4096 + plan.bytes - 1, whole - 2}) {
    flip(place);
    const Loaded loaded = load_with(plan, false);
    ASSERT_FALSE(loaded.weights) << place;
    EXPECT_EQ(file.outcome, Outcome::kDamaged) << place;
    flip(place);
  }
  ASSERT_TRUE(load_with(plan, false).weights);
  for (const std::uint64_t bytes : {whole - 1, std::uint64_t{5000}, std::uint64_t{0}}) {
    ASSERT_EQ(::ftruncate(fd->get(), static_cast<off_t>(bytes)), 0);
    EXPECT_FALSE(load_with(plan, false).weights) << bytes;
    EXPECT_EQ(file.outcome, Outcome::kDamaged) << bytes;
  }
}

TEST_F(Kept, AFileOfOtherWeightsIsNotBelieved) {
  ASSERT_TRUE(load_with(plan_of(index, checkpoint, "int8"), true).weights);
  const auto kept_head =
      must(make_plan(index, {checkpoint.description, checkpoint.before, {"int8", "bfloat16"}}));
  for (const Plan& other : {plan_of(index, checkpoint, "int4"), kept_head}) {
    EXPECT_FALSE(load_with(other, false).weights);
    EXPECT_EQ(file.outcome, Outcome::kDamaged);
  }
  Shape wider = kShape;
  wider.vocabulary += 64;
  const Checkpoint another = make_checkpoint(wider);
  const auto its_index = must(files::WeightIndex::read(another.files));
  EXPECT_NE(fingerprint_of(its_index, plan_of(its_index, another, "int8")),
            fingerprint_of(index, plan_of(index, checkpoint, "int8")));
}

TEST_F(Kept, AFullDiskKeepsNothingAndTheLoadGoesOn) {
  const Plan plan = plan_of(index, checkpoint, "int8");
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {std::uint64_t{5} << 20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Loaded loaded = load_with(plan, true);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(loaded.weights);
  EXPECT_EQ(file.outcome, Outcome::kFailed);
  EXPECT_FALSE(load_with(plan, false).weights);
}

TEST_F(Kept, WhatWouldBeTooLargeIsNotBegun) {
  const Plan plan = plan_of(index, checkpoint, "int8");
  most_bytes = plan.bytes - 1;
  EXPECT_TRUE(load_with(plan, true).weights);
  EXPECT_EQ(file.outcome, Outcome::kTooLarge);
  EXPECT_EQ(file.nbytes, plan.bytes);
  EXPECT_EQ(size(), 0U);
}

TEST_F(Kept, WhatWouldLeaveTooLittleOfTheDiskIsNotBegun) {
  const Plan plan = plan_of(index, checkpoint, "int8");
  fd = std::make_shared<const Fd>(::open(::testing::TempDir().c_str(), O_TMPFILE | O_RDWR, 0600));
  ASSERT_TRUE(*fd);
  keep_free = std::uint64_t{1} << 62;
  EXPECT_TRUE(load_with(plan, true).weights);
  EXPECT_EQ(file.outcome, Outcome::kDiskFull);
  EXPECT_EQ(file.nbytes, plan.bytes);
  EXPECT_EQ(size(), 0U);
  keep_free = 0;
  EXPECT_TRUE(load_with(plan, true).weights);
  EXPECT_EQ(file.outcome, Outcome::kWritten);
}

TEST_F(Kept, ReadingCanBeCancelledAndTheFileIsNotBlamed) {
  const Plan plan = plan_of(index, checkpoint, "int8");
  ASSERT_TRUE(load_with(plan, true).weights);
  const std::atomic<bool> cancelled = true;
  const Loaded loaded = load_with(plan, false, &cancelled);
  ASSERT_FALSE(loaded.weights);
  EXPECT_EQ(loaded.weights.error().code, Code::kCancelled);
  EXPECT_EQ(file.outcome, Outcome::kUnused);
}

TEST(Crc32c, IsTheOneOfTheRfc) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const std::byte*>(text.data());
  };
  const std::string_view digits = "123456789";
  const std::string zeros(32, '\0'), ones(32, '\xff');
  for (const auto function : {crc32c, crc32c_by_table}) {
    EXPECT_EQ(function(0, bytes(digits), 9), 0xe3069283U);
    EXPECT_EQ(function(0, bytes(zeros), 32), 0x8a9136aaU);
    EXPECT_EQ(function(0, bytes(ones), 32), 0x62a8ab43U);
    EXPECT_EQ(function(function(0, bytes(digits), 4), bytes(digits) + 4, 5), 0xe3069283U);
  }
}

}  // namespace
}  // namespace hearth::weights
