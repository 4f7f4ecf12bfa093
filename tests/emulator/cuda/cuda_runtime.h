// What the kernels use of CUDA, on the CPU: stands in for NVIDIA's header when their sources are
// compiled as C++ (tests/emulator/block.h says what is emulated and what cannot be).
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "tests/emulator/block.h"

#define HEARTH_EMULATED 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

using std::max;
using std::min;

// --- host side ---------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int programmaticStreamSerializationAllowed;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  struct CUstream_st* stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};
using cudaStream_t = CUstream_st*;

// A small GPU: few multiprocessors, so that persistent grids go round.
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount      ? 3
           : attribute == cudaDevAttrComputeCapabilityMajor ? 9
                                                            : 99 * 1024;
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
struct cudaFuncAttributes {
  int ptxVersion;
};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  attributes->ptxVersion = 90;
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return bytes <= 99 * 1024 ? cudaSuccess : cudaErrorInvalidValue;
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int, std::size_t) {
  *blocks = 1;
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const std::tuple<Parameters...> values(arguments...);
  emulator::run(config->gridDim, config->blockDim, config->dynamicSmemBytes,
                [&] { std::apply(kernel, values); });
  return cudaSuccess;
}

// --- device side -------------------------------------------------------------------------------

inline void cudaGridDependencySynchronize() {}
inline void cudaTriggerProgrammaticLaunchCompletion() {}

inline void __syncthreads() {
  emulator::block_barrier(0);
}
inline int __syncthreads_or(int predicate) {
  return emulator::block_barrier(predicate != 0) != 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffU) {
  emulator::WarpMeeting(mask, "__syncwarp", &mask, sizeof mask);
}
inline void __threadfence() {}
inline void __threadfence_system() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

template <class T>
T emulated_shuffle(unsigned mask, const char* operation, T value, unsigned from) {
  const emulator::WarpMeeting meeting(mask, operation, &value, sizeof value);
  T result;
  std::memcpy(&result, meeting.of_lane(from), sizeof result);
  return result;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  return emulated_shuffle(mask, "__shfl_sync", value, static_cast<unsigned>(lane) % 32);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return emulated_shuffle(mask, "__shfl_xor_sync", value,
                          emulator::lane() ^ static_cast<unsigned>(bits));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
  const unsigned lane = emulator::lane();
  return emulated_shuffle(mask, "__shfl_up_sync", value, lane < distance ? lane : lane - distance);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const unsigned bit = predicate != 0;
  const emulator::WarpMeeting meeting(mask, "__ballot_sync", &bit, sizeof bit);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (meeting.has(lane)) bits |= *static_cast<const unsigned*>(meeting.of_lane(lane)) << lane;
  return bits;
}
inline int __ffs(int bits) {
  return __builtin_ffs(bits);
}
inline int __clz(int bits) {
  return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits));
}

template <class T>
T emulated_add(T* place, T value) {
  const T old = *place;
  *place = static_cast<T>(old + value);
  return old;
}
inline int atomicAdd(int* place, int value) {
  return emulated_add(place, value);
}
inline unsigned atomicAdd(unsigned* place, unsigned value) {
  return emulated_add(place, value);
}
inline unsigned long long atomicAdd(unsigned long long* place, unsigned long long value) {
  return emulated_add(place, value);
}

template <class T>
T __ldg(const T* place) {
  return *place;
}
template <class T>
T __ldcs(const T* place) {
  return *place;
}

inline float emulated_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float __uint_as_float(unsigned bits) {
  return emulated_as_float(bits);
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
// Bytes of y:x (7..0), chosen by the nibbles of `selector`.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t both = std::uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(both >> (selector >> 4 * i & 7U) * 8 & 0xFFU) << 8 * i;
  return result;
}
inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
