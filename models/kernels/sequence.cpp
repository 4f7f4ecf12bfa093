#include "models/kernels/sequence.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace hearth::kernels {
namespace {

std::uint64_t steady_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

bool ends(const HearthSlot& slot, std::int32_t token) {
  const std::int32_t count = std::clamp<std::int32_t>(slot.end_count, 0, HEARTH_MAX_END_IDS);
  return std::find(slot.end_ids, slot.end_ids + count, token) != slot.end_ids + count;
}

}  // namespace

void begin_step(const HearthBeginStep& call) {
  for (std::int64_t row = 0; row < call.rows; ++row) {
    const std::int32_t number = call.slot[row];
    const bool running = is_running(call.slots, number);
    const HearthSlot slot = running ? call.slots[number] : HearthSlot{};
    call.token[row] = slot.token;
    call.index[row] = running ? slot.length : -1;
    for (std::int64_t axis = 0; axis < 3; ++axis)
      call.position[axis * call.rows + row] = slot.length + slot.position_delta;
  }
}

RingWriter::RingWriter(const HearthSample& call)
    : call_(call), head_(*call.ring_head), time_ns_(steady_ns()) {}

HearthSampled& RingWriter::entry(std::int64_t row, std::uint32_t flags) {
  const std::uint64_t place =
      (head_ + static_cast<std::uint64_t>(row)) % static_cast<std::uint64_t>(call_.ring_size);
  HearthSampled& entry = call_.ring[place];
  entry = {.sequence = 0,
           .slot = call_.slot[row],
           .token = -1,
           .step = 0,
           .flags = flags,
           .reserved = 0,
           .time_ns = time_ns_};
  if (entry.slot >= 0) {
    entry.sequence = call_.slots[entry.slot].sequence;
    entry.step = call_.slots[entry.slot].step;
  }
  return entry;
}

void RingWriter::drawn(std::int64_t row, std::int32_t token) {
  HearthSampled& sampled = entry(row, 0);
  HearthSlot& slot = call_.slots[sampled.slot];
  std::uint16_t& count = call_.counts[sampled.slot * call_.vocabulary + token];
  if ((count & kCountAnswered) != kCountAnswered) ++count;
  slot.token = token;
  if (call_.first == 0) ++slot.length;
  ++slot.step;
  if (ends(slot, token) || static_cast<std::int64_t>(slot.step) >= slot.most_steps)
    slot.flags |= HEARTH_SLOT_DONE;
  sampled.token = token;
  if ((slot.flags & HEARTH_SLOT_DONE) != 0) sampled.flags = HEARTH_SAMPLED_LAST;
}

void RingWriter::nothing(std::int64_t row) {
  entry(row, HEARTH_SAMPLED_NOTHING);
}

void RingWriter::not_finite(std::int64_t row) {
  call_.slots[entry(row, HEARTH_SAMPLED_NOT_FINITE | HEARTH_SAMPLED_LAST).slot].flags |=
      HEARTH_SLOT_DONE;
}

void RingWriter::publish() {
  std::atomic_ref<std::uint64_t>(*call_.ring_head)
      .store(head_ + static_cast<std::uint64_t>(call_.rows), std::memory_order_release);
}

}  // namespace hearth::kernels
