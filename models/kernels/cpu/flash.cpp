// Attention of many rows. A job is a block of query rows with one key head: it goes over the keys
// in parts, packs a part as right tiles, and joins the part's result with what came before.

#include <algorithm>
#include <cstddef>

#include "models/kernels/cpu/amx.h"
#include "models/kernels/cpu/amx_tiles.h"
#include "models/kernels/cpu/flash_pack.h"
#include "models/kernels/cpu/flash_softmax.h"
#include "models/kernels/cpu/team.h"
#include "models/kernels/gemm.h"

namespace hearth::kernels::cpu {
namespace {

constexpr std::int64_t kMostRows = 256;  // of a job
constexpr std::int64_t kLeastRows = 64;  // where jobs are made smaller to occupy all threads
constexpr std::int64_t kRowBlocks = kMostRows / kBlock;
constexpr std::int64_t kMostHeadDim = 256;

// Memory of a thread, by the pieces' sizes for a head_dim.
struct JobMemory {
  char* queries;         // [row blocks][channel steps][2 tiles]
  char* keys;            // [kPartKeys / kBlock][channel steps][2 tiles]
  char* values;          // [channel blocks][kPartSteps][2 tiles]
  char* weights;         // [kPartSteps][2 tiles]
  float* scores;         // [kPartKeys / kBlock] blocks
  float* sums;           // [row blocks][channel blocks] blocks
  SoftmaxState* states;  // [row blocks]

  static std::size_t bytes(std::int64_t steps) {
    return static_cast<std::size_t>(
        steps * kStepBytes * (kRowBlocks + 2 * kPartSteps) + kPartSteps * kStepBytes +
        (kPartSteps + kRowBlocks * steps) * kBlockFloats * std::int64_t{sizeof(float)} +
        kRowBlocks * std::int64_t{sizeof(SoftmaxState)});
  }

  JobMemory(void* memory, std::int64_t steps) {
    char* next = static_cast<char*>(memory);
    const auto take = [&](std::int64_t bytes) {
      char* piece = next;
      next += bytes;
      return piece;
    };
    queries = take(kRowBlocks * steps * kStepBytes);
    keys = take(kPartSteps * steps * kStepBytes);
    values = take(kPartSteps * steps * kStepBytes);
    weights = take(kPartSteps * kStepBytes);
    constexpr std::int64_t kBlockBytes = kBlockFloats * std::int64_t{sizeof(float)};
    scores = reinterpret_cast<float*>(take(kPartSteps * kBlockBytes));
    sums = reinterpret_cast<float*>(take(kRowBlocks * steps * kBlockBytes));
    states = reinterpret_cast<SoftmaxState*>(next);
  }
};
static_assert(kBlock == kTileDepth, "a step of keys is a block of scores");

// Keys [first, last) of a job.
struct Part {
  std::int64_t first, last;
};

// Scores, weights and the product with the values of one block of rows.
HEARTH_AMX void attend_block(const FlashJob& job, const Part& part, std::int64_t block,
                             const JobMemory& memory) {
  const std::int64_t steps = channel_steps(job.flash.head_dim);
  const std::int64_t row = block * kBlock;
  const std::int64_t rows = std::min<std::int64_t>(job.rows() - row, kBlock);
  PartScores scores{memory.scores, 0, {}, job.flash.scale, part.first == job.begin};
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t end = std::min(job.visible_end(row + i), part.last);
    const std::int64_t visible = std::max<std::int64_t>(end - part.first, 0);
    scores.visible[static_cast<std::size_t>(i)] = visible;
    scores.keys = std::max(scores.keys, visible);
  }
  if (scores.keys == 0) return;
  const bool lower = rows > kTileRows;
  const auto key_steps = static_cast<int>((scores.keys + kTileDepth - 1) / kTileDepth);
  const char* queries = memory.queries + block * steps * kStepBytes;
  for (int i = 0; i < key_steps; ++i)
    multiply_block({queries, memory.keys + i * steps * kStepBytes, static_cast<int>(steps),
                    Sums::kFresh, lower},
                   memory.scores + i * kBlockFloats);
  float factors[kBlock];
  weigh_part(scores, rows, memory.states[block], memory.weights, factors);
  float* sums = memory.sums + block * steps * kBlockFloats;
  if (!scores.first) scale_rows(factors, rows, steps, sums);
  const Sums start = scores.first ? Sums::kFresh : Sums::kAdded;
  for (std::int64_t i = 0; i < steps; ++i)
    multiply_block(
        {memory.weights, memory.values + i * kPartSteps * kStepBytes, key_steps, start, lower},
        sums + i * kBlockFloats);
}

void attend(const FlashJob& job, const JobMemory& memory) {
  const TileScope tiles;
  const std::int64_t steps = channel_steps(job.flash.head_dim);
  const std::int64_t blocks = (job.rows() + kBlock - 1) / kBlock;
  for (std::int64_t block = 0; block < blocks; ++block)
    pack_queries(job, block * kBlock, memory.queries + block * steps * kStepBytes);
  for (std::int64_t first = job.begin; first < job.end; first += kPartKeys) {
    const Part part{first, std::min(first + kPartKeys, job.end)};
    for (std::int64_t key = part.first; key < part.last; key += kBlock)
      pack_keys(job, key, part.last,
                memory.keys + (key - part.first) / kBlock * steps * kStepBytes);
    pack_values(job, part.first, part.last, kPartSteps, memory.values);
    for (std::int64_t block = 0; block < blocks; ++block) attend_block(job, part, block, memory);
  }
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t row = block * kBlock;
    write_rows(job, row, std::min<std::int64_t>(job.rows() - row, kBlock), memory.states[block],
               memory.sums + block * steps * kBlockFloats);
  }
}

