// The linear on tensor cores: each block takes tiles of 16 features in turn, its warps share the
// inputs of a tile, and their sums are added in the warps' order.
//
// One row or sixteen go the same way, through the same products in the same order, with rows of
// zeros beside them: so a row's bits do not depend on its company. The tensor cores have time for
// it, since memory is what limits: 16 x 8 products of which one row is used cost an H200 1/10 of
// the time that it takes to read bf16 weights.
#pragma once

#include "models/kernels/cuda/linear_input.cuh"

namespace hearth::kernels::cuda {

constexpr int kFragmentRows = 8;  // input rows of one product

template <int kRowTiles>
struct LinearShared {
  InputScales input;
  float sums[kLinearWarps][kRowTiles * kFragmentRows][kTile];
  // then, where rows are staged: bf16 [rows, pitch]
};

// Which rows are multiplied: row i of a product is row input(i) of the input and row output(i) of
// the output. This one: all of them.
struct AllRows {
  int count;
  __device__ __forceinline__ int input(int i) const { return i; }
  __device__ __forceinline__ int output(int i) const { return i; }
};

// Units that a warp has on the way from memory at a time.
constexpr int kUnitsInFlight = 4;

template <class Format>
__device__ __forceinline__ int units_of(const Weights& w) {
  return (w.in_features + Format::kUnit - 1) / Format::kUnit;
}

__device__ __forceinline__ uint2 rounded_four(const LinearCall& c, const InputScales& shared,
                                              int row, int k) {
  float x[4];
  normed_four(c, shared, row, k, x);
  return uint2{to_bf16_pair(x[0], x[1]), to_bf16_pair(x[2], x[3])};
}

// Puts all rows into shared memory as they are multiplied, zeros up to the last unit's end.
__device__ inline void stage_input(const LinearCall& c, const InputScales& shared, int padded,
                                   BFloat16* staged) {
  for (int row = 0; row < c.rows; ++row)
    for (int k = 4 * threadIdx.x; k < padded; k += 4 * kLinearThreads)
      *reinterpret_cast<uint2*>(staged + row * c.pitch + k) = rounded_four(c, shared, row, k);
  __syncthreads();
}

template <class Format, int kRowTiles, class Rows>
__device__ __forceinline__ void multiply_unit(const LinearCall& c, const InputScales& shared,
                                              const BFloat16* staged, const Rows& rows,
                                              const typename Format::Raw& raw, int unit,
                                              float (*sums)[4]) {
  const int group = lane_of() / 4;
  float fresh[kRowTiles][4] = {};
  float(*target)[4] = Format::kGroupScales ? fresh : sums;
#pragma unroll
  for (int m = 0; m < Format::kProducts; ++m) {
    const Quad even = Format::quad(raw, 0, m);
    const Quad odd = Format::quad(raw, 1, m);
    const unsigned a[4] = {even.first, odd.first, even.second, odd.second};
    const int k = unit * Format::kUnit + Format::input_of(m, lane_of() % 4);
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      const int row = i * kFragmentRows + group;
      uint2 x{0, 0};
      if (row < rows.count) {
        const int input = rows.input(row);
        x = c.pitch != 0 ? *reinterpret_cast<const uint2*>(staged + input * c.pitch + k)
                         : rounded_four(c, shared, input, k);
      }
      const unsigned b[2] = {x.x, x.y};
      multiply(target[i], a, b);
    }
  }
  if constexpr (Format::kGroupScales) {
    const float even = Format::scale(raw, 0);
    const float odd = Format::scale(raw, 1);
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      sums[i][0] = fmaf(even, fresh[i][0], sums[i][0]);
      sums[i][1] = fmaf(even, fresh[i][1], sums[i][1]);
      sums[i][2] = fmaf(odd, fresh[i][2], sums[i][2]);
      sums[i][3] = fmaf(odd, fresh[i][3], sums[i][3]);
    }
  }
}

// This warp's share of a tile: every kLinearWarps-th unit.
template <class Format, int kRowTiles, class Rows>
__device__ __forceinline__ void sum_tile(const LinearCall& c, const InputScales& shared,
                                         const BFloat16* staged, const Rows& rows, int tile,
                                         float (*sums)[4]) {
  const int units = units_of<Format>(c.weight);
  for (int first = warp_of(); first < units; first += kLinearWarps * kUnitsInFlight) {
    typename Format::Raw raw[kUnitsInFlight];
#pragma unroll
    for (int i = 0; i < kUnitsInFlight; ++i)
      if (first + i * kLinearWarps < units)
        raw[i] = Format::load(c.weight, tile, first + i * kLinearWarps, lane_of());
#pragma unroll
    for (int i = 0; i < kUnitsInFlight; ++i)
      if (first + i * kLinearWarps < units)
        multiply_unit<Format, kRowTiles>(c, shared, staged, rows, raw[i], first + i * kLinearWarps,
                                         sums);
  }
}

