// How a step begins from its slots, and what a drawn token does: slots move on, the ring fills in
// order, ends are seen.

#include <cmath>

#include "tests/unit/kernels_sample_for_test.h"

namespace hearth::kernels {
namespace {

std::vector<Implementation> with_the_plain_loops() {
  std::vector<Implementation> all = implementations_under_test();
  all.insert(all.begin(), {"ref", hearth_kernels_ref()});
  return all;
}

class Ring : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Tables, Ring, testing::ValuesIn(with_the_plain_loops()),
                         implementation_name);

// Greedy rows whose largest logit is at `id`.
Sampling saying(std::int32_t id) {
  Sampling sampling;
  sampling.logits.assign(70, 0.0F);
  sampling.logits[static_cast<std::size_t>(id)] = 1.0F;
  return sampling;
}

TEST_P(Ring, BeginStepReadsRunningSlotsAndSkipsTheOthers) {
  const auto use = GetParam().use();
  HostMemory memory;
  std::vector<HearthSlot> slots(3);
  slots[0].token = 5;
  slots[0].length = 40;
  slots[0].position_delta = -30;
  slots[1] = slots[0];
  slots[1].flags = HEARTH_SLOT_DONE;
  slots[2].token = 9;
  slots[2].length = 1;
  const std::vector<std::int32_t> rows = {2, 1, 0, -1};
  const HearthBeginStep call{.rows = 4,
                             .slot = memory.copy(rows),
                             .slots = memory.copy(slots),
                             .token = static_cast<std::int32_t*>(memory.allocate(16)),
                             .index = static_cast<std::int32_t*>(memory.allocate(16)),
                             .position = static_cast<std::int32_t*>(memory.allocate(48))};
  ASSERT_EQ(GetParam().table->begin_step(&call, memory.stream()), HEARTH_OK);
  memory.wait();
  EXPECT_EQ(call.token[0], 9);
  EXPECT_EQ(call.token[2], 5);
  EXPECT_EQ(std::vector<std::int32_t>(call.index, call.index + 4),
            (std::vector<std::int32_t>{1, -1, 40, -1}));
  for (const int axis : {0, 1, 2}) {
    EXPECT_EQ(call.position[axis * 4], 1);
    EXPECT_EQ(call.position[axis * 4 + 2], 10);
  }
}

TEST_P(Ring, ATokenMovesItsSlotOnAndIsCounted) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampling sampling = saying(33);
  sampling.prompt = {33};
  Sampled sampled(memory, {sampling});
  const HearthSampled entry = sampled.run(GetParam(), memory).at(0);
  EXPECT_EQ(entry.sequence, 100U);
  EXPECT_EQ(entry.slot, 0);
  EXPECT_EQ(entry.token, 33);
  EXPECT_EQ(entry.step, 2U);
  EXPECT_EQ(entry.flags, 0U);
  const HearthSlot& slot = sampled.call.slots[0];
  EXPECT_EQ(slot.token, 33);
  EXPECT_EQ(slot.length, 11);
  EXPECT_EQ(slot.step, 3U);
  EXPECT_EQ(slot.flags, 0U);
  EXPECT_EQ(sampled.call.counts[33], 0x8001);
  EXPECT_EQ(sampled.call.counts[32], 0);
}

TEST_P(Ring, AfterAPromptTheLengthStays) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampled sampled(memory, {saying(1)});
  sampled.call.first = 1;
  sampled.run(GetParam(), memory);
  EXPECT_EQ(sampled.call.slots[0].length, 10);
  EXPECT_EQ(sampled.call.slots[0].step, 3U);
}