// The tokens of a job, which all lie in one segment.
struct TokenBlock {
  std::int32_t segment, first;
};

// Cuts the rows into blocks of `tokens`; null: only counts them.
std::int64_t cut(const HearthFlash& flash, std::int64_t tokens, TokenBlock* blocks) {
  std::int64_t count = 0;
  const std::int64_t segments = flash.segments != nullptr ? flash.segment_count : 1;
  for (std::int64_t s = 0; s < segments; ++s) {
    const std::int64_t begin = flash.segments != nullptr ? flash.segments[s] : 0;
    const std::int64_t end = flash.segments != nullptr ? flash.segments[s + 1] : flash.rows;
    for (std::int64_t first = begin; first < end; first += tokens, ++count)
      if (blocks != nullptr)
        blocks[count] = {static_cast<std::int32_t>(s), static_cast<std::int32_t>(first)};
  }
  return count;
}

FlashJob job_of(const HearthFlash& flash, std::int64_t kv_head, const TokenBlock& block,
                std::int64_t tokens) {
  FlashJob job{flash, kv_head, block.first, 0, 0, 0};
  if (flash.segments != nullptr) {
    job.begin = flash.segments[block.segment];
    job.end = flash.segments[block.segment + 1];
    job.last = std::min(job.first + tokens, job.end);
  } else {
    job.last = std::min(job.first + tokens, flash.rows);
    job.end = flash.first + job.last;
  }
  return job;
}

// Tokens of a job: large, so that packed keys serve many rows, but jobs enough for all threads.
std::int64_t job_tokens(const HearthFlash& flash) {
  const std::int64_t group = flash.heads / flash.kv_heads;
  std::int64_t rows = kMostRows;
  while (rows > kLeastRows &&
         flash.kv_heads * (flash.rows * group / rows) < std::int64_t{2} * team_threads())
    rows /= 2;
  return std::max<std::int64_t>(rows / group, 1);
}

void run(const HearthFlash& flash) {
  const std::int64_t tokens = job_tokens(flash);
  const std::int64_t count = cut(flash, tokens, nullptr);
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(TokenBlock);
  auto* blocks = static_cast<TokenBlock*>(scratch(kSharedScratch, bytes));
  cut(flash, tokens, blocks);
  const std::int64_t steps = channel_steps(flash.head_dim);
  for_chunks(flash.kv_heads * count, 1, [&](Chunk part) {
    const JobMemory memory(scratch(part.thread, JobMemory::bytes(steps)), steps);
    for (std::int64_t i = part.first; i < part.last; ++i)
      attend(job_of(flash, i / count, blocks[i % count], tokens), memory);
  });
}

bool are_segments_sound(const HearthFlash& flash) {
  if (flash.segment_count < 1 || flash.rows != flash.length) return false;
  if (flash.segments[0] != 0 || flash.segments[flash.segment_count] != flash.rows) return false;
  for (std::int64_t s = 0; s < flash.segment_count; ++s)
    if (flash.segments[s] > flash.segments[s + 1]) return false;
  return true;
}

HearthStatus check(const HearthFlash* flash) {
  if (flash == nullptr || flash->query == nullptr || flash->keys == nullptr ||
      flash->values == nullptr || flash->output == nullptr)
    return HEARTH_BAD_ARGUMENT;
  if (flash->rows < 1 || flash->rows > INT32_MAX || flash->kv_heads < 1 ||
      flash->heads < flash->kv_heads || flash->heads % flash->kv_heads != 0 ||
      flash->heads / flash->kv_heads > kMostRows || flash->head_dim < 1 ||
      flash->head_dim > kMostHeadDim || !(flash->scale > 0.0F))
    return HEARTH_BAD_ARGUMENT;
  const std::int64_t width = flash->heads * flash->head_dim;
  if (flash->query_stride < width || flash->output_stride < width ||
      flash->token_stride < flash->head_dim)
    return HEARTH_BAD_ARGUMENT;
  if (flash->segments != nullptr)
    return are_segments_sound(*flash) ? HEARTH_OK : HEARTH_BAD_ARGUMENT;
  const bool seen = flash->first >= 0 && flash->first + flash->rows <= flash->length;
  return seen ? HEARTH_OK : HEARTH_BAD_ARGUMENT;
}

}  // namespace
}  // namespace hearth::kernels::cpu

HearthStatus hearth_flash_cpu(const HearthFlash* flash) {
  using namespace hearth::kernels::cpu;
  if (const HearthStatus status = check(flash); status != HEARTH_OK) return status;
  if (!has_amx()) return HEARTH_UNSUPPORTED;
  run(*flash);
  return HEARTH_OK;
}
