#include "models/torch/slot_decoder.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "models/torch/tensors.h"

namespace hearth::engine {

SlotDecoder::SlotDecoder(const decoder::Description& description, LoadedDecoder loaded,
                         std::unique_ptr<Tower> tower, ExecutorLimits limits,
                         at::TensorOptions options)
    : vocabulary_size_(description.vocabulary_size),
      loaded_(std::move(loaded)),
      tower_(std::move(tower)),
      executor_(description, loaded_.weights, limits, options),
      slots_(static_cast<std::size_t>(limits.slots)) {}

Result<void> SlotDecoder::begin(models::OnEngine, std::int32_t index,
                                const generate::TokenPrompt& prompt) {
  const c10::InferenceMode guard;
  // Thread counts belong to the calling thread: asking sets this one's, for our kernels too.
  at::get_num_threads();
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (slot.prompt != nullptr) return fail(Code::kInternal, fmt::format("slot {} is taken", index));
  slot.prompt = static_cast<const decoder::MediaPrompt*>(&prompt);
  slot.features.clear();
  return {};
}

Result<bool> SlotDecoder::encode_picture(models::OnEngine on, std::int32_t index) {
  const c10::InferenceMode guard;
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  const std::size_t next = slot.features.size();
  if (next == slot.prompt->pictures.size()) return false;
  slot.features.push_back(tower_->encode(on, slot.prompt->pictures[next]));
  return true;
}

Result<void> SlotDecoder::prefill(models::OnEngine, const generate::Chunk& chunk) {
  const c10::InferenceMode guard;
  const std::int32_t first = chunk.first;
  const std::int32_t count = chunk.count;
  Slot& slot = slots_[static_cast<std::size_t>(chunk.slot)];
  const decoder::MediaPrompt& prompt = *slot.prompt;
  const auto total = static_cast<std::int32_t>(prompt.ids.size());
  if (first < 0 || count < 1 || count > prefill_chunk_tokens() || first + count > total)
    return fail(Code::kInternal,
                fmt::format("prefill of {} + {} of {} tokens", first, count, total));
  positions_.clear();
  for (std::int32_t axis = 0; axis < 3; ++axis) {
    const auto begin = prompt.positions.begin() + axis * total + first;
    positions_.insert(positions_.end(), begin, begin + count);
  }
  find_media(slot, first, count);
  find_taps(slot, chunk);
  const bool last = first + count == total;
  chosen_.assign(last && !prompt.taps ? 1 : 0, count - 1);
  const Segment segment{chunk.slot, 0, count, first};
  executor_.run(
      {.ids = std::span(prompt.ids)
                  .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
       .positions = positions_,
       .segments = {&segment, 1},
       .media = media_,
       .chosen = chosen_,
       .taps = taps_,
       .taps_only = prompt.taps.has_value()});
  taps_.clear();  // they view memory that is only lent for the chunk
  if (last) slot.features.clear();
  return {};
}

void SlotDecoder::find_taps(const Slot& slot, const generate::Chunk& chunk) {
  taps_.clear();
  if (!slot.prompt->taps) return;
  const generate::Taps& taps = *slot.prompt->taps;
  for (std::size_t i = 0; i < taps.states.size(); ++i)
    taps_.push_back({taps.states[i], rows_in(chunk.hidden[i], taps.dtype, chunk.count)});
}

// The parts of the prompt's pictures that fall into tokens [first, first + count).
void SlotDecoder::find_media(const Slot& slot, std::int32_t first, std::int32_t count) {
  media_.clear();
  for (std::size_t i = 0; i < slot.prompt->spans.size(); ++i) {
    const decoder::MediaSpan& span = slot.prompt->spans[i];
    const std::int32_t begin = std::max(span.first, first);
    const std::int32_t end = std::min(span.first + span.count, first + count);
    if (begin < end)
      media_.push_back({begin - first, end - begin, &slot.features[i], begin - span.first});
  }
}

Result<void> SlotDecoder::step(models::OnEngine, std::span<const generate::StepRow> rows) {
  const c10::InferenceMode guard;
  ids_.clear();
  chosen_.clear();
  segments_.clear();
  positions_.assign(3 * rows.size(), 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const generate::StepRow& row = rows[i];
    if (row.position >= context_tokens())
      return fail(Code::kTooLong,
                  fmt::format("token {} of a context of {}", row.position, context_tokens()));
    const auto at = static_cast<std::int32_t>(i);
    const std::int32_t delta = slots_[static_cast<std::size_t>(row.slot)].prompt->position_delta;
    ids_.push_back(row.token);
    chosen_.push_back(at);
    segments_.push_back({row.slot, at, 1, row.position});
    for (std::size_t axis = 0; axis < 3; ++axis)
      positions_[axis * rows.size() + i] = row.position + delta;
  }
  executor_.run({.ids = ids_,
                 .positions = positions_,
                 .segments = segments_,
                 .media = {},
                 .chosen = chosen_});
  return {};
}

void SlotDecoder::end(models::OnEngine, std::int32_t index) noexcept {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  slot.prompt = nullptr;
  slot.features.clear();
}

}  // namespace hearth::engine