TEST_P(Ring, EndIdsAndTheLastStepMakeASlotDoneAndLaterStepsSkipIt) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampling ending = saying(5), last = saying(6), going_on = saying(7);
  ending.slot.end_ids[0] = 9;
  ending.slot.end_ids[1] = 5;
  ending.slot.end_count = 2;
  last.slot.most_steps = 3;
  going_on.slot.end_ids[0] = 7;  // end_count is 0
  Sampled sampled(memory, {ending, last, going_on});
  auto entries = sampled.run(GetParam(), memory);
  EXPECT_EQ(entries[0].flags, HEARTH_SAMPLED_LAST);
  EXPECT_EQ(entries[0].token, 5) << "the end id itself is handed on";
  EXPECT_EQ(entries[1].flags, HEARTH_SAMPLED_LAST);
  EXPECT_EQ(entries[2].flags, 0U);
  const HearthSlot before = sampled.call.slots[0];
  entries = sampled.run(GetParam(), memory);
  EXPECT_EQ(entries[0].flags, HEARTH_SAMPLED_NOTHING);
  EXPECT_EQ(entries[0].slot, 0);
  EXPECT_EQ(entries[1].flags, HEARTH_SAMPLED_NOTHING);
  EXPECT_EQ(entries[2].token, 7);
  EXPECT_EQ(entries[2].step, 3U);
  EXPECT_EQ(sampled.call.slots[0].length, before.length);
  EXPECT_EQ(sampled.call.slots[0].step, before.step);
  EXPECT_EQ(sampled.call.counts[5], 1);
}

TEST_P(Ring, WrapsAroundInOrderOfTheRows) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampled sampled(memory, {saying(10), saying(11), saying(12)});
  ASSERT_EQ(sampled.call.ring_size, 4);
  *sampled.call.ring_head = 2;
  for (std::uint32_t step = 2; step < 6; ++step) {
    const auto entries = sampled.run(GetParam(), memory);
    for (std::size_t row = 0; row < 3; ++row) {
      EXPECT_EQ(entries[row].token, 10 + static_cast<std::int32_t>(row));
      EXPECT_EQ(entries[row].slot, static_cast<std::int32_t>(row));
      EXPECT_EQ(entries[row].step, step);
    }
  }
}

TEST_P(Ring, ALogitThatIsNoNumberEndsItsRowOnly) {
  const auto use = GetParam().use();
  for (const std::int32_t at : {0, 15, 63, 64, 69}) {
    for (const float bad : {INFINITY, -INFINITY, std::nanf("")}) {
      for (const float temperature : {0.0F, 1.0F}) {
        SCOPED_TRACE(testing::Message() << bad << " at " << at << ", temperature " << temperature);
        HostMemory memory;
        Sampling broken = saying(20);
        broken.logits[static_cast<std::size_t>(at)] = bad;
        broken.slot.temperature = temperature;
        Sampled sampled(memory, {broken, saying(21)});
        const auto entries = sampled.run(GetParam(), memory);
        EXPECT_TRUE(entries[0].flags & HEARTH_SAMPLED_NOT_FINITE);
        EXPECT_TRUE(sampled.call.slots[0].flags & HEARTH_SLOT_DONE);
        EXPECT_EQ(sampled.call.slots[0].token, 3) << "no token was drawn";
        EXPECT_EQ(sampled.call.slots[0].step, 2U);
        EXPECT_EQ(entries[1].token, 21);
        EXPECT_EQ(entries[1].flags, 0U);
      }
    }
  }
}

TEST_P(Ring, TheLargestFiniteNumbersAreNumbers) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampling sampling = saying(0);
  sampling.logits.assign(70, -3e38F);
  sampling.logits[50] = 3e38F;
  EXPECT_EQ(Sampled(memory, {sampling}).run(GetParam(), memory).at(0).token, 50);
}

// The same settings give the same words at any row, in any slot, beside any others.
TEST_P(Ring, ADrawDependsOnItsSlotAlone) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampling sampling;
  sampling.logits = normal_numbers(3000, 8);
  sampling.slot.temperature = 1.0F;
  sampling.slot.top_p = 0.9F;
  sampling.slot.seed = 77;
  const std::int32_t alone = Sampled(memory, {sampling}).run(GetParam(), memory).at(0).token;
  std::vector<Sampling> rows;
  for (std::uint64_t seed = 0; seed < 15; ++seed) {
    rows.push_back(sampling);
    rows.back().slot.seed = seed;
    rows.back().slot.top_k = static_cast<std::int32_t>(10 * seed);
  }
  rows.insert(rows.begin() + 9, sampling);
  EXPECT_EQ(Sampled(memory, rows).run(GetParam(), memory).at(9).token, alone);
}

TEST_P(Ring, ACountStopsAtItsLimit) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampled sampled(memory, {saying(4)});
  sampled.call.counts[4] = 0xFFFF;
  sampled.run(GetParam(), memory);
  EXPECT_EQ(sampled.call.counts[4], 0xFFFF);
}

}  // namespace
}  // namespace hearth::kernels
