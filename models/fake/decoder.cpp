#include "models/fake/decoder.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
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
    case Fault::kLost:
      throw generate::DeviceLost(asked);
    case Fault::kCrash:
      std::abort();
    case Fault::kHang:
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    case Fault::kNone:
    case Fault::kNan:
    case Fault::kInfinite:
      break;
  }
}

Decoder::Decoder(const Config& config, std::int32_t slots)
    : config_(config),
      slots_(static_cast<std::size_t>(slots)),
      logits_(static_cast<std::size_t>(slots) * kVocabularySize) {
  for (Slot& slot : slots_) slot.ids.reserve(static_cast<std::size_t>(config.context_tokens));
}

Result<void> Decoder::begin(models::OnEngine, std::int32_t index,
                            const generate::TokenPrompt& prompt) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (slot.prompt != nullptr) return fail(Code::kInternal, fmt::format("Slot {} is taken.", index));
  slot.prompt = static_cast<const Prompt*>(&prompt);
  slot.ids.clear();
  wait(slot.prompt->script.wait_at(Place::kBegin));
  act(slot.prompt->script.fault_at(Place::kBegin), "begin");
  return {};
}

Result<void> Decoder::prefill(models::OnEngine, const generate::Chunk& chunk) {
  Slot& slot = slots_[static_cast<std::size_t>(chunk.slot)];
  const Script& script = slot.prompt->script;
  const auto& ids = slot.prompt->ids;
  const auto fed = static_cast<std::int32_t>(slot.ids.size());
  const std::int32_t end = chunk.first + chunk.count;
  if (chunk.first != fed || chunk.count < 1 || static_cast<std::size_t>(end) > ids.size())
    return fail(Code::kInternal, fmt::format("Prefill of {} + {} came after {} tokens.",
                                             chunk.first, chunk.count, fed));
  wait(script.wait_at(Place::kPrefill));
  slot.ids.insert(slot.ids.end(), ids.begin() + chunk.first, ids.begin() + end);
  const bool last = slot.ids.size() == ids.size();
  const Fault fault = last ? script.fault_at(Place::kPrefill) : Fault::kNone;
  act(fault, "prefill");
  if (slot.prompt->taps)
    write_hidden(*slot.prompt, chunk, fault);
  else if (last)
    write_logits(0, slot, fault);
  return {};
}

Result<void> Decoder::step(models::OnEngine, std::span<const generate::StepRow> rows) {
  std::chrono::milliseconds longest{0};
  for (std::size_t row = 0; row < rows.size(); ++row) {
    Slot& slot = slots_[static_cast<std::size_t>(rows[row].slot)];
    if (rows[row].position != static_cast<std::int32_t>(slot.ids.size()))
      return fail(Code::kInternal, fmt::format("A step at {} came after {} tokens.",
                                               rows[row].position, slot.ids.size()));
    slot.ids.push_back(rows[row].token);
    const auto made = static_cast<int>(slot.ids.size() - slot.prompt->ids.size());
    const Fault fault = slot.prompt->script.fault_at(Place::kStep, made);
    act(fault, fmt::format("step {}", made));
    write_logits(static_cast<std::int32_t>(row), slot, fault);
    longest = std::max(longest, slot.prompt->script.wait_at(Place::kStep));
  }
  wait(longest);
  return {};
}

// Names byte n of the answer after n answer tokens; with random letters, spreads over a to z.
void Decoder::write_logits(std::int32_t row, const Slot& slot, Fault fault) {
  const std::span<float> out(logits_.data() + row * kVocabularySize, kVocabularySize);
  std::fill(out.begin(), out.end(), 0.0F);
  const std::size_t made = slot.ids.size() - slot.prompt->ids.size();
  const std::string& answer = slot.prompt->answer;
  if (made < static_cast<std::size_t>(slot.prompt->script.random_letters)) {
    const auto last = static_cast<std::uint64_t>(slot.ids.back());
    for (std::size_t id = 'a'; id <= 'z'; ++id) out[id] = kCertain + spread(id, made, last);
  } else {
    const auto next = made < answer.size() ? static_cast<std::uint8_t>(answer[made]) : kEnd;
    out[static_cast<std::size_t>(next)] = kCertain;
  }
  if (fault == Fault::kNan) out[7] = std::numeric_limits<float>::quiet_NaN();
  if (fault == Fault::kInfinite) out[7] = std::numeric_limits<float>::infinity();
}

std::span<const float> Decoder::logits(std::int32_t row) {
  return std::span(logits_).subspan(static_cast<std::size_t>(row) * kVocabularySize,
                                    kVocabularySize);
}

void Decoder::end(models::OnEngine, std::int32_t slot) noexcept {
  slots_[static_cast<std::size_t>(slot)].prompt = nullptr;
}

std::uint64_t Decoder::resident_bytes() const {
  const std::uint64_t tokens = slots_.size() * static_cast<std::uint64_t>(config_.context_tokens);
  return tokens * sizeof(std::int32_t) + logits_.size() * sizeof(float);
}

}  // namespace hearth::fake
