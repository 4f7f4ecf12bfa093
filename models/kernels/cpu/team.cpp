#include "models/kernels/cpu/team.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

namespace hearth::kernels::cpu {
namespace {

constexpr std::size_t kLine = 64;
constexpr auto kSpin = std::chrono::microseconds(20);
constexpr int kPausesPerLook = 32;  // between two looks at the clock

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits a moment without giving the core away. True when `done`.
template <class Done>
bool spin_until(const Done& done) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < until);
  return done();
}

// The chunks [next, end) of one thread's range that nobody has taken, of run number `run`, in one
// word: whoever takes one by compare-and-swap knows that the run has not ended meanwhile.
struct Range {
  std::uint32_t run = 0;
  std::uint16_t next = 0, end = 0;
};
constexpr std::int64_t kMostChunks = 0xffff;

std::uint64_t packed(Range r) {
  return std::uint64_t{r.run} << 32 | std::uint64_t{r.next} << 16 | r.end;
}
Range unpacked(std::uint64_t word) {
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 16),
          static_cast<std::uint16_t>(word)};
}

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

struct Scratch {
  std::unique_ptr<void, FreeMemory> memory;
  std::size_t bytes = 0;

  void* at_least(std::size_t wanted) {
    if (wanted > bytes) {
      bytes = (wanted + 4095) / 4096 * 4096;
      memory.reset();
      memory.reset(std::aligned_alloc(kLine, bytes));
      if (!memory) throw std::bad_alloc();
    }
    return memory.get();
  }
};

class Team {
 public:
  explicit Team(int threads) : members_(static_cast<std::size_t>(threads)) {
    for (int t = 1; t < threads; ++t) threads_.emplace_back([this, t] { serve(t); });
  }
  ~Team() {
    stop_.store(true, std::memory_order_relaxed);
    wake();
    for (std::thread& thread : threads_) thread.join();
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(members_.size()); }

  void run(std::int64_t items, std::int64_t grain, team::Function function, const void* context);

  Scratch& scratch(int thread) {
    return thread == kSharedScratch ? shared_ : members_[static_cast<std::size_t>(thread)].scratch;
  }

 private:
  struct alignas(kLine) Member {
    std::atomic<std::uint64_t> range{0};  // Range
    // Where the range begins: chunk number of its 0.
    std::atomic<std::int64_t> first{0};
    Scratch scratch;
  };

  void serve(int thread);
  void work(int thread);
  bool take(int thread, int owner);
  void compute(std::int64_t chunk, int thread);
  void hand_out(std::int64_t chunks);
  void wake() {
    round_.fetch_add(1);
    round_.notify_all();
  }

  std::vector<Member> members_;
  std::vector<std::thread> threads_;
  Scratch shared_;
  // The run. Written between runs, when no chunk is left: who takes a chunk sees its own run's.
  std::atomic<std::int64_t> items_{0}, grain_{1};
  std::atomic<team::Function> function_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::uint32_t run_ = 0;
  std::atomic<bool> stop_{false};
  alignas(kLine) std::atomic<std::uint32_t> round_{0};      // counts runs: what idle threads watch
  alignas(kLine) std::atomic<std::uint32_t> remaining_{0};  // chunks not done
};

void Team::compute(std::int64_t chunk, int thread) {
  const std::int64_t grain = grain_.load(std::memory_order_relaxed);
  const std::int64_t items = items_.load(std::memory_order_relaxed);
  const auto function = function_.load(std::memory_order_relaxed);
  function(context_.load(std::memory_order_relaxed),
           {chunk * grain, std::min((chunk + 1) * grain, items), thread});
}

// Computes a chunk of `owner`'s range: the first of one's own, the last of another's, for there its
// owner, and what the processor reads ahead for it, comes latest.
bool Team::take(int thread, int owner) {
  Member& member = members_[static_cast<std::size_t>(owner)];
  std::uint64_t word = member.range.load(std::memory_order_acquire);
  for (;;) {
    Range range = unpacked(word);
    if (range.next >= range.end) return false;
    const std::int64_t first = member.first.load(std::memory_order_relaxed);
    const std::int64_t chunk = first + (thread == owner ? range.next++ : --range.end);
    if (!member.range.compare_exchange_weak(word, packed(range), std::memory_order_acq_rel,
                                            std::memory_order_acquire))
      continue;
    compute(chunk, thread);
    return true;
  }
}

// Everything this thread can get. Whoever does the last chunk wakes the caller.
void Team::work(int thread) {
  std::uint32_t done = 0;
  for (int i = 0; i < size(); ++i) {
    const int owner = (thread + i) % size();
    while (take(thread, owner)) ++done;
  }
  if (done > 0 && remaining_.fetch_sub(done, std::memory_order_acq_rel) == done)
    remaining_.notify_one();
}

void Team::serve(int thread) {
  std::uint32_t seen = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const auto is_new = [&] { return round_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(is_new)) round_.wait(seen, std::memory_order_acquire);
    seen = round_.load(std::memory_order_acquire);
    work(thread);
  }
}

void Team::hand_out(std::int64_t chunks) {
  ++run_;
  for (int t = 0; t < size(); ++t) {
    const std::int64_t first = chunks * t / size(), end = chunks * (t + 1) / size();
    Member& member = members_[static_cast<std::size_t>(t)];
    member.first.store(first, std::memory_order_relaxed);
    member.range.store(packed({run_, 0, static_cast<std::uint16_t>(end - first)}),
                       std::memory_order_release);
  }
}

void Team::run(std::int64_t items, std::int64_t grain, team::Function function,
               const void* context) {
  const std::int64_t most = kMostChunks * size();
  grain = std::max({grain, std::int64_t{1}, (items + most - 1) / most});
  const std::int64_t chunks = (items + grain - 1) / grain;
  if (size() == 1 || chunks <= 1) {
    if (items > 0) function(context, {0, items, 0});
    return;
  }
  items_.store(items, std::memory_order_relaxed);
  grain_.store(grain, std::memory_order_relaxed);
  function_.store(function, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  remaining_.store(static_cast<std::uint32_t>(chunks), std::memory_order_relaxed);
  hand_out(chunks);
  wake();
  work(0);
  const auto is_done = [&] { return remaining_.load(std::memory_order_acquire) == 0; };
  if (spin_until(is_done)) return;
  for (std::uint32_t left; (left = remaining_.load(std::memory_order_acquire)) != 0;)
    remaining_.wait(left, std::memory_order_acquire);
}

int default_threads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads);
}

// The one team of the process; made by the first run, for a process may never compute here.
struct Current {
  int threads = default_threads();
  std::unique_ptr<Team> team;

  Team& get() {
    if (!team) team = std::make_unique<Team>(threads);
    return *team;
  }
};

Current& current() {
  static Current it;
  return it;
}

}  // namespace

int team_threads() {
  return current().threads;
}

void set_team_threads(int threads) {
  threads = std::clamp(threads, 1, kMostThreads);
  if (threads == current().threads) return;
  current().team.reset();
  current().threads = threads;
}

void team::run(std::int64_t items, std::int64_t grain, Function function, const void* context) {
  current().get().run(items, grain, function, context);
}

void* scratch(int thread, std::size_t bytes) noexcept {
  return current().get().scratch(thread).at_least(bytes);
}

}  // namespace hearth::kernels::cpu
