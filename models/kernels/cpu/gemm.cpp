// Work is cut by output features. A thread unpacks 32 features by 512 inputs of the weights, as
// many as the first-level cache holds, and multiplies them with up to 512 rows, which stay in the
// second level; sums of unfinished products wait in its scratch.

#include "models/kernels/gemm.h"

#include <algorithm>

#include "models/kernels/check.h"
#include "models/kernels/cpu/amx.h"
#include "models/kernels/cpu/amx_tiles.h"
#include "models/kernels/cpu/gemm_finish.h"
#include "models/kernels/cpu/gemm_panel.h"
#include "models/kernels/cpu/gemm_rows.h"
#include "models/kernels/cpu/team.h"

namespace hearth::kernels::cpu {
namespace {

constexpr std::int64_t kChunkRows = 512;
constexpr std::int64_t kRowBlocks = kChunkRows / kBlock;
constexpr int kDepthSteps = 16;          // products between two panels of weights
constexpr std::int64_t kMostPanels = 8;  // whose sums a thread keeps
constexpr std::int64_t kPanelBytes = std::int64_t{kDepthSteps} * kStepBytes;

struct ThreadScratch {
  char right[kPanelBytes];
  float sums[kMostPanels * kRowBlocks * kBlockFloats];
};

// Up to kChunkRows rows of a call.
struct RowChunk {
  const HearthGemm& gemm;
  std::int64_t first, rows;
  std::int64_t steps;  // products of a whole sum
  char* left;          // [row blocks][steps][2 tiles]