// Adds the warps' sums of a tile and writes its outputs.
template <class Format, int kRowTiles, class Rows>
__device__ __forceinline__ void finish_tile(const LinearCall& c,
                                            const LinearShared<kRowTiles>& shared, const Rows& rows,
                                            int tile) {
  const int each = c.epilogue == HEARTH_SWIGLU ? 2 : 1;  // features of an output
  const int outputs = kTile / each;
  for (int i = threadIdx.x; i < rows.count * outputs; i += kLinearThreads) {
    const int row = i / outputs;
    const int column = i % outputs * each;
    const int feature = tile * kTile + column;
    if (feature >= c.weight.out_features) continue;
    float y[2] = {0.0f, 0.0f};
    for (int j = 0; j < each; ++j) {
      for (int warp = 0; warp < kLinearWarps; ++warp) y[j] += shared.sums[warp][row][column + j];
      if constexpr (Format::kRowScales)
        y[j] *= __ldg(static_cast<const float*>(c.weight.scales) + feature + j);
    }
    finish_output(c, rows.output(row), feature, y);
  }
}

// All of a tile. All threads of the block.
template <class Format, int kRowTiles, class Rows>
__device__ __forceinline__ void compute_tile(const LinearCall& c, LinearShared<kRowTiles>& shared,
                                             const BFloat16* staged, const Rows& rows, int tile) {
  const int group = lane_of() / 4;
  const int t = lane_of() % 4;
  float sums[kRowTiles][4] = {};
  sum_tile<Format, kRowTiles>(c, shared.input, staged, rows, tile, sums);
  float(*own)[kTile] = shared.sums[warp_of()];
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
    for (int j = 0; j < 4; ++j)
      own[i * kFragmentRows + 2 * t + j % 2][2 * group + j / 2] = sums[i][j];
  }
  __syncthreads();
  finish_tile<Format, kRowTiles>(c, shared, rows, tile);
  __syncthreads();  // the sums are read before the next tile's are written
}

// Has the weights of this block's first tile brought to the cache while the kernel before still
// runs and while the inputs are prepared.
template <class Format>
__device__ __forceinline__ void prefetch_weights(const LinearCall& c) {
#if defined(__CUDA_ARCH__)
  constexpr int kLine = 128;
  const long long inputs = Format::kTiled ? groups_of(c.weight) * kGroup : c.weight.in_features;
  const long long tile_bytes = inputs * kTile * Format::kWeightBits / 8;
  if (static_cast<int>(blockIdx.x) >= c.weight.out_features / kTile) return;  // not a whole tile
  const unsigned char* tile = c.weight.data + tile_bytes * blockIdx.x;
  for (long long at = threadIdx.x * kLine; at < tile_bytes; at += kLinearThreads * kLine)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(tile + at)));
#else
  static_cast<void>(c);
#endif
}

template <class Format, int kRowTiles>
__global__ __launch_bounds__(kLinearThreads, 2) void products_kernel(LinearCall c) {
  auto& shared = *reinterpret_cast<LinearShared<kRowTiles>*>(shared_memory());
  auto* staged = reinterpret_cast<BFloat16*>(&shared + 1);
  prefetch_weights<Format>(c);
  wait_for_previous();
  find_scales(c, shared.input);
  if (c.pitch != 0)
    stage_input(c, shared.input, units_of<Format>(c.weight) * Format::kUnit, staged);
  const int tiles = (c.weight.out_features + kTile - 1) / kTile;
  const AllRows rows{c.rows};
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
    compute_tile<Format, kRowTiles>(c, shared, staged, rows, tile);
}

// The most shared memory that staged rows may take: two blocks fit a multiprocessor of most
// devices.
constexpr std::size_t kStagedBytes = 80 * 1024;

// Has the rows staged where they fit behind `fixed` bytes of shared memory. The bytes of both.
template <class Format>
std::size_t plan_staging(LinearCall& call, std::size_t fixed, const Device& device) {
  const int units = (call.weight.in_features + Format::kUnit - 1) / Format::kUnit;
  const int pitch = (units * Format::kUnit + 63) / 64 * 64 + Format::kPitchRest;
  const std::size_t staged = static_cast<std::size_t>(call.rows) * pitch * sizeof(BFloat16);
  if (staged > kStagedBytes || fixed + staged > static_cast<std::size_t>(device.shared_bytes))
    return fixed;
  call.pitch = pitch;
  return fixed + staged;
}

// Launches as many blocks as run at once, but at most `items`.
template <class Call>
HearthStatus launch_resident(void (*kernel)(Call), const Call& call, int items,
                             std::size_t shared_bytes, const Device& device, void* stream) {
  int resident = 0;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           device.shared_bytes);
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kLinearThreads,
                                                          shared_bytes);
  if (error != cudaSuccess) return from_cuda(error);
  const int blocks = min(items, max(1, resident) * device.multiprocessors);
  return launch({dim3(static_cast<unsigned>(blocks)), kLinearThreads, shared_bytes}, stream, kernel,
                call);
}

template <class Format, int kRowTiles>
HearthStatus launch_products(LinearCall call, const Device& device, void* stream) {
  const std::size_t bytes = plan_staging<Format>(call, sizeof(LinearShared<kRowTiles>), device);
  const int tiles = (call.weight.out_features + kTile - 1) / kTile;
  return launch_resident(&products_kernel<Format, kRowTiles>, call, tiles, bytes, device, stream);
}

template <class Format>
HearthStatus linear_products(const LinearCall& call, const Device& device, void* stream) {
  return call.rows <= kFragmentRows ? launch_products<Format, 1>(call, device, stream)
                                    : launch_products<Format, 2>(call, device, stream);
}

}  // namespace hearth::kernels::cuda
