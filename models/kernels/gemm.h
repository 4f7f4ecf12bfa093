/* Products of many rows on the CPU: what a prefill and a vision tower spend their time on.
 *
 * For processors with AMX (tiles of bf16, sums in fp32). Elsewhere the functions return
 * HEARTH_UNSUPPORTED and compute nothing; the caller then takes a library's GEMM over
 * HearthKernels::unpack, and a library's attention. Whether there is AMX is found by computing a
 * known product once, not by CPUID alone: hypervisors hide the leaf that describes tiles.
 *
 * The conventions of kernels.h hold: row-major tensors, strides in elements. All tensors are bf16
 * where nothing else is said. Memory for packed operands is the team's scratch (cpu/team.h): a few
 * MiB, allocated by the first call that needs so much.
 *
 * Every result of a row depends on that row (and in attention the keys it sees) alone: equal inputs
 * give equal bits whatever rows are beside it, however a prompt is cut into calls, and on however
 * many threads.
 *
 * Threads: one call at a time; the team of cpu/team.h does the work.
 */
#pragma once

#include "models/kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 1 where the functions below compute, 0 where they return HEARTH_UNSUPPORTED: without AMX, and
 * while a lower level is set (cpu/level.h). */
int hearth_gemm_cpu_available(void);

/* --- linear ---------------------------------------------------------------------------------- */

typedef enum HearthNorm {
  HEARTH_NO_NORM = 0,
  HEARTH_RMS_NORM = 1,  /* x / sqrt(mean(x²) + epsilon) * weight */
  HEARTH_LAYER_NORM = 2 /* (x - mean) / sqrt(variance + epsilon) * weight + bias */
} HearthNorm;

typedef enum HearthActivation {
  HEARTH_NO_ACTIVATION = 0,
  HEARTH_GELU_TANH = 1, /* y / 2 (1 + tanh(sqrt(2 / pi) (y + 0.044715 y³))) */
  HEARTH_GELU_ERF = 2   /* y / 2 (1 + erf(y / sqrt(2))) */
} HearthActivation;

/* y = activation(x weightᵀ + bias) with x = input, or its norm in fp32 rounded once to bf16, then
 * the epilogue of HearthLinear. Weights keep their value: INT8 and FP8 codes are exact in bf16 and
 * their scales multiply the fp32 sum, INT4 weights are rounded once to bf16; the input is not
 * quantised. Sums in fp32, each output rounded once. F32 weights are HEARTH_UNSUPPORTED, SWIGLU
 * with an activation is HEARTH_BAD_ARGUMENT. */
typedef struct HearthGemm {
  HearthMatrix weight;
  HearthType output_type;
  HearthEpilogue epilogue;
  HearthActivation activation;
  int64_t rows;      /* 1 or more; made for more than HEARTH_MAX_ROWS */
  const void* input; /* [rows, in_features] */
  int64_t input_stride;
  HearthNorm norm;
  const float* norm_weight; /* [in_features] */
  const float* norm_bias;   /* [in_features], LAYER_NORM only */
  float norm_epsilon;
  const void* bias; /* [out_features], or null */
  void* output;     /* [rows, out_features]; SWIGLU: [rows, out_features / 2]; never the input */
  int64_t output_stride;
} HearthGemm;

HearthStatus hearth_gemm_cpu(const HearthGemm* gemm);

/* --- attention ------------------------------------------------------------------------------- */

/* output[r, h] = softmax(scale * q k) v, softmax in fp32, its weights rounded to bf16 before the
 * product with the values; query head h reads key head h * kv_heads / heads.
 * Without segments: causal, row r sees keys 0 .. first + r.
 * With segments: row r of segment s (segments[s] <= r < segments[s + 1]) sees the keys of that
 * segment, all of them: several pictures, or the windows of one, in a call. rows is then length. */
typedef struct HearthFlash {
  int64_t rows, heads, kv_heads;
  int64_t head_dim;  /* 1 .. 256; heads is a multiple of kv_heads */
  const void* query; /* [rows, heads, head_dim] */
  int64_t query_stride;
  int64_t length;          /* tokens of keys and values; causal: at least first + rows */
  const void* keys;        /* [kv_heads, length, head_dim] by the two strides */
  const void* values;      /* the same */
  int64_t head_stride;     /* from one key head to the next */
  int64_t token_stride;    /* from one token to the next; head_dim elements of it are dense */
  int64_t first;           /* causal only */
  const int32_t* segments; /* [segment_count + 1], from 0 to rows, on the host; or null */
  int64_t segment_count;
  float scale;
  void* output; /* [rows, heads * head_dim]; never the query */
  int64_t output_stride;
} HearthFlash;

HearthStatus hearth_flash_cpu(const HearthFlash* flash);

#ifdef __cplusplus
}
#endif