  std::int64_t blocks() const { return (rows + kBlock - 1) / kBlock; }
  char* left_tiles(std::int64_t block, std::int64_t step) const {
    return left + (block * steps + step) * kStepBytes;
  }
};

PanelPlace place_of(const RowChunk& chunk, std::int64_t panel, std::int64_t step) {
  return {panel * kBlock, step * kTileDepth,
          static_cast<int>(std::min<std::int64_t>(kDepthSteps, chunk.steps - step))};
}

// One panel of weights with all rows of the chunk. The lines that the next panel lies in are
// fetched on the way, the same number with each product.
HEARTH_AMX void multiply_panel(const RowChunk& chunk, const PanelPlace& place, Prefetch next,
                               ThreadScratch& scratch, float* sums) {
  const std::int64_t step = place.input / kTileDepth;
  const bool last = step + place.steps == chunk.steps;
  const std::int64_t products = chunk.blocks() * place.steps;
  const auto lines = static_cast<int>((next.rows * next.lines + products - 1) / products);
  for (std::int64_t block = 0; block < chunk.blocks(); ++block) {
    float* target = sums + block * kBlockFloats;
    const std::int64_t rows = std::min<std::int64_t>(chunk.rows - block * kBlock, kBlock);
    const Product product{chunk.left_tiles(block, step), scratch.right, place.steps,
                          step == 0 ? Sums::kFresh : Sums::kAdded, rows > kTileRows};
    multiply_block(product, target, next, lines);
    if (last) finish_block(chunk.gemm, {chunk.first + block * kBlock, place.feature, rows}, target);
  }
}

void multiply_panels(const RowChunk& chunk, std::int64_t first, std::int64_t last,
                     ThreadScratch& scratch) {
  const TileScope tiles;
  for (std::int64_t step = 0; step < chunk.steps; step += kDepthSteps)
    for (std::int64_t panel = first; panel < last; ++panel) {
      const PanelPlace place = place_of(chunk, panel, step);
      unpack_panel(chunk.gemm.weight, place, scratch.right);
      Prefetch next;
      if (panel + 1 < last) {
        next = panel_lines(chunk.gemm.weight, place_of(chunk, panel + 1, step));
      } else if (step + kDepthSteps < chunk.steps) {
        next = panel_lines(chunk.gemm.weight, place_of(chunk, first, step + kDepthSteps));
      }
      multiply_panel(chunk, place, next, scratch,
                     scratch.sums + (panel - first) * kRowBlocks * kBlockFloats);
    }
}

void pack_chunk(const RowChunk& chunk) {
  for_chunks(chunk.blocks() * 2, 1, [&](Chunk part) {
    for (std::int64_t tile = part.first; tile < part.last; ++tile)
      pack_rows(chunk.gemm, chunk.first + tile * kTileRows, chunk.first + chunk.rows,
                chunk.left_tiles(tile / 2, 0) + tile % 2 * kTileBytes);
  });
}

void multiply_chunk(const RowChunk& chunk) {
  const std::int64_t panels = (chunk.gemm.weight.out_features + kBlock - 1) / kBlock;
  // Enough parts that nobody waits long for the last one.
  const std::int64_t parts = std::int64_t{3} * team_threads();
  const std::int64_t grain = std::clamp<std::int64_t>((panels + parts - 1) / parts, 1, kMostPanels);
  for_chunks(panels, grain, [&](Chunk part) {
    auto& scratch = *static_cast<ThreadScratch*>(cpu::scratch(part.thread, sizeof(ThreadScratch)));
    for (std::int64_t first = part.first; first < part.last; first += kMostPanels)
      multiply_panels(chunk, first, std::min(first + kMostPanels, part.last), scratch);
  });
}

HearthStatus check(const HearthGemm* gemm) {
  if (gemm == nullptr || gemm->input == nullptr || gemm->output == nullptr ||
      !is_sound(gemm->weight) || !is_type(gemm->output_type))
    return HEARTH_BAD_ARGUMENT;
  const HearthMatrix& weight = gemm->weight;
  const bool swiglu = gemm->epilogue == HEARTH_SWIGLU;
  if (gemm->epilogue < HEARTH_STORE || gemm->epilogue > HEARTH_SWIGLU ||
      gemm->activation < HEARTH_NO_ACTIVATION || gemm->activation > HEARTH_GELU_ERF ||
      (swiglu && (gemm->activation != HEARTH_NO_ACTIVATION || weight.out_features % 2 != 0)))
    return HEARTH_BAD_ARGUMENT;
  if (gemm->norm < HEARTH_NO_NORM || gemm->norm > HEARTH_LAYER_NORM ||
      (gemm->norm != HEARTH_NO_NORM && gemm->norm_weight == nullptr) ||
      (gemm->norm == HEARTH_LAYER_NORM && gemm->norm_bias == nullptr))
    return HEARTH_BAD_ARGUMENT;
  if (gemm->rows < 1 || gemm->input_stride < weight.in_features ||
      gemm->output_stride < weight.out_features / (swiglu ? 2 : 1))
    return HEARTH_BAD_ARGUMENT;
  return weight.format == HEARTH_FORMAT_F32 ? HEARTH_UNSUPPORTED : HEARTH_OK;
}

void run(const HearthGemm& gemm) {
  const std::int64_t steps = depth_steps(gemm.weight.in_features);
  const std::int64_t most = std::min(kChunkRows, (gemm.rows + kBlock - 1) / kBlock * kBlock);
  const auto bytes = static_cast<std::size_t>(most / kBlock * steps * kStepBytes);
  auto* left = static_cast<char*>(scratch(kSharedScratch, bytes));
  for (std::int64_t first = 0; first < gemm.rows; first += kChunkRows) {
    const RowChunk chunk{gemm, first, std::min(kChunkRows, gemm.rows - first), steps, left};
    pack_chunk(chunk);
    multiply_chunk(chunk);
  }
}

}  // namespace
}  // namespace hearth::kernels::cpu

int hearth_gemm_cpu_available(void) {
  return hearth::kernels::cpu::has_amx() ? 1 : 0;
}

HearthStatus hearth_gemm_cpu(const HearthGemm* gemm) {
  using namespace hearth::kernels::cpu;
  if (const HearthStatus status = check(gemm); status != HEARTH_OK) return status;
  if (!has_amx()) return HEARTH_UNSUPPORTED;
  run(*gemm);
  return HEARTH_OK;
}
