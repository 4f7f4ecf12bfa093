#include "models/decoder/step_memory.h"

#include "models/decoder/rope.h"
#include "models/kernels/formats.h"
#include "models/kernels/settings.h"

namespace hearth::decoder {
namespace {

constexpr std::size_t kRowIntegers = 6 * HEARTH_MAX_ROWS;  // slot, token, index, three positions

// Every block with its size: one list, so that the plan of bytes and the allocation cannot differ.
struct Sizes {
  std::array<std::size_t, kBuffers> buffers{};
  std::size_t slots, counts, masks, tables, frequencies, axes, attention, sample, rows, ring,
      ring_head;
  std::uint64_t recurrent;

  Sizes(const Description& description, HearthType type, const StepLimits& limits) {
    const LayerDescription& layer = description.layers.front();
    const auto slot_count = static_cast<std::size_t>(limits.slots);
    const auto vocabulary = static_cast<std::size_t>(description.vocabulary_size);
    const std::size_t half = static_cast<std::size_t>(layer.head_dim) / 2;
    for (std::size_t i = 0; i < kBuffers; ++i) {
      const auto which = static_cast<Buffer>(i);
      buffers[i] = HEARTH_MAX_ROWS * static_cast<std::size_t>(width_of(which, description)) *
                   item_bytes_of(which, type);
    }
    slots = slot_count * sizeof(HearthSlot);
    counts = slot_count * vocabulary * sizeof(std::uint16_t);
    masks = slot_count *
            static_cast<std::size_t>(kernels::mask_words(description.vocabulary_size)) *
            sizeof(std::uint32_t);
    tables = slot_count * static_cast<std::size_t>(table_stride(limits)) * sizeof(std::int32_t);
    frequencies = half * sizeof(float);
    axes = half;
    attention = hearth_attention_workspace_bytes(HEARTH_MAX_ROWS, layer.heads, layer.head_dim,
                                                 limits.context_tokens);
    sample = hearth_sample_workspace_bytes(HEARTH_MAX_ROWS, description.vocabulary_size);
    rows = kRowIntegers * sizeof(std::int32_t) + 2 * HEARTH_MAX_ROWS * half * sizeof(float);
    ring = kRingEntries * sizeof(HearthSampled);
    ring_head = sizeof(std::uint64_t);
    recurrent = RecurrentStates::bytes(description, limits.slots);
  }

  std::uint64_t sum() const {
    std::uint64_t bytes = slots + counts + masks + tables + frequencies + axes + attention +
                          sample + rows + ring + ring_head + recurrent;
    for (const std::size_t buffer : buffers) bytes += buffer;
    return bytes;
  }
};

StepRows cut_rows(const DeviceBlock& block, std::int32_t half) {
  auto* integers = block.as<std::int32_t>();
  StepRows rows{.slot = integers,
                .token = integers + HEARTH_MAX_ROWS,
                .index = integers + 2 * HEARTH_MAX_ROWS,
                .position = integers + 3 * HEARTH_MAX_ROWS};
  rows.cosines = reinterpret_cast<float*>(integers + kRowIntegers);
  rows.sines = rows.cosines + std::int64_t{HEARTH_MAX_ROWS} * half;
  return rows;
}

}  // namespace

std::int64_t table_stride(const StepLimits& limits) {
  return (limits.context_tokens + HEARTH_PAGE_TOKENS - 1) / HEARTH_PAGE_TOKENS;
}

std::uint64_t StepMemory::bytes(const Description& description, HearthType type,
                                const StepLimits& limits) {
  return Sizes(description, type, limits).sum();
}

Result<StepMemory> StepMemory::create(DeviceMemory& memory, const Description& description,
                                      HearthType type, const StepLimits& limits) {
  const Sizes sizes(description, type, limits);
  StepMemory made;
  for (std::size_t i = 0; i < kBuffers; ++i) {
    TRY(made.buffers[i], memory.allocate(sizes.buffers[i]));
  }
  TRY(made.slots, memory.allocate(sizes.slots));
  TRY(made.counts, memory.allocate(sizes.counts));
  TRY(made.masks, memory.allocate(sizes.masks));
  TRY(made.tables, memory.allocate(sizes.tables));
  TRY(made.frequencies, memory.allocate(sizes.frequencies));
  TRY(made.axes, memory.allocate(sizes.axes));
  TRY(made.attention_workspace, memory.allocate(sizes.attention));
  TRY(made.sample_workspace, memory.allocate(sizes.sample));
  TRY(made.rows_block_, memory.allocate(sizes.rows));
  TRY(made.ring, memory.allocate_shared(sizes.ring));
  TRY(made.ring_head, memory.allocate_shared(sizes.ring_head));
  TRY(made.recurrent, RecurrentStates::create(memory, description, limits.slots));
  const std::int32_t head_dim = description.layers.front().head_dim;
  made.rows = cut_rows(made.rows_block_, head_dim / 2);
  CHECK_OK(made.write_constants(memory, description));
  return made;
}

Result<void> StepMemory::write_constants(DeviceMemory& memory,
                                         const Description& description) const {
  const RopeTable table(description);
  CHECK_OK(memory.write(frequencies.data(), table.frequencies.data(), frequencies.bytes()));
  return memory.write(axes.data(), table.axes.data(), axes.bytes());
}

}  // namespace hearth::decoder
