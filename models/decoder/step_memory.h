// The fixed memory of a step executor: activations, slots, page tables, ring of sampled tokens.
//
// Made once at load, at addresses that never change. Engine thread only.
#pragma once

#include <array>
#include <cstdint>

#include "models/decoder/description.h"
#include "models/decoder/device_memory.h"
#include "models/decoder/plan.h"
#include "models/decoder/recurrent_states.h"

namespace hearth::decoder {

struct StepLimits {
  std::int32_t slots = 1;  // at most HEARTH_MAX_ROWS
  std::int32_t context_tokens = 0;
  std::int32_t pages = 0;
};

inline constexpr std::int64_t kRingEntries = 1024;

// A step's rows.
struct StepRows {
  std::int32_t* slot = nullptr;      // [HEARTH_MAX_ROWS]
  std::int32_t* token = nullptr;     // [HEARTH_MAX_ROWS]
  std::int32_t* index = nullptr;     // [HEARTH_MAX_ROWS]
  std::int32_t* position = nullptr;  // [3, rows]
  float* cosines = nullptr;          // [HEARTH_MAX_ROWS, head_dim / 2]
  float* sines = nullptr;
};

struct StepMemory {
  // Errors: out_of_memory.
  static Result<StepMemory> create(DeviceMemory& memory, const Description& description,
                                   HearthType type, const StepLimits& limits);
  // Writes what never changes, as create() did.
  Result<void> write_constants(DeviceMemory& memory, const Description& description) const;
  // Bytes of all of it.
  static std::uint64_t bytes(const Description& description, HearthType type,
                             const StepLimits& limits);

  void* buffer(Buffer which) const { return buffers[static_cast<std::size_t>(which)].data(); }

  std::array<DeviceBlock, kBuffers> buffers;  // [HEARTH_MAX_ROWS, width]
  DeviceBlock slots;                          // HearthSlot [slots]
  DeviceBlock counts;                         // u16 [slots, vocabulary]
  DeviceBlock masks;                          // u32 [slots, (vocabulary + 31) / 32]
  DeviceBlock tables;                         // i32 [slots, pages of the longest context]
  DeviceBlock frequencies;                    // f32 [head_dim / 2]
  DeviceBlock axes;                           // u8 [head_dim / 2]
  DeviceBlock attention_workspace;
  DeviceBlock sample_workspace;
  DeviceBlock ring;       // HearthSampled [kRingEntries], shared with the host
  DeviceBlock ring_head;  // u64, likewise
  StepRows rows;
  RecurrentStates recurrent;  // of the slots

 private:
  DeviceBlock rows_block_;
};

// Pages of the longest context: the width of a page table.
std::int64_t table_stride(const StepLimits& limits);

}  // namespace hearth::decoder
