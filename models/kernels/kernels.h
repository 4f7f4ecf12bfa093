/* The kernels of a decode step, behind a C ABI: pointers, sizes, strides and a stream.
 *
 * No allocation, no exception, no library type crosses this border, so the kernels build and are
 * tested without libtorch. Each operation has three implementations with the same signature:
 *   _ref   plain loops in fp32 with fp64 accumulation: the oracle, any machine
 *   _cpu   vector code chosen by cpuid, OpenMP threads; `stream` is ignored
 *   _cuda  launches on `stream` (a cudaStream_t) and returns without waiting
 * All pointers are on the implementation's device. Weights are 16-byte aligned.
 *
 * Returns HEARTH_OK or why nothing was computed. Thread rule: any thread, one call at a time per
 * output buffer.
 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum HearthStatus {
  HEARTH_OK = 0,
  HEARTH_BAD_ARGUMENT = 1, /* a null pointer, a size below 1, rows over HEARTH_MAX_ROWS */
  HEARTH_NO_DEVICE = 2,    /* a build without CUDA, or no device */
  HEARTH_LAUNCH_FAILED = 3 /* the CUDA runtime refused the launch */
} HearthStatus;

typedef enum HearthType { HEARTH_F32 = 0, HEARTH_BF16 = 1 } HearthType;

enum { HEARTH_MAX_ROWS = 16 };

/* output[r, o] = sum_i input[r, i] * weight[o, i] + bias[o], accumulated in fp32 and rounded once.
 * Made for few rows: it reads each weight once, so its limit is memory bandwidth. */
typedef struct HearthLinear {
  HearthType type;    /* of all four tensors */
  const void* weight; /* [out_features, in_features], dense */
  const void* bias;   /* [out_features], or null */
  const void* input;  /* [rows, in_features] */
  void* output;       /* [rows, out_features] */
  int64_t rows;       /* 1 .. HEARTH_MAX_ROWS */
  int64_t in_features;
  int64_t out_features;
  int64_t input_stride;  /* elements from one row of input to the next */
  int64_t output_stride; /* elements from one row of output to the next */
} HearthLinear;

HearthStatus hearth_linear_ref(const HearthLinear* linear, void* stream);
HearthStatus hearth_linear_cpu(const HearthLinear* linear, void* stream);
HearthStatus hearth_linear_cuda(const HearthLinear* linear, void* stream);

#ifdef __cplusplus
}
#endif
