#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "shm/out_arena.h"
#include "shm/tensor.h"

namespace hearth {
namespace {

constexpr std::uint64_t kBytes = std::uint64_t{1} << 20;

std::unique_ptr<OutArena> make_arena(std::uint64_t nbytes = kBytes) {
  auto arena = OutArena::create(7, nbytes);
  EXPECT_TRUE(arena) << arena.error().what;
  return *std::move(arena);
}

// Fills the slot with `value` and gives its place.
SealedSlot write(WriteSlot slot, std::uint8_t value) {
  std::memset(slot.bytes().data(), value, slot.bytes().size());
  return std::move(slot).seal();
}

TEST(OutArena, GivesAReaderWhatWasWritten) {
  const auto arena = make_arena();
  const Fd fd = arena->take_fd();
  const SealedSlot sealed = write(*arena->acquire(100), 42);
  EXPECT_EQ(sealed.arena, 7U);
  EXPECT_EQ(sealed.nbytes, 100U);
  const auto reader = Mapping::map(fd, kBytes, Access::kReadOnly);
  ASSERT_TRUE(reader) << reader.error().what;
  for (const std::byte byte : reader->bytes().subspan(sealed.offset, sealed.nbytes))
    ASSERT_EQ(byte, std::byte{42});
}

TEST(OutArena, PlacesSlotsWhereDescriptorsMayPoint) {
  const auto arena = make_arena();
  for (const std::uint64_t nbytes : {1, 63, 64, 65, 4095, 4096, 4097, 100'000}) {
    const SealedSlot slot = write(*arena->acquire(nbytes), 1);
    contract::Tensor tensor;
    tensor.offset = slot.offset;
    tensor.nbytes = slot.nbytes;
    tensor.dtype = "u8";
    tensor.shape = {static_cast<std::int64_t>(nbytes)};
    EXPECT_TRUE(check_descriptor(tensor, arena->nbytes())) << nbytes;
    EXPECT_EQ(slot.offset % (nbytes >= 4096 ? 4096 : 64), 0U) << nbytes;
  }
  EXPECT_TRUE(arena->is_sane());
}

TEST(OutArena, ADroppedSlotGoesBackAndASealedOneStays) {
  const auto arena = make_arena();
  { const auto dropped = arena->acquire(5000); }
  EXPECT_TRUE(arena->empty());
  EXPECT_TRUE(arena->all_memory_is_free());
  const SealedSlot sealed = write(*arena->acquire(5000), 1);
  EXPECT_EQ(arena->slots(), 1U);
  EXPECT_EQ(arena->live_bytes(), 5000U);
  EXPECT_FALSE(arena->all_memory_is_free());
  EXPECT_TRUE(arena->release(sealed.offset));
  EXPECT_TRUE(arena->all_memory_is_free());
}

TEST(OutArena, AssigningASlotGivesTheOldOneBack) {
  const auto arena = make_arena();
  WriteSlot slot = *arena->acquire(100);
  slot = *arena->acquire(200);
  EXPECT_EQ(arena->live_bytes(), 200U);
  WriteSlot moved = std::move(slot);
  EXPECT_EQ(moved.bytes().size(), 200U);
  EXPECT_EQ(arena->slots(), 1U);
}

TEST(OutArena, NoticesAReleaseTwiceAndOfWhatIsNoSlot) {
  const auto arena = make_arena();
  const SealedSlot first = write(*arena->acquire(9000), 1);
  const SealedSlot second = write(*arena->acquire(9000), 2);
  EXPECT_TRUE(arena->release(first.offset));
  for (const std::uint64_t offset : {first.offset, second.offset + 64, std::uint64_t{0},
                                     std::uint64_t{4096}, kBytes, ~std::uint64_t{0}}) {
    EXPECT_FALSE(arena->release(offset)) << offset;
  }
  EXPECT_EQ(arena->slots(), 1U);
  EXPECT_EQ(arena->live_bytes(), 9000U);
  EXPECT_TRUE(arena->is_sane());
  EXPECT_TRUE(arena->release(second.offset));
}

TEST(OutArena, RefusesWhatDoesNotFitAndRecovers) {
  const auto arena = make_arena();
  for (const std::uint64_t nbytes : {std::uint64_t{0}, kBytes, kBytes - 4096, ~std::uint64_t{0}})
    EXPECT_FALSE(arena->acquire(nbytes)) << nbytes;
  std::vector<SealedSlot> slots;
  while (auto slot = arena->acquire(64 * 1024)) slots.push_back(write(*std::move(slot), 3));
  EXPECT_GE(slots.size(), 14U);
  EXPECT_FALSE(arena->acquire(64 * 1024));
  EXPECT_TRUE(arena->acquire(64)) << "small ones fit beside";
  EXPECT_TRUE(arena->release(slots.back().offset));
  EXPECT_TRUE(arena->acquire(64 * 1024));
  EXPECT_TRUE(arena->is_sane());
}

TEST(OutArena, MendsFragmentsWhenTheirNeighboursGoBack) {
  const auto arena = make_arena();
  std::vector<SealedSlot> slots;
  while (auto slot = arena->acquire(32 * 1024)) slots.push_back(write(*std::move(slot), 3));
  for (std::size_t at = 0; at < slots.size(); at += 2)
    ASSERT_TRUE(arena->release(slots[at].offset));
  EXPECT_FALSE(arena->acquire(128 * 1024)) << "half is free, but nowhere so much at once";
  for (std::size_t at = 1; at < slots.size(); at += 2)
    ASSERT_TRUE(arena->release(slots[at].offset));
  EXPECT_TRUE(arena->all_memory_is_free());
  EXPECT_TRUE(arena->acquire(kBytes - 32 * 1024));
}

TEST(OutArena, BytesForAResultAreEnoughForIt) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::uint64_t> sizes(1 + random() % 64);
    for (std::uint64_t& nbytes : sizes) nbytes = random() % (random() % 8 == 0 ? 300'000 : 9000);
    const auto arena = make_arena(OutArena::bytes_for(sizes));
    std::vector<WriteSlot> slots;
    for (const std::uint64_t nbytes : sizes) {
      if (nbytes == 0) continue;
      auto slot = arena->acquire(nbytes);
      ASSERT_TRUE(slot) << "round " << round << ": slot " << slots.size() << " of " << nbytes;
      slots.push_back(*std::move(slot));
    }
  }
}

TEST(OutArena, RefusesASegmentWithoutRoomForBookkeeping) {
  EXPECT_FALSE(OutArena::create(1, 0));
  EXPECT_FALSE(OutArena::create(1, 4096));
  const auto smallest = make_arena(8192);
  EXPECT_TRUE(smallest->acquire(64));
}

// Every live slot keeps its own value; none overlaps another or the reserved first page.
TEST(OutArena, SurvivesAHundredThousandRandomSteps) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto arena = make_arena(4 * kBytes);
  std::map<std::uint64_t, std::uint64_t> model;  // offset to bytes
  std::uint64_t live_bytes = 0;
  const auto value_of = [](std::uint64_t offset) { return static_cast<std::uint8_t>(offset >> 6); };
  const auto is_whole = [&](std::uint64_t offset, std::uint64_t nbytes) {
    const auto bytes = arena->mapped().subspan(offset, nbytes);
    const auto value = std::byte{value_of(offset)};
    return bytes.front() == value && bytes.back() == value && bytes[nbytes / 2] == value;
  };
  int refused = 0;
  for (int step = 0; step < 100'000; ++step) {
    // It fills for a thousand steps, then drains for as many.
    const unsigned releases_of_four = step / 1000 % 2 == 0 ? 1 : 3;
    if (random() % 4 < releases_of_four && !model.empty()) {
      auto victim = model.lower_bound(random() % arena->nbytes());
      if (victim == model.end()) victim = model.begin();
      const auto [offset, nbytes] = *victim;
      ASSERT_TRUE(is_whole(offset, nbytes)) << "step " << step;
      ASSERT_TRUE(arena->release(offset));
      ASSERT_FALSE(arena->release(offset));
      live_bytes -= nbytes;
      model.erase(victim);
    } else {
      const std::uint64_t nbytes = 1 + random() % (random() % 4 == 0 ? 200'000 : 8000);
      auto slot = arena->acquire(nbytes);
      if (!slot) {
        ++refused;
        continue;
      }
      const auto offset = static_cast<std::uint64_t>(slot->bytes().data() - arena->mapped().data());
      ASSERT_EQ(write(*std::move(slot), value_of(offset)).offset, offset);
      ASSERT_GE(offset, kArenaHeaderBytes);
      const auto after = model.lower_bound(offset);
      ASSERT_TRUE(after == model.end() || offset + nbytes <= after->first);
      ASSERT_TRUE(after == model.begin() ||
                  std::prev(after)->first + std::prev(after)->second <= offset);
      model.emplace(offset, nbytes);
      live_bytes += nbytes;
    }
    ASSERT_EQ(arena->slots(), model.size());
    ASSERT_EQ(arena->live_bytes(), live_bytes);
    ASSERT_TRUE(step % 5000 != 0 || arena->is_sane());
  }
  EXPECT_GT(refused, 0) << "the arena was never full";
  for (const auto& [offset, nbytes] : model) {
    EXPECT_TRUE(is_whole(offset, nbytes));
    EXPECT_TRUE(arena->release(offset));
  }
  EXPECT_TRUE(arena->is_sane());
  EXPECT_TRUE(arena->all_memory_is_free());
  OutHeader header;
  std::memcpy(&header, arena->mapped().data(), sizeof(header));
  EXPECT_EQ(header.magic, OutHeader::kMagic);
}

}  // namespace
}  // namespace hearth
