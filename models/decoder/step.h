// The step executor: one token of each running sequence through the plan, over memory that is there
// from load on.
//
// Everything that changes from step to step (tokens, lengths, positions, page tables, sampling
// parameters) is device memory at fixed addresses, moved on by the kernels themselves: on the host
// the flat list of kernel calls is run as it is, on a GPU it can be captured. A step allocates
// nothing. It also takes short runs of a prompt (feed), which is all of a prefill where there is no
// better one, and the cheapest one for a few tokens.
//
// Ownership: owns slots, page tables, key-value pages and activations; weights and device memory
// are borrowed. Engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/decoder/description.h"
#include "models/decoder/device_memory.h"
#include "models/decoder/kv_pages.h"
#include "models/decoder/plan.h"
#include "models/decoder/step_graphs.h"
#include "models/decoder/step_memory.h"
#include "models/decoder/weights.h"
#include "models/generate/decoder.h"

namespace hearth::decoder {

// The next tokens of a slot's prompt, at most HEARTH_MAX_ROWS of them.
struct Feed {
  std::int32_t slot = 0;
  std::int32_t first = 0;                   // how many tokens the slot has already
  std::span<const std::int32_t> ids;        // [count]
  std::span<const std::int32_t> positions;  // [3, count]: time, height, width
};

class Step {
 public:
  // Errors: unsupported for slots beyond HEARTH_MAX_ROWS, out_of_memory.
  static Result<std::unique_ptr<Step>> create(const Description& description,
                                              const Weights& weights, DeviceMemory& memory,
                                              StepLimits limits);
  const StepLimits& limits() const { return limits_; }
  const KvPages& pages() const { return pages_; }
  // The cache of a layer as kernels take it, with all page tables.
  HearthCache cache(std::int32_t layer) const;
  const RecurrentStates& recurrent() const { return fixed_.recurrent; }
  // cos, sin of rotary positions: what HearthRopeAngles wants. Device memory.
  const float* frequencies() const { return fixed_.frequencies.as<float>(); }
  const std::uint8_t* axes() const { return fixed_.axes.as<std::uint8_t>(); }

  // Readies a slot: page table, states, sampling, penalties' counts of the prompt; copies a shared
  // page.
  Result<void> begin(const generate::Place& place, const generate::PageCopy& copy,
                     const generate::TokenPrompt& prompt, std::int32_t position_delta);
  // As generate::Decoder::set_mask.
  Result<void> set_mask(std::int32_t slot, std::span<const std::uint32_t> mask);
  // Runs prompt tokens. The last one's hidden state waits for draw_first().
  Result<void> feed(const Feed& feed);
  // The hidden state of the prompt's last token, from the last feed() or from elsewhere on the
  // device ([hidden], arithmetic type), through the head; draws the answer's first token.
  Result<void> draw_first(std::int32_t slot, const void* hidden = nullptr);
  // One token of each of these slots. Returns before a GPU has computed it.
  Result<void> run(std::span<const std::int32_t> slots);
  // Captures and proves graphs of all buckets of rows and context, where the device has any; while
  // all slots are free. What could not be proved is launched kernel by kernel, and said in remarks.
  Result<void> capture_graphs();
  std::vector<std::string> remarks() const;
  // While all slots are free, after the device's memory has left and come back (evictable.h):
  // writes what a step reads and no weight is. Keys and values are gone.
  Result<void> restore();
  // As generate::Decoder::collect.
  Result<std::span<const generate::Sampled>> collect(std::int32_t in_flight);
  void end(std::int32_t slot) noexcept;

  // As the same of generate::Decoder. Rows of the last run(), or row 0 of the last draw_first().
  Result<void> read_logits(std::int32_t row, std::span<float> logits);
  Result<void> fork(std::int32_t from, const generate::Place& to, const generate::PageCopy& copy);
  Result<void> choose(std::int32_t slot, std::int32_t token);
  // For tests: read_logits() in a vector.
  Result<std::vector<float>> logits(std::int32_t row);

 private:
  struct Slot {
    std::int32_t length = -1;   // tokens in the cache once all launched steps are done; -1: free
    std::int32_t last_row = 0;  // of the last feed()
  };

  Step(const Description& description, const Weights& weights, DeviceMemory& memory,
       StepLimits limits);
  Result<void> write_table(const generate::Place& place);
  Result<void> write_sampling(const generate::Place& place, const generate::TokenPrompt& prompt,
                              std::int32_t position_delta);
  Result<void> write_counts(std::int32_t slot, const generate::TokenPrompt& prompt);
  Result<void> launch_step(const StepBucket& bucket);
  // Rows that are launched together: no row has more tokens than most_tokens. Of one slot they are
  // its next tokens, in order; else each row has a slot of its own.
  struct Extent {
    std::int64_t rows = 0;
    std::int64_t most_tokens = 0;
    bool one_slot = false;
  };
  Result<void> launch_layers(const Extent& extent);
  HearthStatus launch(const Op& op, const Extent& extent) const;
  HearthStatus embed(std::int64_t rows) const;
  // Stores in the arithmetic type; where from and where to is left open.
  HearthLinear linear_call(const Linear& linear, const float* norm, std::int64_t rows) const;
  HearthStatus linear(const Op& op, HearthEpilogue epilogue, std::int64_t rows) const;
  HearthStatus route(const Op& op, std::int64_t rows) const;
  HearthStatus expert_linear(const Op& op, std::int64_t rows) const;
  HearthStatus combine(const Op& op, std::int64_t rows) const;
  HearthStatus rope_write(const Op& op, std::int64_t rows) const;
  HearthStatus attention(const Op& op, std::int64_t rows, std::int64_t most_tokens) const;
  HearthStatus gate(const Op& op, std::int64_t rows) const;
  template <class Run>
  HearthStatus in_order(const Extent& extent, const Run& run) const;
  HearthStatus convolve(const Op& op, std::int64_t first, std::int64_t rows) const;
  HearthStatus delta_rule(const Op& op, std::int64_t first, std::int64_t rows) const;
  Result<void> draw(std::int64_t rows, const void* hidden, bool first);
  void expect(std::int64_t rows);
  std::uint64_t written_entries() const;
  Result<void> wait_for(std::uint64_t entries);
  void* at(Buffer which, std::int64_t row, std::int64_t column = 0) const;
  std::int64_t width(Buffer which) const { return widths_[static_cast<std::size_t>(which)]; }

  const Description& description_;
  const Weights& weights_;
  DeviceMemory& memory_;
  const HearthKernels& kernels_;
  const StepLimits limits_;
  const std::vector<Op> plan_;
  const Widths widths_;

  KvPages pages_;
  StepMemory fixed_;
  std::unique_ptr<StepGraphs> graphs_;  // null where nothing can be captured
  std::vector<Slot> host_slots_;
  std::uint64_t drawn_ = 0;              // ring entries that launched steps write in all
  std::uint64_t collected_ = 0;          // of these, read
  std::vector<std::uint64_t> launched_;  // steps not collected yet: drawn_ after each
  std::vector<generate::Sampled> sampled_;
  std::vector<std::int32_t> scratch_table_;    // one slot's page table on its way to the device
  std::vector<std::uint16_t> scratch_counts_;  // likewise
};

}  // namespace hearth::decoder
