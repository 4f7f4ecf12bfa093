// The CPU's decode attention beside a plain read of memory, and what norms, SwiGLU, rotation and
// sampling take.
//
//   hearth-bench-rows            all of them
//   hearth-bench-rows attention  one
//
// Shapes are those of Qwen3-VL-2B: 16 query heads on 8 key heads of 128 in bf16, 28 layers, 151,936
// logits. Every layer has pages of its own, scattered over a pool far beyond the caches, so keys
// and values come from memory as they do in a decode. What counts is the ratio to the read.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <sys/mman.h>

#include "bench/plain_read.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/team.h"
#include "models/kernels/kernels.h"

namespace {

using Clock = std::chrono::steady_clock;
namespace cpu = hearth::kernels::cpu;

constexpr std::size_t kPoolBytes = std::size_t{1} << 30;
constexpr std::int64_t kHeads = 16, kKvHeads = 8, kHeadDim = 128, kLayers = 28;
constexpr std::int64_t kTokenBytes = 2 * kKvHeads * kHeadDim * 2;  // of one layer
constexpr std::int64_t kPageBytes = kTokenBytes * HEARTH_PAGE_TOKENS;

// The best of several: neighbours on the machine only make it slower.
double best_ms(int times, const std::function<void()>& work) {
  double best = 1e30;
  for (int i = 0; i < times; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  return best;
}

void must(HearthStatus status) {
  if (status == HEARTH_OK) return;
  std::fprintf(stderr, "a kernel refused its call: %d\n", status);
  std::exit(1);
}

class Pool {
 public:
  Pool() {
    void* memory =
        ::mmap(nullptr, kPoolBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      std::perror("mmap");
      std::exit(1);
    }
    ::madvise(memory, kPoolBytes, MADV_HUGEPAGE);
    numbers_ = static_cast<std::uint16_t*>(memory);
    for (std::size_t i = 0; i < kPoolBytes / 2; ++i)
      numbers_[i] = static_cast<std::uint16_t>(0x3d00U + (i * 40503U >> 7) % 512U);
  }
  ~Pool() { ::munmap(numbers_, kPoolBytes); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void* data() { return numbers_; }

  // GB/s of the whole team.
  double read() const {
    constexpr std::int64_t kPiece = 256 * 1024;
    std::atomic<std::uint64_t> sink{0};  // so that nothing is optimised away
    const auto read = hearth::bench::fold_at_level();
    const char* memory = reinterpret_cast<const char*>(numbers_);
    const double ms = best_ms(3, [&] {
      cpu::for_chunks(kPoolBytes / kPiece, 1, [&](cpu::Chunk chunk) {
        for (std::int64_t piece = chunk.first; piece < chunk.last; ++piece)
          sink += read(memory + piece * kPiece, kPiece);
      });
    });
    return static_cast<double>(kPoolBytes) / ms / 1e6;
  }

 private:
  std::uint16_t* numbers_;
};

void measure_attention(Pool& pool, std::int64_t rows, std::int64_t tokens) {
  const std::int64_t stride = (tokens + HEARTH_PAGE_TOKENS - 1) / HEARTH_PAGE_TOKENS;
  const std::int64_t pages = static_cast<std::int64_t>(kPoolBytes) / kPageBytes;
  const std::int64_t layers = std::min(kLayers, pages / (rows * stride));
  std::vector<std::int32_t> order(static_cast<std::size_t>(pages));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::vector<std::int32_t> slot(static_cast<std::size_t>(rows)), index(slot.size());
  std::iota(slot.begin(), slot.end(), 0);
  std::fill(index.begin(), index.end(), static_cast<std::int32_t>(tokens - 1));
  std::vector<std::uint16_t> query(static_cast<std::size_t>(rows * kHeads * kHeadDim), 0x3e00);
  std::vector<std::uint16_t> output(query.size());
  const std::size_t workspace_bytes =
      hearth_attention_workspace_bytes(rows, kHeads, kHeadDim, tokens);
  std::unique_ptr<void, void (*)(void*)> workspace(
      std::aligned_alloc(64, (workspace_bytes + 63) / 64 * 64), &std::free);
  HearthAttention call{.type = HEARTH_BF16,
                       .rows = rows,
                       .heads = kHeads,
                       .query = query.data(),
                       .query_stride = kHeads * kHeadDim,
                       .slot = slot.data(),
                       .index = index.data(),
                       .most_tokens = tokens,
                       .scale = 0.0884F,
                       .cache = {HEARTH_BF16, pool.data(), nullptr, stride, kKvHeads, kHeadDim},
                       .output = output.data(),
                       .output_stride = kHeads * kHeadDim,
                       .workspace = workspace.get()};
  const double read = pool.read();
  const double ms = best_ms(5, [&] {
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      call.cache.table = order.data() + layer * rows * stride;
      must(hearth_kernels_cpu()->attention(&call, nullptr));
    }
  });
  const double bytes = static_cast<double>(layers * rows * tokens * kTokenBytes);
  const double rate = bytes / ms / 1e6;
  std::printf(
      "attention rows %lld tokens %4lld: %6.3f ms a layer, %5.1f GB/s, %.2f of %5.1f read\n",
      static_cast<long long>(rows), static_cast<long long>(tokens),
      ms / static_cast<double>(layers), rate, rate / read, read);
}

void measure_rows(Pool& pool, std::int64_t rows) {
  constexpr std::int64_t kWidth = 2048, kInner = 6144, kQkv = 4096;
  auto* bf16 = static_cast<std::uint16_t*>(pool.data());
  std::vector<float> ones(kInner, 1.0F), angles(static_cast<std::size_t>(rows * kHeadDim), 0.5F);
  const HearthRmsNorm norm{.type = HEARTH_BF16,
                           .rows = rows,
                           .width = kWidth,
                           .input = bf16,
                           .input_stride = kWidth,
                           .residual = nullptr,
                           .residual_stride = 0,
                           .weight = ones.data(),
                           .epsilon = 1e-6F,
                           .output = bf16 + rows * kWidth,
                           .output_stride = kWidth};
  const HearthSwiGlu glu{.type = HEARTH_BF16,
                         .rows = rows,
                         .width = kInner,
                         .input = bf16,
                         .input_stride = 2 * kInner,
                         .output = bf16 + 2 * rows * kInner,
                         .output_stride = kInner};
  std::vector<std::int32_t> table(64), slot(static_cast<std::size_t>(rows)), index(slot.size());
  std::iota(table.begin(), table.end(), 0);
  std::iota(index.begin(), index.end(), 0);
  const HearthRopeWrite write{
      .type = HEARTH_BF16,
      .rows = rows,
      .heads = kHeads,
      .qkv = bf16,
      .qkv_stride = kQkv,
      .q_norm = ones.data(),
      .k_norm = ones.data(),
      .norm_epsilon = 1e-6F,
      .cosines = angles.data(),
      .sines = angles.data(),
      .slot = slot.data(),
      .index = index.data(),
      .cache = {HEARTH_BF16, bf16 + rows * kQkv, table.data(), 64, kKvHeads, kHeadDim}};
  std::vector<std::int32_t> position(static_cast<std::size_t>(3 * rows), 1000);
  std::vector<std::uint8_t> axis(kHeadDim / 2);
  const HearthRopeAngles turn{.rows = rows,
                              .half = kHeadDim / 2,
                              .position = position.data(),
                              .frequency = ones.data(),
                              .axis = axis.data(),
                              .cosines = angles.data(),
                              .sines = angles.data()};
  const HearthKernels& table_of = *hearth_kernels_cpu();
  std::printf("rows %3lld: rms_norm %.4f ms, swiglu %.4f, rope_write %.4f, rope_angles %.4f\n",
              static_cast<long long>(rows),
              best_ms(20, [&] { must(table_of.rms_norm(&norm, nullptr)); }),
              best_ms(20, [&] { must(table_of.swiglu(&glu, nullptr)); }),
              best_ms(20, [&] { must(table_of.rope_write(&write, nullptr)); }),
              best_ms(20, [&] { must(table_of.rope_angles(&turn, nullptr)); }));
}

void measure_sampling() {
  constexpr std::int64_t kVocabulary = 151936;
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  std::vector<float> logits(kVocabulary);
  for (float& logit : logits) logit = normal(random);
  std::vector<std::uint16_t> counts(kVocabulary);
  std::vector<char> workspace(hearth_sample_workspace_bytes(1, kVocabulary));
  std::vector<HearthSampled> ring(16);
  struct Setting {
    const char* name;
    float temperature, top_p, presence;
    std::int32_t top_k;
  };
  for (const Setting& s :
       {Setting{"greedy", 0.0F, 1.0F, 0.0F, 0}, Setting{"greedy, penalties", 0.0F, 1.0F, 1.5F, 0},
        Setting{"top-k 20, top-p 0.8", 0.7F, 0.8F, 0.0F, 20},
        Setting{"top-k 20, top-p 0.8, penalties", 0.7F, 0.8F, 1.5F, 20},
        Setting{"top-k 1000", 1.0F, 1.0F, 0.0F, 1000}, Setting{"all", 1.0F, 1.0F, 0.0F, 0},
        Setting{"top-p 0.95 of all", 1.0F, 0.95F, 0.0F, 0}}) {
    HearthSlot slot{};
    slot.most_steps = 1 << 30;
    slot.temperature = s.temperature;
    slot.top_p = s.top_p;
    slot.typical_p = 1.0F;
    slot.top_k = s.top_k;
    slot.repetition_penalty = 1.0F;
    slot.presence_penalty = s.presence;
    const std::int32_t number = 0;
    std::uint64_t head = 0;
    const HearthSample call{.rows = 1,
                            .vocabulary = kVocabulary,
                            .logits = logits.data(),
                            .logits_stride = kVocabulary,
                            .slot = &number,
                            .slots = &slot,
                            .counts = counts.data(),
                            .masks = nullptr,
                            .first = 0,
                            .ring = ring.data(),
                            .ring_size = 16,
                            .ring_head = &head,
                            .workspace = workspace.data()};
    std::printf("sample %-31s %.3f ms\n", s.name,
                best_ms(20, [&] { must(hearth_kernels_cpu()->sample(&call, nullptr)); }));
  }
}

}  // namespace

int main(int count, char** words) {
  const auto wanted = [&](const char* name) {
    return count < 2 || std::strcmp(words[1], name) == 0;
  };
  Pool pool;
  std::printf("level %s, %d threads\n", cpu::level_name(cpu::level()), cpu::team_threads());
  if (wanted("attention"))
    for (const std::int64_t rows : {1, 8})
      for (const std::int64_t tokens : {128, 1024, 4096}) measure_attention(pool, rows, tokens);
  if (wanted("rows"))
    for (const std::int64_t rows : {1, 16, 512}) measure_rows(pool, rows);
  if (wanted("sample")) measure_sampling();
  return 0;
}
