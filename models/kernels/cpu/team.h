// The threads that compute the cpu kernels together: started once, kept, asleep between steps.
//
// Work is cut into chunks. Each thread takes those of its own range from the front, so that it
// reads memory in one stream, and then helps others from the back of theirs. Nobody waits for a
// thread that has not begun: one that another program keeps from running delays at most the chunk
// in its hands. Idle threads spin for a moment, then sleep.
//
// Threads: run() and set_threads() from one thread at a time; it computes, too. Nothing is
// allocated after the start but scratch, at its first use.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::kernels::cpu {

inline constexpr int kMostThreads = 256;

// Items [first, last) of a run; `thread` < team_threads() is who computes them.
struct Chunk {
  std::int64_t first, last;
  int thread;
};

// Threads of the team, the caller's included. One for each processor unless set_team_threads() said
// otherwise.
int team_threads();

// Ends the team and starts one of `threads` (at least 1, at most kMostThreads) with the next run.
void set_team_threads(int threads);

namespace team {
using Function = void (*)(const void* context, Chunk chunk);
void run(std::int64_t items, std::int64_t grain, Function function, const void* context);
}  // namespace team

// Calls compute(Chunk) until all of [0, items) is done, in chunks of `grain` items (the last may be
// smaller; more than 2^16 chunks for each thread are not made, they grow instead). Which thread
// computes which chunk is left open: the result must not depend on it.
template <class Compute>
void for_chunks(std::int64_t items, std::int64_t grain, const Compute& compute) {
  team::run(
      items, grain,
      [](const void* context, Chunk chunk) { (*static_cast<const Compute*>(context))(chunk); },
      &compute);
}

// 64-byte aligned memory of at least `bytes` that belongs to `thread` inside a chunk, and with
// kSharedScratch to the caller of run(). Its content is lost when a larger one is asked for and by
// the next kernel. Where there is no memory for it, the process ends.
inline constexpr int kSharedScratch = -1;
void* scratch(int thread, std::size_t bytes) noexcept;

}  // namespace hearth::kernels::cpu
