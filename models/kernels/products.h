/* Matrices of weights and the products with them: the part of the kernels' ABI (kernels.h, which
 * says what holds for all of it) that the other headers of this folder need, too.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum HearthStatus {
  HEARTH_OK = 0,
  HEARTH_BAD_ARGUMENT = 1,  /* a null pointer, a size out of range, types that do not go together */
  HEARTH_NO_DEVICE = 2,     /* a build without CUDA, or no device */
  HEARTH_LAUNCH_FAILED = 3, /* the CUDA runtime refused the launch */
  HEARTH_UNSUPPORTED = 4,   /* this machine's processor lacks what the function needs */
  HEARTH_OUT_OF_MEMORY = 5  /* device.h: not so much memory, or address space */
} HearthStatus;

typedef enum HearthType { HEARTH_F32 = 0, HEARTH_BF16 = 1 } HearthType;

enum {
  HEARTH_MAX_ROWS = 16,      /* rows of a linear; other operations take any number */
  HEARTH_TILE = 16,          /* output features that an int8 or int4 matrix interleaves */
  HEARTH_GROUP = 64,         /* input features that share a scale in int4 */
  HEARTH_PAGE_TOKENS = 32,   /* tokens in a page of the key-value cache */
  HEARTH_SPLIT_TOKENS = 256, /* cached tokens that one part of split attention reads */
  HEARTH_MAX_END_IDS = 8,
  HEARTH_MAX_EXPERTS = 1024, /* among which a router chooses */
  HEARTH_MAX_CHOSEN = 16     /* of which a row chooses */
};

/* --- weights --------------------------------------------------------------------------------- */

/* How a matrix [out_features, in_features] is stored.
 *   F32, BF16  row-major. No scales.
 *   FP8        e4m3fn, row-major. scales: f32 [out_features]; w = scale * e4m3.
 *   INT8       tiles of HEARTH_TILE features, in_features rounded up to HEARTH_GROUP. In a tile,
 *              byte [k / 4][feature][k % 4] is w / scale + 128. scales: f32 [out_features].
 *   INT4       tiles as above. For each group of 64 inputs 8 vectors of 64 bytes: byte
 *              [v][feature][i] holds k = 4 v + i in its low and k = 4 (v + 8) + i in its high
 *              nibble, each w / scale + 8. scales: f16 bits, [tile][group][feature].
 * Tiles are padded with features and inputs of value zero; out_features and in_features count the
 * real ones. A tile of 16 quads of inputs is 1024 bytes: what AMX calls a B tile. */
typedef enum HearthFormat {
  HEARTH_FORMAT_F32 = 0,
  HEARTH_FORMAT_BF16 = 1,
  HEARTH_FORMAT_FP8 = 2,
  HEARTH_FORMAT_INT8 = 3,
  HEARTH_FORMAT_INT4 = 4
} HearthFormat;

typedef struct HearthMatrix {
  HearthFormat format;
  int64_t out_features;
  int64_t in_features;
  const void* data;
  const void* scales; /* null for F32 and BF16 */
} HearthMatrix;

/* Matrices of one shape and format: data and scales of matrix i lie i * stride_bytes behind those
 * of the first. */
typedef struct HearthMatrices {
  HearthMatrix first;
  int64_t count;
  int64_t stride_bytes;
} HearthMatrices;

/* Bytes of `data` and of `scales`, padding included. */
size_t hearth_matrix_bytes(HearthFormat format, int64_t out_features, int64_t in_features);
size_t hearth_scale_bytes(HearthFormat format, int64_t out_features, int64_t in_features);

/* Rounds features of a source into a matrix: source row i becomes feature first + i * step, so that
 * gate (first 0, step 2) and up (first 1, step 2) interleave. Symmetric, round to nearest even:
 *   FP8   scale = max |w| / 448 of the row
 *   INT8  scale = max |w| / 127 of the row
 *   INT4  of each group the scale that leaves the smallest squared error (models/kernels/pack.h)
 * F32 and BF16 convert. On the host, one feature after another: disjoint features of one matrix may
 * be packed by several threads. Padding must have been prepared by hearth_pack_begin. */
typedef struct HearthPack {
  HearthMatrix matrix; /* data and scales are written */
  HearthType type;     /* of source */
  const void* source;  /* [rows, in_features] */
  int64_t rows;
  int64_t first;
  int64_t step;
} HearthPack;

