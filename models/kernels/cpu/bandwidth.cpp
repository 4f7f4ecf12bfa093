#include "models/kernels/cpu/bandwidth.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include <sys/mman.h>

#include "models/kernels/cpu/team.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace hearth::kernels::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kBlockBytes = 256 << 10;
constexpr std::int64_t kThreadBytes = 8 << 20;  // enough for a pass to outlast its start
constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;
constexpr std::int64_t kLineBytes = 64;
constexpr int kPasses = 5;

class Memory {
 public:
  explicit Memory(std::int64_t bytes) : bytes_(bytes) {
    void* const mapped = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped != MAP_FAILED) begin_ = static_cast<char*>(mapped);
  }
  ~Memory() {
    if (begin_ != nullptr) ::munmap(begin_, static_cast<std::size_t>(bytes_));
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  char* block(std::int64_t number) const { return begin_ + number * kBlockBytes; }
  std::int64_t blocks() const { return begin_ == nullptr ? 0 : bytes_ / kBlockBytes; }
  std::int64_t bytes() const { return bytes_; }

 private:
  const std::int64_t bytes_;
  char* begin_ = nullptr;
};

template <class Each>
void for_blocks(const Memory& memory, const Each& each) {
  for_chunks(memory.blocks(), 1, [&](Chunk chunk) {
    for (std::int64_t i = chunk.first; i < chunk.last; ++i) each(memory.block(i));
  });
}

// Several sums at once, so that no addition waits for the one before.
std::uint64_t sum(const char* block) {
  constexpr std::size_t kSums = 8;
  std::array<std::uint64_t, kSums> sums{};
  for (std::int64_t offset = 0; offset < kBlockBytes; offset += sizeof(sums)) {
    std::array<std::uint64_t, kSums> read;
    std::memcpy(read.data(), block + offset, sizeof(read));
    for (std::size_t i = 0; i < kSums; ++i) sums[i] += read[i];
  }
  std::uint64_t all = 0;
  for (const std::uint64_t one : sums) all += one;
  return all;
}

#if defined(__x86_64__)
constexpr bool kCanFlush = true;
void flush(const char* block) {
  for (std::int64_t offset = 0; offset < kBlockBytes; offset += kLineBytes)
    _mm_clflush(block + offset);
  _mm_mfence();
}
#else
constexpr bool kCanFlush = false;
void flush(const char*) {}
#endif

}  // namespace

std::uint64_t measure_bandwidth(std::chrono::milliseconds limit) {
  const Clock::time_point deadline = Clock::now() + limit;
  const Memory memory(std::min(kThreadBytes * team_threads(), kMostBytes));
  if (!kCanFlush || memory.blocks() == 0) return 0;
  for_blocks(memory, [&](char* block) {
    if (Clock::now() < deadline) std::memset(block, 1, kBlockBytes);
  });
  std::atomic<std::uint64_t> total = 0;  // so that nothing is read in vain
  double best = 0.0;
  for (int pass = 0; pass < kPasses && Clock::now() < deadline; ++pass) {
    for_blocks(memory, flush);
    const Clock::time_point begin = Clock::now();
    for_blocks(memory, [&](const char* block) { total += sum(block); });
    const std::chrono::duration<double> took = Clock::now() - begin;
    best = std::max(best, static_cast<double>(memory.bytes()) / took.count());
  }
  return total == 0 ? 0 : static_cast<std::uint64_t>(best);
}

}  // namespace hearth::kernels::cpu
