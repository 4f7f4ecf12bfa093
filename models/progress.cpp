#include "models/progress.h"

#include <algorithm>

namespace hearth::models {

std::string_view word_of(Phase phase) {
  constexpr std::string_view kWords[] = {"idle",   "attach",  "load",  "preprocess",
                                         "vision", "prefill", "decode"};
  return kWords[static_cast<std::size_t>(phase)];
}

void Progress::name(std::string_view model) noexcept {
  std::array<char, 8 * kModelWords> bytes{};
  std::copy_n(model.begin(), std::min(model.size(), bytes.size()), bytes.begin());
  for (std::size_t i = 0; i < kModelWords; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + 8 * i, sizeof word);
    model_[i].store(word, std::memory_order_relaxed);
  }
}

Progress::Seen Progress::seen() const {
  Seen seen;
  seen.steps = steps_.load(std::memory_order_acquire);
  seen.phase = phase();
  std::array<char, 8 * kModelWords + 1> bytes{};
  for (std::size_t i = 0; i < kModelWords; ++i) {
    const std::uint64_t word = model_[i].load(std::memory_order_relaxed);
    std::memcpy(bytes.data() + 8 * i, &word, sizeof word);
  }
  seen.model = bytes.data();
  return seen;
}

Working::Working(Progress& progress, Phase phase, std::string_view model)
    : progress_(progress), before_(progress.seen()) {
  this_thread_progress = &progress_;
  progress_.enter(phase, model);
}

Working::~Working() {
  progress_.enter(before_.phase, before_.model);
}

}  // namespace hearth::models
