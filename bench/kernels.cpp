// Bytes per second of the CPU's linear beside a plain read of memory in the same run.
//
//   hearth-bench-kernels [rows ...]     GB/s of each format and shape, for each number of rows
//   hearth-bench-kernels hogs           a decode-like chain of linears, beside 0, 1 and 2 busy
//   threads hearth-bench-kernels pack           weights packed per second
//
// Shapes are those of Qwen3-VL-2B. Each format cycles over enough matrices that none is still in a
// cache when its turn comes again. What counts is the ratio to the read, which is measured before
// and after each format: neighbours on the machine change both.

#include "models/kernels/kernels.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>

#include "bench/plain_read.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/team.h"

namespace {

using Clock = std::chrono::steady_clock;
namespace cpu = hearth::kernels::cpu;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Unmap {
  std::size_t bytes;
  void operator()(void* memory) const { ::munmap(memory, bytes); }
};
using Memory = std::unique_ptr<char, Unmap>;

// As weights lie in the service: anonymous memory in huge pages where the system gives them.
Memory map(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    std::exit(1);
  }
  ::madvise(memory, bytes, MADV_HUGEPAGE);
  return {static_cast<char*>(memory), Unmap{bytes}};
}

struct Shape {
  const char* name;
  std::int64_t out_features, in_features;
};
constexpr Shape kShapes[] = {{"qkv", 4096, 2048},
                             {"o", 2048, 2048},
                             {"gate_up", 12288, 2048},
                             {"down", 2048, 6144},
                             {"head", 151936, 2048}};
constexpr const char* kFormats[] = {"f32", "bf16", "fp8", "int8", "int4"};
constexpr std::size_t kPoolBytes = std::size_t{1} << 30;

using hearth::bench::fold_at_level;

// GB/s of all threads of the team together over the pool.
double plain_read(const char* pool) {
  std::atomic<std::uint64_t> sink{0};  // so that nothing is optimised away
  const auto start = Clock::now();
  const auto read = fold_at_level();
  constexpr std::int64_t kPiece = 256 * 1024;
  cpu::for_chunks(static_cast<std::int64_t>(kPoolBytes / kPiece), 1, [&](cpu::Chunk chunk) {
    for (std::int64_t i = chunk.first; i < chunk.last; ++i) sink += read(pool + i * kPiece, kPiece);
  });
  return static_cast<double>(kPoolBytes) / seconds_since(start) / 1e9;
}

struct Activations {
  std::vector<std::uint16_t> input, output;
  std::vector<float> norm;
  Activations() : input(16 * 6144), output(16 * 151936), norm(6144, 1.0f) {
    for (std::size_t i = 0; i < input.size(); ++i)
      input[i] = static_cast<std::uint16_t>(0x3f00 + (i * 37 % 256) + (i % 3 == 0 ? 0x8000 : 0));
  }
};

HearthLinear make(HearthFormat format, const Shape& s, std::int64_t rows, Activations& a) {
  const bool f32 = format == HEARTH_FORMAT_F32;
  HearthLinear l{};
  l.weight = {format, s.out_features, s.in_features, nullptr, nullptr};
  l.type = f32 ? HEARTH_F32 : HEARTH_BF16;
  l.output_type = l.type;
  l.epilogue = std::strcmp(s.name, "gate_up") == 0 ? HEARTH_SWIGLU : HEARTH_STORE;
  l.rows = rows;
  static std::vector<float> floats(16 * 6144, 0.5f), outputs(16 * 151936);
  l.input = f32 ? static_cast<const void*>(floats.data()) : a.input.data();
  l.output = f32 ? static_cast<void*>(outputs.data()) : a.output.data();
  l.input_stride = 6144;
  l.output_stride = 151936;
  l.norm = s.in_features == 2048 ? a.norm.data() : nullptr;
  l.norm_epsilon = 1e-6f;
  return l;
}

std::size_t matrix_bytes(HearthFormat f, const Shape& s) {
  return hearth_matrix_bytes(f, s.out_features, s.in_features) +
         hearth_scale_bytes(f, s.out_features, s.in_features);
}

// Matrices of one shape, one behind the other in the pool.
void place(HearthLinear& l, const char* pool, std::size_t& at) {
  const HearthMatrix& m = l.weight;
  const std::size_t data = hearth_matrix_bytes(m.format, m.out_features, m.in_features);
  const std::size_t scales = hearth_scale_bytes(m.format, m.out_features, m.in_features);
  if (at + data + scales + 4096 > kPoolBytes) at = 0;
  l.weight.data = pool + at;
  l.weight.scales = pool + at + data;
  at = (at + data + scales + 63) / 64 * 64;
}

double one_shape(HearthFormat format, const Shape& s, std::int64_t rows, const char* pool,
                 Activations& a) {
  HearthLinear l = make(format, s, rows, a);
  std::size_t at = 0, bytes = 0;
  const std::size_t per_call = matrix_bytes(format, s);
  const auto start = Clock::now();
  while (bytes < kPoolBytes) {
    place(l, pool, at);
    if (hearth_kernels_cpu()->linear(&l, nullptr) != HEARTH_OK) std::abort();
    bytes += per_call;
  }
  return static_cast<double>(bytes) / seconds_since(start) / 1e9;
}