HearthStatus hearth_pack_begin(const HearthMatrix* matrix);
HearthStatus hearth_pack(const HearthPack* pack);

/* Features [first, first + count) as numbers again. */
typedef struct HearthUnpack {
  HearthMatrix matrix;
  int64_t first, count;
  HearthType type;
  void* target; /* [count, in_features] */
} HearthUnpack;

/* --- linear ---------------------------------------------------------------------------------- */

typedef enum HearthEpilogue {
  HEARTH_STORE = 0, /* output = y */
  HEARTH_ADD = 1,   /* output += y: the residual stream */
  HEARTH_SWIGLU = 2 /* output[i] = silu(y[2 i]) * y[2 i + 1]: gate and up interleaved */
} HearthEpilogue;

/* y = x weightᵀ + bias with x = input, or RMSNorm(input) * norm where there is one. Sums in fp32,
 * each output rounded once. Made for few rows: each weight is read once, so the limit is memory
 * bandwidth. The cpu rounds x to the weights' arithmetic: bf16 for BF16; for INT8 and INT4 to 8
 * bits with a scale for each HEARTH_GROUP inputs of a row. */
typedef struct HearthLinear {
  HearthMatrix weight;
  HearthType type;        /* of input and bias; F32 with F32, BF16 with BF16, any with the others */
  HearthType output_type; /* F32 or the same */
  HearthEpilogue epilogue;
  int64_t rows;      /* 1 .. HEARTH_MAX_ROWS */
  const void* input; /* [rows, in_features] */
  int64_t input_stride;
  const float* norm; /* [in_features], or null */
  float norm_epsilon;
  const void* bias; /* [out_features], or null */
  void* output;     /* [rows, out_features]; SWIGLU: [rows, out_features / 2] */
  int64_t output_stride;
} HearthLinear;

/* --- mixtures of experts ---------------------------------------------------------------------- */

/* For each row: p = softmax(logits) over all experts, in fp32; the `each` largest in falling order
 * (of equals the lower number first), and what they count: p, or where `normalised` p / sum of the
 * chosen p. A row with index -1 chooses nobody: numbers -1, shares 0. Where a logit is not a number
 * or infinite, all shares of its row are not a number, so that what follows tells. */
typedef struct HearthRoute {
  int64_t rows, experts; /* experts at most HEARTH_MAX_EXPERTS */
  int64_t each;          /* 1 .. HEARTH_MAX_CHOSEN, at most experts */
  int32_t normalised;
  const float* logits; /* [rows, experts] */
  int64_t logits_stride;
  const int32_t* index; /* [rows], or null: every row chooses */
  int32_t* chosen;      /* [rows, each] */
  float* shares;        /* [rows, each] */
} HearthRoute;

/* For each row and each expert it has chosen: y = x weight[expert]ᵀ, as HearthLinear has it, with
 * the epilogues STORE and SWIGLU. With SWIGLU x is the row's input, or its norm; with STORE each
 * chosen expert has an input of its own. Weights of an expert are read once however many rows have
 * chosen it, those of the others are not read. Where a number is none of [0, weight.count) its
 * output is left alone; none stands twice in a row. */
typedef struct HearthExperts {
  HearthMatrices weight;
  HearthType type; /* of input and output; goes with the weights as in HearthLinear */
  HearthEpilogue epilogue;
  int64_t rows;          /* 1 .. HEARTH_MAX_ROWS */
  int64_t each;          /* 1 .. HEARTH_MAX_CHOSEN */
  const int32_t* chosen; /* [rows, each] */
  const void* input;     /* SWIGLU: [rows, in_features]; STORE: [rows, each, in_features], dense */
  int64_t input_stride;  /* SWIGLU only */
  const float* norm;     /* [in_features], or null; SWIGLU only */
  float norm_epsilon;
  void* output; /* [rows, each, out_features], SWIGLU: [rows, each, out_features / 2]; dense */
} HearthExperts;

/* output[r] += sum over j of shares[r, j] * input[place[r, j]], summed in fp32 in the order of j,
 * rounded once. Inputs whose share is 0 are not read. */
typedef struct HearthCombine {
  HearthType type; /* of input and output */
  int64_t rows, each, width;
  const float* shares;  /* [rows, each] */
  const int32_t* place; /* [rows, each]: rows of the input; null: r * each + j */
  const void* input;    /* [places, width], dense */
  void* output;         /* [rows, width] */
  int64_t output_stride;
} HearthCombine;

#ifdef __cplusplus
}
#endif
