#include "tests/emulator/block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <sys/mman.h>

#include "tests/emulator/fiber.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kLanes = 32;

enum class State { kReady, kAtBarrier, kAtMeeting, kEnded };

struct Thread {
  Fiber fiber;
  uint3 index{};
  State state = State::kReady;
  unsigned mask = 0;                // of the meeting it waits at or was at last
  const char* operation = nullptr;  // likewise
  unsigned meetings = 0;            // attended; their parity chooses the deposit
  unsigned parities = 0;            // of the lanes' deposits at the last meeting
  alignas(16) unsigned char deposit[2][kDepositBytes];
};

// The block that runs.
struct Block {
  std::vector<Thread> threads;
  std::unique_ptr<unsigned char[]> shared;
  const std::function<void()>* body = nullptr;
  Fiber scheduler;
  Thread* current = nullptr;
  int votes = 0;       // of those at the barrier
  int last_votes = 0;  // of the barrier passed last
  unsigned ended = 0;
  unsigned waiting = 0;  // at the barrier
};

Block block;
std::uint64_t launch_count = 0;

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "emulated kernel, block (%u, %u, %u) of (%u, %u, %u): %s\n", blockIdx.x,
               blockIdx.y, blockIdx.z, gridDim.x, gridDim.y, gridDim.z, what);
  for (const Thread& thread : block.threads)
    if (thread.state == State::kAtBarrier || thread.state == State::kAtMeeting)
      std::fprintf(stderr, "  thread %u waits at %s\n", thread.index.x,
                   thread.state == State::kAtBarrier ? "__syncthreads" : thread.operation);
  std::abort();
}

void* stacks() {
  static void* memory = mmap(nullptr, kStackBytes * kMostThreads, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) give_up("no memory for stacks");
  return memory;
}

void yield_from(Thread& thread) {
  Fiber::change(thread.fiber, block.scheduler);
}

void thread_main() {
  Fiber::arrived();
  (*block.body)();
  Thread& thread = *block.current;
  thread.state = State::kEnded;
  ++block.ended;
  yield_from(thread);
}

void open_barrier() {
  block.last_votes = block.votes;
  block.votes = 0;
  block.waiting = 0;
  for (Thread& thread : block.threads)
    if (thread.state == State::kAtBarrier) thread.state = State::kReady;
}

Thread& thread_of_lane(const Thread& thread, unsigned lane) {
  const unsigned first = thread.index.x / kLanes * kLanes;
  if (first + lane >= block.threads.size()) give_up("a mask names a lane that is not there");
  return block.threads[first + lane];
}

// Lets the lanes of a meeting go on when all of them are there.
void open_meeting(const Thread& last) {
  unsigned parities = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((last.mask >> lane & 1U) == 0) continue;
    const Thread& other = thread_of_lane(last, lane);
    if (other.state == State::kEnded) give_up("a mask names a lane that has ended");
    if (other.state != State::kAtMeeting || other.mask != last.mask) return;
    if (std::strcmp(other.operation, last.operation) != 0)
      give_up("lanes of a warp meet at different operations");
    parities |= (other.meetings % 2) << lane;
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((last.mask >> lane & 1U) == 0) continue;
    thread_of_lane(last, lane).state = State::kReady;
    thread_of_lane(last, lane).parities = parities;
  }
}

void run_block(const std::vector<unsigned>& order) {
  const std::size_t count = block.threads.size();
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = block.threads[i];
    thread.index = {static_cast<unsigned>(i), 0, 0};
    thread.state = State::kReady;
    thread.meetings = 0;
    thread.fiber.prepare(static_cast<char*>(stacks()) + i * kStackBytes, kStackBytes, &thread_main);
  }
  block.ended = block.waiting = 0;
  block.votes = 0;
  while (block.ended < count) {
    bool moved = false;
    for (const unsigned i : order) {
      Thread& thread = block.threads[i];
      if (thread.state != State::kReady) continue;
      moved = true;
      block.current = &thread;
      threadIdx = thread.index;
      Fiber::change(block.scheduler, thread.fiber);
    }
    if (block.ended < count && block.waiting == count - block.ended)
      open_barrier();
    else if (!moved)
      give_up("deadlock: some threads wait for others that do not come");
  }
}

}  // namespace

std::uint64_t launches() {
  return launch_count;
}

unsigned char* shared_memory() {
  return block.shared.get();
}

unsigned lane() {
  return threadIdx.x % kLanes;
}

int block_barrier(int vote) {
  Thread& thread = *block.current;
  block.votes += vote;
  ++block.waiting;
  thread.state = State::kAtBarrier;
  yield_from(thread);
  return block.last_votes;
}

WarpMeeting::WarpMeeting(unsigned mask, const char* operation, const void* value, std::size_t bytes)
    : mask_(mask) {
  Thread& thread = *block.current;
  if (!has(lane())) give_up("a lane calls a warp operation whose mask leaves it out");
  if (bytes > kDepositBytes) give_up("a warp operation on too large a value");
  std::memcpy(thread.deposit[++thread.meetings % 2], value, bytes);
  thread.mask = mask;
  thread.operation = operation;
  thread.state = State::kAtMeeting;
  open_meeting(thread);
  if (thread.state != State::kReady) yield_from(thread);
  parities_ = thread.parities;
}

const void* WarpMeeting::of_lane(unsigned lane) const {
  if (!has(lane)) give_up("a shuffle reads a lane outside its mask");
  return thread_of_lane(*block.current, lane).deposit[parities_ >> lane & 1U];
}

void run(dim3 grid, dim3 threads, std::size_t shared_bytes, const std::function<void()>& thread) {
  const std::size_t count = std::size_t{threads.x} * threads.y * threads.z;
  gridDim = grid;
  blockDim = threads;
  blockIdx = {};
  if (threads.y != 1 || threads.z != 1 || count == 0 || count > kMostThreads)
    give_up("blocks of 1 to 1024 threads in one dimension are emulated");
  std::mt19937 random(static_cast<unsigned>(++launch_count));
  block.threads.resize(count);
  block.body = &thread;
  std::vector<unsigned> order(count), blocks(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), 0U);
  std::iota(blocks.begin(), blocks.end(), 0U);
  std::shuffle(blocks.begin(), blocks.end(), random);
  for (const unsigned i : blocks) {
    blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
    block.shared = std::make_unique<unsigned char[]>(shared_bytes);
    std::memset(block.shared.get(), 0xFF, shared_bytes);
    std::shuffle(order.begin(), order.end(), random);
    run_block(order);
  }
  block.shared.reset();
}

}  // namespace emulator
