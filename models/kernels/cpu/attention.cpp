// Decode attention: parts of HEARTH_SPLIT_TOKENS for each row and key head, claimed by the team.
// Whoever finishes a row's last part joins all of them, in order, so that neither threads nor
// company change a bit.

#include <atomic>
#include <cstring>

#include "models/kernels/cache.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/rows.h"
#include "models/kernels/cpu/share.h"
#include "models/kernels/workspace.h"

namespace hearth::kernels {
namespace {

std::int64_t parts_of(const HearthAttention& call, std::int64_t row) {
  return split_count(std::int64_t{call.index[row]} + 1);
}

// i32 [rows, kv_heads]: parts that are done.
std::int32_t* counters(const HearthAttention& call) {
  char* workspace = static_cast<char*>(call.workspace);
  return reinterpret_cast<std::int32_t*>(workspace + attention_counters_at(call.rows, call.heads,
                                                                           call.cache.head_dim,
                                                                           call.most_tokens));
}

void write_zeros(const HearthAttention& call, std::int64_t row) {
  const std::int64_t size = cpu::type_bytes(call.type);
  std::memset(static_cast<char*>(call.output) + row * call.output_stride * size, 0,
              static_cast<std::size_t>(call.heads * call.cache.head_dim * size));
}

// The most parts that a row has; rows without a token get their zeros.
std::int64_t most_parts(const HearthAttention& call) {
  std::int64_t most = 0;
  for (std::int64_t row = 0; row < call.rows; ++row) {
    most = std::max(most, parts_of(call, row));
    if (call.index[row] < 0) write_zeros(call, row);
  }
  return most;
}

bool fits(const HearthAttention& call) {
  for (std::int64_t row = 0; row < call.rows; ++row)
    if (call.index[row] >= call.most_tokens) return false;
  return call.cache.head_dim <= cpu::kMostHeadDim;
}

void compute_part(const HearthAttention& call, const cpu::RowFunctions& functions,
                  cpu::AttentionPart part) {
  const std::int64_t parts = parts_of(call, part.row);
  if (part.split >= parts) return;
  functions.attention_part(call, part);
  for (std::int64_t head = part.kv_head; head < part.kv_head + part.kv_heads; ++head) {
    std::atomic_ref<std::int32_t> done(counters(call)[part.row * call.cache.kv_heads + head]);
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == parts)
      functions.attention_join(call, part.row, head);
  }
}

// Key heads of a part: the more, the longer the pieces of memory that are read in one go; but there
// must be enough parts for all threads to end together.
std::int64_t kv_heads_of_part(const HearthAttention& call, std::int64_t parts) {
  const std::int64_t group = call.heads / call.cache.kv_heads;
  std::int64_t together = std::clamp<std::int64_t>(cpu::kPartHeads / group, 1, call.cache.kv_heads);
  const auto ranges = [&] { return (call.cache.kv_heads + together - 1) / together; };
  while (together > 1 && call.rows * parts * ranges() < 4 * cpu::team_threads())
    together = (together + 1) / 2;
  return together;
}

}  // namespace

HearthStatus cpu::attention(const HearthAttention* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  if (!fits(*call)) return HEARTH_BAD_ARGUMENT;
  const std::int64_t kv_heads = call->cache.kv_heads;
  std::memset(counters(*call), 0,
              static_cast<std::size_t>(call->rows * kv_heads) * sizeof(std::int32_t));
  const std::int64_t parts = most_parts(*call);
  const RowFunctions& functions = row_functions(level());
  const std::int64_t together = kv_heads_of_part(*call, parts);
  const std::int64_t ranges = (kv_heads + together - 1) / together;
  const std::int64_t token_bytes = 2 * together * call->cache.head_dim * type_bytes(call->type);
  const std::int64_t tokens = std::min<std::int64_t>(call->most_tokens, HEARTH_SPLIT_TOKENS);
  share(call->rows * ranges * parts, tokens * token_bytes, [&](std::int64_t item) {
    const std::int64_t first = item / parts % ranges * together;
    compute_part(
        *call, functions,
        {item / parts / ranges, first, std::min(together, kv_heads - first), item % parts});
  });
  return HEARTH_OK;
}

HearthStatus cpu::gather(const HearthGather* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const HearthCache& cache = call->cache;
  const std::int64_t token_bytes = cache.head_dim * type_bytes(cache.type);
  const std::int64_t pages = (call->tokens + HEARTH_PAGE_TOKENS - 1) / HEARTH_PAGE_TOKENS;
  const auto copy = [&](std::int64_t head, std::int64_t first, CachePart part, void* to) {
    const std::int64_t count = std::min<std::int64_t>(call->tokens - first, HEARTH_PAGE_TOKENS);
    const std::int64_t block = block_offset(cache, page_of(cache, call->slot, first), part, head);
    std::memcpy(static_cast<char*>(to) + (head * call->tokens + first) * token_bytes,
                static_cast<const char*>(cache.pages) + block * type_bytes(cache.type),
                static_cast<std::size_t>(count * token_bytes));
  };
  share(cache.kv_heads * pages, 4 * HEARTH_PAGE_TOKENS * token_bytes, [&](std::int64_t item) {
    const std::int64_t first = item % pages * HEARTH_PAGE_TOKENS;
    copy(item / pages, first, CachePart::kKeys, call->keys);
    copy(item / pages, first, CachePart::kValues, call->values);
  });
  return HEARTH_OK;
}

}  // namespace hearth::kernels
