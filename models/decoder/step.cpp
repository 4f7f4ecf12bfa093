#include "models/decoder/step.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>

#include <fmt/format.h>

#include "models/decoder/step_rehearsal.h"
#include "models/kernels/formats.h"
#include "models/kernels/settings.h"

namespace hearth::decoder {
namespace {

constexpr std::size_t kAxes = 3;
constexpr std::uint16_t kInPrompt = 0x8000;  // of HearthSample::counts

}  // namespace

Step::Step(const Description& description, const Weights& weights, DeviceMemory& memory,
           StepLimits limits)
    : description_(description),
      weights_(weights),
      memory_(memory),
      kernels_(memory.kernels()),
      limits_(limits),
      plan_(build_plan(description, weights)),
      widths_(widths_of(description)),
      host_slots_(static_cast<std::size_t>(limits.slots)),
      scratch_table_(static_cast<std::size_t>(table_stride(limits))),
      scratch_counts_(static_cast<std::size_t>(description.vocabulary_size)) {
  sampled_.reserve(kRingEntries);
  launched_.reserve(kRingEntries);
}

Result<std::unique_ptr<Step>> Step::create(const Description& description, const Weights& weights,
                                           DeviceMemory& memory, StepLimits limits) {
  if (limits.slots < 1 || limits.slots > HEARTH_MAX_ROWS)
    return fail(Code::kUnsupported,
                fmt::format("{} sequence slots: a step takes 1 to {} rows", limits.slots,
                            static_cast<int>(HEARTH_MAX_ROWS)),
                "Start hearth with fewer --slots.");
  std::unique_ptr<Step> step(new Step(description, weights, memory, limits));
  TRY(step->pages_, KvPages::create(memory, description, weights.type, limits.pages));
  TRY(step->fixed_, StepMemory::create(memory, description, weights.type, limits));
  return step;
}

HearthCache Step::cache(std::int32_t layer) const {
  const LayerDescription& shape = description_.layers.front();
  return {.type = weights_.type,
          .pages = pages_.layer(layer),
          .table = fixed_.tables.as<std::int32_t>(),
          .table_stride = table_stride(limits_),
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim};
}

Result<void> Step::begin(const generate::Place& place, const generate::PageCopy& copy,
                         const generate::TokenPrompt& prompt, std::int32_t position_delta) {
  Slot& slot = host_slots_[static_cast<std::size_t>(place.slot)];
  if (slot.length >= 0) return fail(Code::kInternal, fmt::format("slot {} is taken", place.slot));
  if (place.pages.size() > scratch_table_.size())
    return fail(Code::kInternal, fmt::format("{} pages for a context of {}", place.pages.size(),
                                             scratch_table_.size()));
  CHECK_OK(write_table(place));
  if (copy.tokens > 0) CHECK_OK(pages_.copy(copy));
  CHECK_OK(fixed_.recurrent.clear(place.slot));
  CHECK_OK(write_sampling(place, prompt, position_delta));
  CHECK_OK(write_counts(place.slot, prompt));
  slot = {.length = static_cast<std::int32_t>(prompt.ids.size()), .last_row = 0};
  return {};
}

Result<void> Step::write_sampling(const generate::Place& place, const generate::TokenPrompt& prompt,
                                  std::int32_t position_delta) {
  const generate::Sampling& sampling = prompt.sampling;
  HearthSlot slot{};
  slot.length = static_cast<std::int32_t>(prompt.ids.size());
  slot.position_delta = position_delta;
  slot.most_steps = sampling.max_tokens;
  slot.seed = sampling.seed;
  slot.answer_index = place.answer;
  slot.sequence = place.sequence;
  slot.temperature = static_cast<float>(sampling.temperature);
  slot.top_p = static_cast<float>(sampling.top_p);
  slot.min_p = static_cast<float>(sampling.min_p);
  slot.repetition_penalty = static_cast<float>(sampling.repetition_penalty);
  slot.presence_penalty = static_cast<float>(sampling.presence_penalty);
  slot.frequency_penalty = static_cast<float>(sampling.frequency_penalty);
  slot.typical_p = static_cast<float>(sampling.typical_p);
  slot.top_k = sampling.top_k;
  // Further end ids are left to the host, which looks at every token anyway.
  slot.end_count =
      static_cast<std::int32_t>(std::min<std::size_t>(prompt.end_ids.size(), HEARTH_MAX_END_IDS));
  std::copy_n(prompt.end_ids.begin(), slot.end_count, slot.end_ids);
  return memory_.write(fixed_.slots.as<HearthSlot>() + place.slot, &slot, sizeof slot);
}

Result<void> Step::write_counts(std::int32_t slot, const generate::TokenPrompt& prompt) {
  std::fill(scratch_counts_.begin(), scratch_counts_.end(), std::uint16_t{0});
  for (const std::int32_t id : prompt.ids)
    if (id >= 0 && id < description_.vocabulary_size)
      scratch_counts_[static_cast<std::size_t>(id)] = kInPrompt;
  return memory_.write(
      fixed_.counts.as<std::uint16_t>() + static_cast<std::size_t>(slot) * scratch_counts_.size(),
      scratch_counts_.data(), scratch_counts_.size() * sizeof(std::uint16_t));
}

Result<void> Step::set_mask(std::int32_t slot, std::span<const std::uint32_t> mask) {
  const auto words = static_cast<std::size_t>(kernels::mask_words(description_.vocabulary_size));
  if (!mask.empty() && mask.size() != words)
    return fail(Code::kInternal, fmt::format("a mask of {} words for {}", mask.size(), words));
  const std::uint32_t masked = mask.empty() ? 0 : 1;
  CHECK_OK(memory_.write(fixed_.masks.as<std::uint32_t>() + static_cast<std::size_t>(slot) * words,
                         mask.data(), mask.size_bytes()));
  return memory_.write(&(fixed_.slots.as<HearthSlot>() + slot)->masked, &masked, sizeof masked);
}

Result<void> Step::feed(const Feed& feed) {
  const auto rows = static_cast<std::int64_t>(feed.ids.size());
  assert(rows >= 1 && rows <= HEARTH_MAX_ROWS && feed.positions.size() == 3 * feed.ids.size());
  std::array<std::int32_t, HEARTH_MAX_ROWS> slot;
  std::array<std::int32_t, HEARTH_MAX_ROWS> index;
  for (std::size_t i = 0; i < feed.ids.size(); ++i) {
    slot[i] = feed.slot;
    index[i] = feed.first + static_cast<std::int32_t>(i);
  }
  const std::size_t bytes = feed.ids.size() * sizeof(std::int32_t);
  CHECK_OK(memory_.write(fixed_.rows.slot, slot.data(), bytes));
  CHECK_OK(memory_.write(fixed_.rows.index, index.data(), bytes));
  CHECK_OK(memory_.write(fixed_.rows.token, feed.ids.data(), bytes));
  CHECK_OK(memory_.write(fixed_.rows.position, feed.positions.data(), kAxes * bytes));
  host_slots_[static_cast<std::size_t>(feed.slot)].last_row = static_cast<std::int32_t>(rows - 1);
  return launch_layers({.rows = rows, .most_tokens = feed.first + rows, .one_slot = true});
}

Result<void> Step::run(std::span<const std::int32_t> slots) {
  assert(!slots.empty() && slots.size() <= host_slots_.size());
  std::int32_t most_tokens = 0;
  for (const std::int32_t index : slots) {
    Slot& slot = host_slots_[static_cast<std::size_t>(index)];
    if (slot.length >= limits_.context_tokens)
      return fail(Code::kTooLong,
                  fmt::format("token {} of a context of {}", slot.length, limits_.context_tokens));
    most_tokens = std::max(most_tokens, ++slot.length);
  }
  const auto rows = static_cast<std::int32_t>(slots.size());
  const StepBucket bucket =
      graphs_ == nullptr ? StepBucket{rows, most_tokens} : graphs_->bucket(rows, most_tokens);
  std::array<std::int32_t, HEARTH_MAX_ROWS> padded;
  padded.fill(-1);
  std::copy(slots.begin(), slots.end(), padded.begin());
  CHECK_OK(memory_.write(fixed_.rows.slot, padded.data(), sizeof padded));
  bool launched = false;
  if (graphs_ != nullptr) {
    CHECK_OK(memory_.await_all());  // nothing in a graph waits
    TRY(launched, graphs_->launch(bucket));
  }
  if (!launched) CHECK_OK(launch_step(bucket));
  expect(bucket.rows);
  return {};
}

// What a graph holds: nothing in it depends on the step at hand but through device memory.
Result<void> Step::launch_step(const StepBucket& bucket) {
  const HearthBeginStep begin{.rows = bucket.rows,
                              .slot = fixed_.rows.slot,
                              .slots = fixed_.slots.as<HearthSlot>(),
                              .token = fixed_.rows.token,
                              .index = fixed_.rows.index,
                              .position = fixed_.rows.position};
  CHECK_OK(check_status(kernels_.begin_step(&begin, memory_.stream()), "begin_step"));
  CHECK_OK(launch_layers({.rows = bucket.rows, .most_tokens = bucket.most_tokens}));
  return draw(bucket.rows, fixed_.buffer(Buffer::kHidden), false);
}

Result<void> Step::capture_graphs() {
  GraphCapture* capture = memory_.capture();
  if (capture == nullptr) return {};
  auto graphs = std::make_unique<StepGraphs>(*capture, limits_.slots, limits_.context_tokens);
  StepRehearsal rehearsal(memory_, fixed_, description_, limits_,
                          [this](const StepBucket& bucket) { return launch_step(bucket); });
  CHECK_OK(graphs->capture_all(rehearsal));
  CHECK_OK(rehearsal.finish());
  drawn_ = collected_ = 0;  // the ring begins anew
  launched_.clear();
  graphs_ = std::move(graphs);
  return {};
}

std::vector<std::string> Step::remarks() const {
  return graphs_ == nullptr ? std::vector<std::string>() : graphs_->remarks();
}

Result<void> Step::restore() {
  return fixed_.write_constants(memory_, description_);
}

void Step::expect(std::int64_t rows) {
  drawn_ += static_cast<std::uint64_t>(rows);
  launched_.push_back(drawn_);
}

Result<void> Step::launch_layers(const Extent& extent) {
  const HearthRopeAngles angles{.rows = extent.rows,
                                .half = description_.layers.front().head_dim / 2,
                                .position = fixed_.rows.position,
                                .frequency = frequencies(),
                                .axis = axes(),
                                .cosines = fixed_.rows.cosines,
                                .sines = fixed_.rows.sines};
  CHECK_OK(check_status(kernels_.rope_angles(&angles, memory_.stream()), "rope_angles"));
  for (const Op& op : plan_) {
    CHECK_OK(memory_.await(weights_of(op, weights_)));
    CHECK_OK(check_status(launch(op, extent), "a decode step"));
  }
  return {};
}

Result<void> Step::draw_first(std::int32_t slot, const void* hidden) {
  const std::int32_t row = host_slots_[static_cast<std::size_t>(slot)].last_row;
  const std::size_t row_bytes =
      static_cast<std::size_t>(description_.hidden_size) * kernels::item_bytes(weights_.type);
  if (hidden == nullptr)
    hidden = static_cast<const std::byte*>(fixed_.buffer(Buffer::kHidden)) +
             static_cast<std::size_t>(row) * row_bytes;
  CHECK_OK(memory_.write(fixed_.rows.slot, &slot, sizeof slot));
  CHECK_OK(draw(1, hidden, true));
  expect(1);
  return {};
}

// The head over rows of hidden states, then one token of each.
Result<void> Step::draw(std::int64_t rows, const void* hidden, bool first) {
  HearthLinear head = linear_call(weights_.head, weights_.final_norm, rows);
  head.output_type = HEARTH_F32;
  head.input = hidden;
  head.input_stride = description_.hidden_size;
  head.output = fixed_.buffer(Buffer::kLogits);
  head.output_stride = description_.vocabulary_size;
  CHECK_OK(check_status(kernels_.linear(&head, memory_.stream()), "the head"));
  const HearthSample sample{.rows = rows,
                            .vocabulary = description_.vocabulary_size,
                            .logits = static_cast<const float*>(fixed_.buffer(Buffer::kLogits)),
                            .logits_stride = description_.vocabulary_size,
                            .slot = fixed_.rows.slot,
                            .slots = fixed_.slots.as<HearthSlot>(),
                            .counts = fixed_.counts.as<std::uint16_t>(),
                            .masks = fixed_.masks.as<std::uint32_t>(),
                            .first = first ? 1 : 0,
                            .ring = fixed_.ring.as<HearthSampled>(),
                            .ring_size = kRingEntries,
                            .ring_head = fixed_.ring_head.as<std::uint64_t>(),
                            .workspace = fixed_.sample_workspace.data()};
  return check_status(kernels_.sample(&sample, memory_.stream()), "sampling");
}

Result<std::span<const generate::Sampled>> Step::collect(std::int32_t in_flight) {
  sampled_.clear();
  const std::size_t open = launched_.size();
  const std::size_t wanted = open - std::min(open, static_cast<std::size_t>(in_flight));
  if (wanted > 0) CHECK_OK(wait_for(launched_[wanted - 1]));
  const std::uint64_t written = written_entries();
  std::erase_if(launched_, [&](std::uint64_t end) { return end <= written; });
  for (; collected_ < written; ++collected_) {
    const HearthSampled& entry = fixed_.ring.as<HearthSampled>()[collected_ % kRingEntries];
    if ((entry.flags & HEARTH_SAMPLED_NOTHING) != 0) continue;
    sampled_.push_back({.sequence = entry.sequence,
                        .slot = entry.slot,
                        .token = entry.token,
                        .finite = (entry.flags & HEARTH_SAMPLED_NOT_FINITE) == 0});
  }
  return std::span<const generate::Sampled>(sampled_);
}

std::uint64_t Step::written_entries() const {
  return std::atomic_ref(*fixed_.ring_head.as<std::uint64_t>()).load(std::memory_order_acquire);
}

// A step takes milliseconds and its end is a word in memory: nothing is gained by sleeping.
Result<void> Step::wait_for(std::uint64_t entries) {
  constexpr int kPollsBetweenChecks = 10'000;
  for (int polls = 1; written_entries() < entries; ++polls)
    if (polls % kPollsBetweenChecks == 0) CHECK_OK(memory_.check());
  return {};
}

void Step::end(std::int32_t slot) noexcept {
  host_slots_[static_cast<std::size_t>(slot)] = {};
}

}  // namespace hearth::decoder
