#include "models/torch/slot_decoder.h"

#include <algorithm>
#include <numeric>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "models/torch/tensors.h"
#include "shm/base/log.h"

namespace hearth::engine {
namespace {

constexpr std::int32_t kAxes = 3;

// Up to so many rows a chunk goes through the step's kernels, which read each weight once for
// HEARTH_MAX_ROWS rows: with few rows memory is the limit, and a product of many rows gains
// nothing. A library's product first has to unpack quantised weights, which takes as long as
// several such passes.
std::int32_t most_fed_rows(const Compute& compute, const decoder::Weights& weights) {
  if (compute.attention_is_chosen) return 0;  // steps have an attention of their own
  if (compute.amx || compute.device >= 0) return HEARTH_MAX_ROWS;
  const HearthFormat format = weights.layers.front().output.matrix.format;
  const bool direct = format == HEARTH_FORMAT_F32 || format == HEARTH_FORMAT_BF16;
  return (direct ? 2 : 4) * HEARTH_MAX_ROWS;
}

// Of the prompt that warms up: a chunk of many rows, then one of few.
constexpr std::int32_t kManyRows = 4 * HEARTH_MAX_ROWS + 1;
constexpr std::int32_t kWarmUpTokens = kManyRows + HEARTH_MAX_ROWS;

std::span<const std::int32_t> ids_of(const decoder::MediaPrompt& prompt, std::int32_t first,
                                     std::int32_t count) {
  return std::span(prompt.ids)
      .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
}

}  // namespace

SlotDecoder::SlotDecoder(const decoder::Description& description, HearthType type, Engines engines,
                         const Compute& compute, std::int32_t most_fed_rows,
                         std::uint64_t feature_cache_bytes)
    : description_(description),
      type_(type),
      compute_(compute),
      traffic_(engines.traffic),
      most_fed_rows_(most_fed_rows),
      step_(std::move(engines.step)),
      prefill_(std::move(engines.prefill)),
      tower_(std::move(engines.tower)),
      cache_(feature_cache_bytes),
      slots_(static_cast<std::size_t>(step_->limits().slots)) {}

Result<std::unique_ptr<SlotDecoder>> SlotDecoder::create(const decoder::Description& description,
                                                         const decoder::Weights& weights,
                                                         const Compute& compute,
                                                         std::unique_ptr<Tower> tower,
                                                         const DecoderLimits& limits) {
  const c10::InferenceMode guard;
  TRY(auto step, decoder::Step::create(description, weights, *compute.memory, limits.step));
  TRY(auto prefill, Prefill::create(description, weights, *step, compute, kPrefillChunkTokens));
  return std::unique_ptr<SlotDecoder>(
      new SlotDecoder(description, weights.type,
                      {std::move(step), std::move(prefill), std::move(tower),
                       decoder::traffic_of(description, weights)},
                      compute, most_fed_rows(compute, weights), limits.feature_cache_bytes));
}

std::uint64_t SlotDecoder::scratch_bytes(const decoder::Description& description, HearthType type,
                                         const decoder::StepLimits& limits) {
  return decoder::StepMemory::bytes(description, type, limits) +
         Prefill::scratch_bytes(description, type, kPrefillChunkTokens, limits.context_tokens);
}

std::uint64_t SlotDecoder::page_bytes() const {
  return decoder::page_bytes(description_, type_);
}

Result<void> SlotDecoder::begin(models::OnEngine, const generate::Place& place,
                                const generate::PageCopy& copy,
                                const generate::TokenPrompt& prompt) {
  // Thread counts belong to the calling thread: asking sets this one's.
  at::get_num_threads();
  const auto& media = static_cast<const decoder::MediaPrompt&>(prompt);
  CHECK_OK(step_->begin(place, copy, prompt, media.position_delta));
  Slot& slot = slots_[static_cast<std::size_t>(place.slot)];
  slot = {.prompt = &media, .features = {}, .wanted = {}, .cached_pictures = 0};
  slot.features.resize(media.pictures.size());
  for (std::size_t i = 0; i < media.spans.size(); ++i) {
    const decoder::MediaSpan& span = media.spans[i];
    if (span.first + span.count > place.cached_tokens) slot.wanted.push_back(i);
  }
  slot.cached_pictures = static_cast<std::int32_t>(media.spans.size() - slot.wanted.size());
  return {};
}

Result<void> SlotDecoder::warm_up(models::OnEngine on) {
  const c10::InferenceMode guard;
  decoder::MediaPrompt prompt;
  prompt.ids.assign(std::min(kWarmUpTokens, context_tokens() - 1), 0);
  prompt.positions.assign(kAxes * prompt.ids.size(), 0);
  prompt.sampling.max_tokens = 2;
  const auto warmed = warm_up_prompt(on, prompt);
  if (slots_.front().prompt != nullptr) end(on, 0);
  CHECK_OK(warmed);
  CHECK_OK(step_->capture_graphs());
  for (const std::string& remark : step_->remarks()) log::warning("{}", remark);
  if (tower_ == nullptr) return {};
  const image::Still picture = tower_->smallest_picture();
  const image::Still* const pictures[] = {&picture};
  TRY(const auto features, tower_->encode(on, pictures));
  static_cast<void>(features);
  return {};
}

void SlotDecoder::rest(models::OnEngine) {
  const c10::InferenceMode guard;
  cache_.clear();
  prefill_->drop_scratch();
  if (tower_ != nullptr) tower_->drop_scratch();
  give_back_unused(compute_);
}

Result<void> SlotDecoder::warm_up_prompt(models::OnEngine on, const decoder::MediaPrompt& prompt) {
  const auto tokens = static_cast<std::int32_t>(prompt.ids.size());
  std::vector<std::int32_t> pages((prompt.ids.size() + 2) / HEARTH_PAGE_TOKENS + 1);
  std::iota(pages.begin(), pages.end(), 0);
  CHECK_OK(begin(on, {.slot = 0, .sequence = 0, .pages = pages, .cached_tokens = 0}, {}, prompt));
  for (std::int32_t first = 0; first < tokens; first += kManyRows)
    CHECK_OK(prefill(on, {0, first, std::min(kManyRows, tokens - first), {}}));
  constexpr std::int32_t kSlot[] = {0};
  CHECK_OK(step(on, kSlot));
  TRY(const auto drawn, collect(on, 0));
  static_cast<void>(drawn);  // nobody's
  return {};
}

FeatureCache::Key SlotDecoder::key_of(const decoder::MediaPrompt& prompt,
                                      std::size_t picture) const {
  return {prompt.media[picture].content, prompt.user};
}

Result<bool> SlotDecoder::encode_picture(models::OnEngine on, std::int32_t index) {
  const c10::InferenceMode guard;
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  take_cached(slot);
  if (slot.wanted.empty()) return false;
  const std::vector<std::size_t> together = choose_together(slot);
  std::vector<const image::Still*> pictures;
  for (const std::size_t picture : together) pictures.push_back(&slot.prompt->pictures[picture]);
  TRY(std::vector<Features> made, tower_->encode(on, pictures));
  for (std::size_t i = 0; i < together.size(); ++i) {
    auto features = std::make_shared<const Features>(std::move(made[i]));
    cache_.insert(key_of(*slot.prompt, together[i]), features);
    slot.features[together[i]] = std::move(features);
    std::erase(slot.wanted, together[i]);
  }
  return true;
}

std::int32_t SlotDecoder::seen_tokens(std::int32_t slot) const {
  const Slot& in = slots_[static_cast<std::size_t>(slot)];
  auto seen = static_cast<std::int32_t>(in.prompt->image_tokens);
  for (const std::size_t picture : in.wanted) seen -= in.prompt->spans[picture].count;
  return seen;
}

std::int32_t SlotDecoder::cached_pictures(std::int32_t slot) const {
  return slots_[static_cast<std::size_t>(slot)].cached_pictures;
}

// The first wanted picture and those before the next missing one that the cache has.
void SlotDecoder::take_cached(Slot& slot) {
  std::erase_if(slot.wanted, [&](std::size_t picture) {
    slot.features[picture] = cache_.find(key_of(*slot.prompt, picture));
    if (slot.features[picture] != nullptr) ++slot.cached_pictures;
    return slot.features[picture] != nullptr;
  });
}

// Wanted pictures for one pass of the tower: the first, and others of other content while there is
// room.
std::vector<std::size_t> SlotDecoder::choose_together(const Slot& slot) const {
  std::vector<std::size_t> together;
  std::int64_t patches = 0;
  for (const std::size_t picture : slot.wanted) {
    const auto same = [&](std::size_t other) {
      return key_of(*slot.prompt, other) == key_of(*slot.prompt, picture);
    };
    if (std::any_of(together.begin(), together.end(), same)) continue;
    patches += slot.prompt->pictures[picture].count();
    if (!together.empty() && patches > kTogetherPatches) break;
    together.push_back(picture);
  }
  return together;
}

Result<void> SlotDecoder::prefill(models::OnEngine, const generate::Chunk& chunk) {
  const c10::InferenceMode guard;
  Slot& slot = slots_[static_cast<std::size_t>(chunk.slot)];
  const decoder::MediaPrompt& prompt = *slot.prompt;
  const auto total = static_cast<std::int32_t>(prompt.ids.size());
  if (chunk.first < 0 || chunk.count < 1 || chunk.count > prefill_chunk_tokens() ||
      chunk.first + chunk.count > total)
    return fail(Code::kInternal,
                fmt::format("prefill of {} + {} of {} tokens", chunk.first, chunk.count, total));
  find_media(slot, chunk.first, chunk.count);
  const bool fed = chunk.count <= most_fed_rows_ && media_.empty() && !prompt.taps;
  CHECK_OK(fed ? feed_chunk(slot, chunk) : run_chunk(slot, chunk));
  if (chunk.first + chunk.count < total) return {};
  slot.features.clear();
  if (prompt.taps) return {};
  return step_->draw_first(chunk.slot, fed ? nullptr : prefill_->hidden(chunk.count - 1));
}

Result<void> SlotDecoder::run_chunk(const Slot& slot, const generate::Chunk& chunk) {
  const bool last = static_cast<std::size_t>(chunk.first + chunk.count) == slot.prompt->ids.size();
  find_positions(*slot.prompt, chunk.first, chunk.count);
  find_taps(slot, chunk);
  const auto ran = prefill_->run({.slot = chunk.slot,
                                  .first = chunk.first,
                                  .ids = ids_of(*slot.prompt, chunk.first, chunk.count),
                                  .positions = positions_,
                                  .media = media_,
                                  .taps = taps_,
                                  .taps_only = slot.prompt->taps.has_value(),
                                  .wanted_from = last ? chunk.count - 1 : chunk.count});
  taps_.clear();  // they view memory that is only lent for the chunk
  return ran;
}

Result<void> SlotDecoder::feed_chunk(const Slot& slot, const generate::Chunk& chunk) {
  const std::int32_t end = chunk.first + chunk.count;
  for (std::int32_t first = chunk.first; first < end; first += HEARTH_MAX_ROWS) {
    const std::int32_t count = std::min<std::int32_t>(HEARTH_MAX_ROWS, end - first);
    find_positions(*slot.prompt, first, count);
    CHECK_OK(step_->feed({.slot = chunk.slot,
                          .first = first,
                          .ids = ids_of(*slot.prompt, first, count),
                          .positions = positions_}));
  }
  return {};
}

void SlotDecoder::find_positions(const decoder::MediaPrompt& prompt, std::int32_t first,
                                 std::int32_t count) {
  const auto total = static_cast<std::int32_t>(prompt.ids.size());
  positions_.clear();
  for (std::int32_t axis = 0; axis < kAxes; ++axis) {
    const auto begin = prompt.positions.begin() + axis * total + first;
    positions_.insert(positions_.end(), begin, begin + count);
  }
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
      media_.push_back({begin - first, end - begin, slot.features[i].get(), begin - span.first});
  }
}

Result<void> SlotDecoder::step(models::OnEngine, std::span<const std::int32_t> slots) {
  return step_->run(slots);
}

Result<std::span<const generate::Sampled>> SlotDecoder::collect(models::OnEngine,
                                                                std::int32_t in_flight) {
  return step_->collect(in_flight);
}

Result<void> SlotDecoder::read_logits(models::OnEngine, std::int32_t row, std::span<float> logits) {
  return step_->read_logits(row, logits);
}

Result<void> SlotDecoder::fork(models::OnEngine, std::int32_t from, const generate::Place& to,
                               const generate::PageCopy& copy) {
  CHECK_OK(step_->fork(from, to, copy));
  slots_[static_cast<std::size_t>(to.slot)].prompt = slots_[static_cast<std::size_t>(from)].prompt;
  return {};
}

Result<void> SlotDecoder::choose(models::OnEngine, std::int32_t slot, std::int32_t token) {
  return step_->choose(slot, token);
}

void SlotDecoder::end(models::OnEngine, std::int32_t index) noexcept {
  step_->end(index);
  slots_[static_cast<std::size_t>(index)] = {};
}

}  // namespace hearth::engine
