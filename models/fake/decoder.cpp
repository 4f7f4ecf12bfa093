#include "models/fake/decoder.h"

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <new>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "models/fake/hidden.h"
#include "models/generate/fault.h"

namespace hearth::fake {
namespace {

constexpr float kCertain = 100.0F;  // beats all others at any temperature the contract allows

// A number in [0, 3) that depends on its arguments alone (SplitMix64's finaliser).
float spread(std::uint64_t id, std::uint64_t position, std::uint64_t last) {
  std::uint64_t x = id * 0x9E3779B97F4A7C15U + position * 0xBF58476D1CE4E5B9U + last;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
  x = (x ^ x >> 27) * 0x94D049BB133111EBU;
  return 3.0F * static_cast<float>(x >> 40) / static_cast<float>(1U << 24);
}

constexpr std::size_t kMaskWords = (kVocabularySize + 31) / 32;
constexpr std::size_t kRingEntries = 1024;   // a power of two, more than the slots' rows
constexpr std::uint16_t kInPrompt = 0x8000;  // of HearthSample::counts

// What a page holds of a prompt's token: which id, of which picture's content and where in it.
std::uint64_t memory_of(const Prompt& prompt, std::size_t token) {
  const auto id = static_cast<std::uint64_t>(prompt.ids[token]);
  for (const generate::MediaKey& media : prompt.media) {
    const auto first = static_cast<std::size_t>(media.first);
    if (token < first || token >= first + static_cast<std::size_t>(media.count)) continue;
    return (media.content.low ^ media.content.high) * 0x9E3779B97F4A7C15U + (token - first) * 512 +
           id;
  }
  return id;
}

HearthSlot state_of(const Prompt& prompt, const generate::Place& place) {
  const generate::Sampling& sampling = prompt.sampling;
  HearthSlot state{};
  state.length = static_cast<std::int32_t>(prompt.ids.size());
  state.most_steps = sampling.max_tokens;
  state.seed = sampling.seed;
  state.answer_index = place.answer;
  state.sequence = place.sequence;
  state.temperature = static_cast<float>(sampling.temperature);
  state.top_p = static_cast<float>(sampling.top_p);
  state.min_p = static_cast<float>(sampling.min_p);
  state.repetition_penalty = static_cast<float>(sampling.repetition_penalty);
  state.presence_penalty = static_cast<float>(sampling.presence_penalty);
  state.frequency_penalty = static_cast<float>(sampling.frequency_penalty);
  state.typical_p = static_cast<float>(sampling.typical_p);
  state.top_k = sampling.top_k;
  state.end_count =
      static_cast<std::int32_t>(std::min<std::size_t>(prompt.end_ids.size(), HEARTH_MAX_END_IDS));
  std::copy_n(prompt.end_ids.begin(), state.end_count, state.end_ids);
  return state;
}

}  // namespace

void wait(std::chrono::milliseconds duration, const std::atomic<bool>* cancelled) {
  const auto until = models::Clock::now() + duration;
  while (models::Clock::now() < until) {
    if (cancelled != nullptr && cancelled->load()) return;
    const auto left = until - models::Clock::now();
    std::this_thread::sleep_for(
        std::min<models::Clock::duration>(left, std::chrono::milliseconds(5)));
  }
}

void act(Fault fault, std::string_view where) {
  const std::string asked = fmt::format("The fake model fails at {}, as asked.", where);
  switch (fault) {
    case Fault::kThrow:
      throw std::runtime_error(asked);
    case Fault::kFull:
      throw std::bad_alloc();
    case Fault::kLost:
      throw generate::DeviceLost(asked);
    case Fault::kGone:
      throw generate::DeviceLost(asked, Code::kDeviceFailed);
    case Fault::kCrowded:  // the model that is being loaded does not count yet
      if (Loaded::count() > (where == "load" ? 0 : 1)) throw std::bad_alloc();
      return;
    case Fault::kCrash:
      std::abort();
    case Fault::kExit:
      std::_Exit(EXIT_SUCCESS);
    case Fault::kSegv:
      std::raise(SIGSEGV);
      return;
    case Fault::kHang:
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    case Fault::kNone:
    case Fault::kNan:
    case Fault::kInfinite:
      break;
  }
}

std::atomic<int>& Loaded::count() {
  static std::atomic<int> count = 0;
  return count;
}

Decoder::Decoder(const Config& config, std::int32_t slots)
    : config_(config),
      slots_(static_cast<std::size_t>(slots)),
      memory_(memory_words()),
      logits_(slots_.size() * kVocabularySize),
      states_(slots_.size()),
      counts_(slots_.size() * kVocabularySize),
      masks_(slots_.size() * kMaskWords),
      ring_(std::max(kRingEntries, std::bit_ceil(4 * slots_.size()))),
      workspace_(hearth_sample_workspace_bytes(slots, kVocabularySize)) {}

std::int32_t Decoder::pages_of(const Config& config, std::int32_t slots) {
  if (config.pages > 0) return config.pages;
  return slots * ((config.context_tokens + config.page_tokens - 1) / config.page_tokens);
}

std::size_t Decoder::memory_words() const {
  return static_cast<std::size_t>(pages()) * static_cast<std::size_t>(config_.page_tokens);
}

std::uint64_t Decoder::page_bytes_of(const Config& config) {
  return static_cast<std::uint64_t>(config.page_tokens) * sizeof(std::uint64_t);
}

std::uint64_t& Decoder::memory(const Slot& slot, std::size_t token) {
  const auto per_page = static_cast<std::size_t>(config_.page_tokens);
  const auto page = static_cast<std::size_t>(slot.pages[token / per_page]);
  return memory_[page * per_page + token % per_page];
}

void Decoder::copy_page(const generate::PageCopy& copy) {
  const std::int32_t per_page = config_.page_tokens;
  if (copy.tokens > 0)
    std::copy_n(memory_.begin() + copy.from * per_page, copy.tokens,
                memory_.begin() + copy.to * per_page);
}

// What attention would read: every token so far.
Result<void> Decoder::check_memory(const Slot& slot) {
  for (std::size_t token = 0; token < slot.tokens.size(); ++token)
    if (memory(slot, token) != slot.tokens[token])
      return fail(Code::kInternal, fmt::format("The page of token {} of {} holds something else.",
                                               token, slot.tokens.size()));
  return {};
}

void Decoder::feed(Slot& slot, std::uint64_t token) {
  slot.tokens.push_back(token);
  memory(slot, slot.tokens.size() - 1) = token;
}

Result<void> Decoder::begin(models::OnEngine, const generate::Place& place,
                            const generate::PageCopy& copy, const generate::TokenPrompt& prompt) {
  const auto index = static_cast<std::size_t>(place.slot);
  Slot& slot = slots_[index];
  if (slot.prompt != nullptr)
    return fail(Code::kInternal, fmt::format("Slot {} is taken.", place.slot));
  slot = {static_cast<const Prompt*>(&prompt),
          {place.pages.begin(), place.pages.end()},
          {},
          place.cached_tokens};
  wait(slot.prompt->script.wait_at(Place::kBegin));
  act(slot.prompt->script.fault_at(Place::kBegin), "begin");
  copy_page(copy);
  for (std::int32_t token = 0; token < place.cached_tokens; ++token)
    slot.tokens.push_back(memory_of(*slot.prompt, static_cast<std::size_t>(token)));
  states_[index] = state_of(*slot.prompt, place);
  const std::span counts = std::span(counts_).subspan(index * kVocabularySize, kVocabularySize);
  std::fill(counts.begin(), counts.end(), std::uint16_t{0});
  for (const std::int32_t id : prompt.ids) counts[static_cast<std::size_t>(id)] = kInPrompt;
  return check_memory(slot);
}

Result<bool> Decoder::encode_picture(models::OnEngine, std::int32_t index) {
  const Script& script = slots_[static_cast<std::size_t>(index)].prompt->script;
  wait(script.wait_at(Place::kVision));
  act(script.fault_at(Place::kVision), "vision");
  return false;
}

std::int32_t Decoder::cached_pictures(std::int32_t index) const {
  const Slot& slot = slots_[static_cast<std::size_t>(index)];
  const auto& media = slot.prompt->media;
  return static_cast<std::int32_t>(
      std::count_if(media.begin(), media.end(), [&](const generate::MediaKey& picture) {
        return picture.first + picture.count <= slot.cached_tokens;
      }));
}

Result<void> Decoder::set_mask(models::OnEngine, std::int32_t slot,
                               std::span<const std::uint32_t> mask) {
  if (!mask.empty() && mask.size() != kMaskWords)
    return fail(Code::kInternal, fmt::format("A mask has {} words.", mask.size()));
  const auto index = static_cast<std::size_t>(slot);
  std::copy(mask.begin(), mask.end(),
            masks_.begin() + static_cast<std::ptrdiff_t>(index * kMaskWords));
  states_[index].masked = mask.empty() ? 0 : 1;
  return {};
}

Result<void> Decoder::prefill(models::OnEngine, const generate::Chunk& chunk) {
  Slot& slot = slots_[static_cast<std::size_t>(chunk.slot)];
  const Script& script = slot.prompt->script;
  const std::size_t total = slot.prompt->ids.size();
  const auto first = static_cast<std::size_t>(chunk.first);
  const std::size_t end = first + static_cast<std::size_t>(chunk.count);
  if (first != slot.tokens.size() || chunk.count < 1 || end > total)
    return fail(Code::kInternal, fmt::format("Prefill of {} + {} came after {} tokens.",
                                             chunk.first, chunk.count, slot.tokens.size()));
  wait(script.wait_at(Place::kPrefill));
  for (std::size_t token = first; token < end; ++token) feed(slot, memory_of(*slot.prompt, token));
  CHECK_OK(check_memory(slot));
  const Fault fault = end == total ? script.fault_at(Place::kPrefill) : Fault::kNone;
  act(fault, "prefill");
  if (slot.prompt->taps) {
    write_hidden(*slot.prompt, chunk, fault);
  } else if (end == total) {
    write_logits(0, slot, fault);
    return draw({&chunk.slot, 1}, true);
  }
  return {};
}

Result<void> Decoder::step(models::OnEngine, std::span<const std::int32_t> slots) {
  std::chrono::milliseconds longest{0};
  for (std::size_t row = 0; row < slots.size(); ++row) {
    const auto index = static_cast<std::size_t>(slots[row]);
    if ((states_[index].flags & HEARTH_SLOT_DONE) != 0) continue;
    Slot& slot = slots_[index];
    feed(slot, static_cast<std::uint64_t>(states_[index].token));
    CHECK_OK(check_memory(slot));
    const auto made = static_cast<int>(slot.tokens.size() - slot.prompt->ids.size());
    const Fault fault = slot.prompt->script.fault_at(Place::kStep, made);
    act(fault, fmt::format("step {}", made));
    write_logits(row, slot, fault);
    longest = std::max(longest, slot.prompt->script.wait_at(Place::kStep));
  }
  wait(longest);
  return draw(slots, false);
}

// Names token n of the answer after n answer tokens; with random letters, spreads over a to z.
void Decoder::write_logits(std::size_t row, const Slot& slot, Fault fault) {
  const std::span out = std::span(logits_).subspan(row * kVocabularySize, kVocabularySize);
  std::fill(out.begin(), out.end(), 0.0F);
  const std::size_t made = slot.tokens.size() - slot.prompt->ids.size();
  const std::vector<std::int32_t>& answer = slot.prompt->answer;
  if (made < static_cast<std::size_t>(slot.prompt->script.random_letters)) {
    for (std::size_t id = 'a'; id <= 'z'; ++id)
      out[id] = kCertain + spread(id, made, slot.tokens.back());
  } else {
    const auto next = made < answer.size() ? answer[made] : kEnd;
    out[static_cast<std::size_t>(next)] = kCertain;
  }
  if (fault == Fault::kNan) out[7] = std::numeric_limits<float>::quiet_NaN();
  if (fault == Fault::kInfinite) out[7] = std::numeric_limits<float>::infinity();
}

Result<void> Decoder::draw(std::span<const std::int32_t> slots, bool first) {
  const HearthSample call{.rows = static_cast<std::int64_t>(slots.size()),
                          .vocabulary = kVocabularySize,
                          .logits = logits_.data(),
                          .logits_stride = kVocabularySize,
                          .slot = slots.data(),
                          .slots = states_.data(),
                          .counts = counts_.data(),
                          .masks = masks_.data(),
                          .first = first ? 1 : 0,
                          .ring = ring_.data(),
                          .ring_size = static_cast<std::int64_t>(ring_.size()),
                          .ring_head = &ring_head_,
                          .workspace = workspace_.data()};
  const HearthStatus status = hearth_kernels_ref()->sample(&call, nullptr);
  if (status == HEARTH_OK) return {};
  return fail(Code::kInternal, fmt::format("Sampling was refused: {}.", static_cast<int>(status)));
}

// All has been computed by now, whatever may be in flight.
Result<std::span<const generate::Sampled>> Decoder::collect(models::OnEngine, std::int32_t) {
  sampled_.clear();
  for (; collected_ < ring_head_; ++collected_) {
    const HearthSampled& drawn = ring_[collected_ % ring_.size()];
    if ((drawn.flags & HEARTH_SAMPLED_NOTHING) != 0) continue;
    const bool finite = (drawn.flags & HEARTH_SAMPLED_NOT_FINITE) == 0;
    sampled_.push_back({drawn.sequence, drawn.slot, drawn.token, finite});
  }
  return std::span<const generate::Sampled>(sampled_);
}

Result<void> Decoder::read_logits(models::OnEngine, std::int32_t row, std::span<float> logits) {
  std::copy_n(logits_.begin() + row * std::ptrdiff_t{kVocabularySize}, logits.size(),
              logits.begin());
  return {};
}

Result<void> Decoder::fork(models::OnEngine, std::int32_t from, const generate::Place& to,
                           const generate::PageCopy& copy) {
  const auto source = static_cast<std::size_t>(from);
  const auto target = static_cast<std::size_t>(to.slot);
  copy_page(copy);
  slots_[target] = slots_[source];
  slots_[target].pages.assign(to.pages.begin(), to.pages.end());
  states_[target] = states_[source];
  std::copy_n(counts_.begin() + from * std::ptrdiff_t{kVocabularySize}, kVocabularySize,
              counts_.begin() + to.slot * std::ptrdiff_t{kVocabularySize});
  if (slots_[target].tokens.size() != static_cast<std::size_t>(to.cached_tokens))
    return fail(Code::kInternal, fmt::format("A fork after {} tokens of {}.", to.cached_tokens,
                                             slots_[target].tokens.size()));
  return check_memory(slots_[target]);
}

Result<void> Decoder::choose(models::OnEngine, std::int32_t slot, std::int32_t token) {
  states_[static_cast<std::size_t>(slot)].token = token;
  return {};
}

void Decoder::end(models::OnEngine, std::int32_t slot) noexcept {
  slots_[static_cast<std::size_t>(slot)].prompt = nullptr;
}

void Decoder::rest() {
  std::vector<std::uint64_t>().swap(memory_);
}

void Decoder::restore() {
  memory_.assign(memory_words(), 0);
}

std::uint64_t Decoder::resident_bytes() const {
  return config_.weights_bytes + memory_words() * sizeof(memory_[0]);
}

}  // namespace hearth::fake