void measure_formats(const std::vector<std::int64_t>& row_counts, const char* pool) {
  Activations a;
  for (const HearthFormat format : {HEARTH_FORMAT_BF16, HEARTH_FORMAT_FP8, HEARTH_FORMAT_INT8,
                                    HEARTH_FORMAT_INT4, HEARTH_FORMAT_F32})
    for (const std::int64_t rows : row_counts) {
      const double before = plain_read(pool);
      std::printf("%-5s rows %2lld:", kFormats[format], static_cast<long long>(rows));
      double seconds = 0.0, bytes = 0.0;
      for (const Shape& s : kShapes) {
        if (matrix_bytes(format, s) > kPoolBytes / 2) continue;  // f32's head
        const double rate = one_shape(format, s, rows, pool, a);
        const double layers = std::strcmp(s.name, "head") == 0 ? 1 : 28;
        const double mine = layers * static_cast<double>(matrix_bytes(format, s)) / 1e9;
        seconds += mine / rate;
        bytes += mine;
        std::printf(" %s %5.1f", s.name, rate);
      }
      const double read = (before + plain_read(pool)) / 2, all = bytes / seconds;
      std::printf(" | model %5.1f GB/s, read %5.1f: %.3f of it, %5.1f tokens/s\n", all, read,
                  all / read, static_cast<double>(rows) / seconds);
      std::fflush(stdout);
    }
}

// One token's linears as a step runs them: ms.
double one_token(HearthFormat format, const char* pool, std::size_t& at, Activations& a) {
  const auto start = Clock::now();
  for (int layer = 0; layer < 28; ++layer)
    for (int i = 0; i < 4; ++i) {
      HearthLinear l = make(format, kShapes[i], 1, a);
      place(l, pool, at);
      hearth_kernels_cpu()->linear(&l, nullptr);
    }
  HearthLinear head = make(format, kShapes[4], 1, a);
  place(head, pool, at);
  hearth_kernels_cpu()->linear(&head, nullptr);
  return seconds_since(start) * 1e3;
}

void measure_hogs(const char* pool) {
  Activations a;
  for (const HearthFormat format : {HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT4})
    for (int hogs = 0; hogs <= 2; ++hogs) {
      std::atomic<bool> stop{false};
      std::vector<std::thread> busy;
      for (int i = 0; i < hogs; ++i)
        busy.emplace_back([&] {
          while (!stop.load(std::memory_order_relaxed)) {
          }
        });
      std::vector<double> times;
      std::size_t at = 0;
      for (int token = 0; token < 40; ++token) times.push_back(one_token(format, pool, at, a));
      stop = true;
      for (std::thread& thread : busy) thread.join();
      std::sort(times.begin(), times.end());
      double sum = 0.0;
      for (const double t : times) sum += t;
      std::printf("%-5s hogs %d: mean %.1f ms, median %.1f, worst %.1f\n", kFormats[format], hogs,
                  sum / static_cast<double>(times.size()), times[times.size() / 2], times.back());
      std::fflush(stdout);
    }
}

void measure_packing(char* pool) {
  constexpr std::int64_t kOut = 4096, kIn = 2048;
  for (std::size_t i = 0; i < kOut * kIn; ++i)
    reinterpret_cast<std::uint16_t*>(pool)[i] = static_cast<std::uint16_t>(
        0x3c00 + (i * 2654435761U >> 20) % 512 + (i * 40503U >> 9 & 1) * 0x8000);
  for (const HearthFormat format : {HEARTH_FORMAT_FP8, HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT4}) {
    char* target = pool + kOut * kIn * 2;
    const HearthMatrix matrix{format, kOut, kIn, target,
                              target + hearth_matrix_bytes(format, kOut, kIn)};
    hearth_pack_begin(&matrix);
    const HearthPack pack{matrix, HEARTH_BF16, pool, kOut, 0, 1};
    const auto start = Clock::now();
    if (hearth_pack(&pack) != HEARTH_OK) std::abort();
    std::printf("%-5s packed on one thread: %.2f G weights/s\n", kFormats[format],
                static_cast<double>(kOut * kIn) / seconds_since(start) / 1e9);
  }
}

}  // namespace

int main(int count, char** words) {
  Memory pool = map(kPoolBytes);
  // Bytes that are no denormal numbers and no NaN in any format.
  for (std::size_t i = 0; i < kPoolBytes / 4; ++i)
    reinterpret_cast<std::uint32_t*>(pool.get())[i] =
        0x3c003c00U ^ (static_cast<std::uint32_t>(i) * 2654435761U & 0x83ff83ffU);
  std::printf("level %s, %d threads\n", cpu::level_name(cpu::level()), cpu::team_threads());
  std::vector<std::int64_t> rows;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(words[i], "hogs") == 0) {
      measure_hogs(pool.get());
      return 0;
    }
    if (std::strcmp(words[i], "pack") == 0) {
      measure_packing(pool.get());
      return 0;
    }
    rows.push_back(std::clamp(std::atoll(words[i]), 1LL, 16LL));
  }
  measure_formats(rows.empty() ? std::vector<std::int64_t>{1} : rows, pool.get());
  return 0;
}
