// What a thread of the worker is doing, so that others can tell work from a hang.
//
// Each thread that works for requests has one Progress, which it alone writes: plain stores, no
// lock, nothing that costs a decode step anything. Any thread may read it. Code below the worker
// does not know whose record it writes: enter_phase() and progressed() mean the calling thread's,
// and do nothing on a thread that nobody watches.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace hearth::models {

enum class Phase : std::uint8_t { kIdle, kAttach, kLoad, kPreprocess, kVision, kPrefill, kDecode };

// As in the message `beat`.
std::string_view word_of(Phase phase);

class Progress {
 public:
  struct Seen {
    Phase phase = Phase::kIdle;
    std::string model;        // id; empty: of none in particular
    std::uint64_t steps = 0;  // never falls; rises with whatever is done
  };

  // The watched thread.
  void enter(Phase phase) noexcept {
    phase_.store(phase, std::memory_order_relaxed);
    step();
  }
  void enter(Phase phase, std::string_view model) noexcept {
    name(model);
    enter(phase);
  }
  void step() noexcept {
    steps_.store(steps_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // What the phases from here on are about; at most 64 bytes of it are kept.
  void name(std::string_view model) noexcept;

  // Any thread. Where the thread goes on meanwhile the model may be another's for this one time.
  Seen seen() const;
  Phase phase() const { return phase_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kModelWords = 8;

  std::atomic<Phase> phase_ = Phase::kIdle;
  std::atomic<std::uint64_t> steps_ = 0;
  std::array<std::atomic<std::uint64_t>, kModelWords> model_{};  // its bytes, padded with zeros
};

// The calling thread's record, null: nobody watches it.
inline constinit thread_local Progress* this_thread_progress = nullptr;

inline void enter_phase(Phase phase) noexcept {
  if (this_thread_progress != nullptr) this_thread_progress->enter(phase);
}
// Something that takes its time is done: a token, a layer, a tensor, a product of many rows.
inline void progressed() noexcept {
  if (this_thread_progress != nullptr) this_thread_progress->step();
}

// While it lives the calling thread is watched and works at `phase`; afterwards it is back at what
// it was doing before. `progress` outlives it.
class Working {
 public:
  Working(Progress& progress, Phase phase, std::string_view model);
  ~Working();
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;

 private:
  Progress& progress_;
  const Progress::Seen before_;
};

}  // namespace hearth::models
