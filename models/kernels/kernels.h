/* The kernels of a model's forward pass, behind a C ABI: pointers, sizes, strides and a stream.
 *
 * No allocation, no exception, no library type crosses this border, so the kernels build and are
 * tested without libtorch. One table of functions for each implementation:
 *   ref    plain loops, fp64 sums: the oracle, any machine
 *   cpu    vector code chosen by cpuid, a team of threads (cpu/team.h); `stream` is ignored
 *   cuda   launches on `stream` (a cudaStream_t) and returns without waiting; every argument that
 *          changes from step to step is read from device memory, so that a launch can be captured
 *
 * All pointers are on the implementation's device and live until the work on the stream is done.
 * Tensors named [rows, x] are row-major with `*_stride` elements from one row to the next, dense
 * where no stride is given. Base addresses of weights and caches are 64-byte aligned.
 *
 * Every result of a row depends on that row alone: equal inputs give equal bits in whatever company
 * and at whatever place in a batch (the same implementation on the same machine).
 *
 * Returns HEARTH_OK or why nothing was computed. Threads: one call at a time for each
 * implementation, but for resample; cuda: for each stream.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "models/kernels/products.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- activations ------------------------------------------------------------------------------ */

/* output[r] = table[token[r]], zeros for a token out of range. */
typedef struct HearthEmbed {
  HearthType type;   /* of table and output */
  const void* table; /* [vocabulary, width] */
  int64_t vocabulary, width;
  const int32_t* token; /* [rows] */
  int64_t rows;
  void* output; /* [rows, width] */
  int64_t output_stride;
} HearthEmbed;

/* output = input / sqrt(mean(input²) + epsilon) * weight, in fp32, rounded once. Where `residual`
 * is not null, input += residual first (rounded, kept). */
typedef struct HearthRmsNorm {
  HearthType type;
  int64_t rows, width;
  void* input; /* [rows, width] */
  int64_t input_stride;
  const void* residual; /* [rows, width], or null */
  int64_t residual_stride;
  const float* weight; /* [width] */
  float epsilon;
  void* output; /* [rows, width]; may be input */
  int64_t output_stride;
} HearthRmsNorm;

/* output[i] = silu(input[2 i]) * input[2 i + 1] */
typedef struct HearthSwiGlu {
  HearthType type;
  int64_t rows, width; /* of the output */
  const void* input;   /* [rows, 2 width] */
  int64_t input_stride;
  void* output;
  int64_t output_stride;
} HearthSwiGlu;

/* output[r, i] *= sigmoid(gate[r, i]), or of gate[r, 0] where there is one for the whole row. */
typedef struct HearthGate {
  HearthType type; /* of output */
  int64_t rows, width;
  HearthType gate_type; /* F32 or the same */
  int64_t gates;        /* of a row: width or 1 */
  const void* gate;     /* [rows, gates] */
  int64_t gate_stride;
  void* output; /* [rows, width] */
  int64_t output_stride;
} HearthGate;

/* cosine[r, i] = cos(position[axis[i], r] * frequency[i]), and sines. The angle is an fp32 product,
 * as in transformers' rotary embeddings. */
typedef struct HearthRopeAngles {
  int64_t rows, half;
  const int32_t* position; /* [3, rows]: time, height, width */
  const float* frequency;  /* [half] */
  const uint8_t* axis;     /* [half]: 0, 1 or 2 */
  float* cosines;          /* [rows, half] */
  float* sines;
} HearthRopeAngles;

/* Keys and values of one layer, in pages shared by all sequences. */
typedef struct HearthCache {
  HearthType type;
  void* pages;          /* [pages, 2 (keys, values), kv_heads, HEARTH_PAGE_TOKENS, head_dim] */
  const int32_t* table; /* [slots, table_stride]: the pages of a slot's tokens, in order */
  int64_t table_stride;
  int64_t kv_heads, head_dim;
} HearthCache;

/* For each row: RMSNorm over head_dim of queries and keys (where there are norms), rotation of
 * channel pairs (i, i + head_dim / 2), queries back in place, keys and values into the cache at
 * token index[r] of slot[r]. A row with index -1 is left alone. With cache.kv_heads 0 there are
 * only queries, and the cache's pages and table may be null: a vision tower turns its keys as
 * queries. */
typedef struct HearthRopeWrite {
  HearthType type; /* of qkv and cache */
  int64_t rows, heads;
  void* qkv; /* [rows, (heads + 2 kv_heads) head_dim] */
  int64_t qkv_stride;
  const float* q_norm; /* [head_dim], or null */
  const float* k_norm;
  float norm_epsilon;
  const float* cosines; /* [rows, head_dim / 2] */
  const float* sines;
  const int32_t* slot;  /* [rows] */
  const int32_t* index; /* [rows] */
  HearthCache cache;
} HearthRopeWrite;

/* output[r, h] = softmax(scale * q k) v over tokens 0 .. index[r] of slot[r], softmax in fp32;
 * query head h reads key head h * kv_heads / heads. Zeros for index -1. Cached tokens are read in
 * parts of HEARTH_SPLIT_TOKENS whose results are joined in order, whoever computed them. */
typedef struct HearthAttention {
  HearthType type;
  int64_t rows, heads;
  const void* query; /* [rows, heads, head_dim] */
  int64_t query_stride;
  const int32_t* slot;  /* [rows] */
  const int32_t* index; /* [rows] */
  int64_t most_tokens;  /* no row reads more: sizes the workspace and the launch */
  float scale;
  HearthCache cache;
  void* output; /* [rows, heads * head_dim] */
  int64_t output_stride;
  void* workspace; /* hearth_attention_workspace_bytes() */
} HearthAttention;

size_t hearth_attention_workspace_bytes(int64_t rows, int64_t heads, int64_t head_dim,
                                        int64_t most_tokens);

/* Tokens 0 .. tokens - 1 of a slot, gathered for a prefill's attention. */
typedef struct HearthGather {
  HearthCache cache;
  int32_t slot;
  int64_t tokens;
  void* keys; /* [kv_heads, tokens, head_dim] */
  void* values;
} HearthGather;

/* --- gated delta rule (hybrid layers) --------------------------------------------------------- */

/* The rows of one call belong to different slots: they are computed side by side. A sequence whose
 * windows and state are zeros is at its beginning. */

/* One token of a depthwise causal convolution of `taps` columns, then SiLU. The window of a row's
 * slot keeps the taps - 1 inputs before and is moved on. */
typedef struct HearthConvStep {
  HearthType type; /* of input, weight and output */
  int64_t rows, channels, taps;
  const void* input; /* [rows, channels] */
  int64_t input_stride;
  const void* weight;  /* [channels, taps] */
  const int32_t* slot; /* [rows]; -1: leave the row alone */
  float* window;       /* [slots, taps - 1, channels], oldest first */
  void* output;        /* [rows, channels]; may be input */
  int64_t output_stride;
} HearthConvStep;

/* One token of the gated delta rule for each value head, state S [key_dim, value_dim] in fp32:
 *   q, k normalised to length 1 (epsilon 1e-6), q scaled by key_dim^-0.5
 *   g = -exp(a_log) softplus(a + dt_bias), beta = sigmoid(b)
 *   S = e^g S;  S += k (beta (v - Sᵀ k))ᵀ;  o = Sᵀ q
 *   output = RMSNorm(o) * norm * silu(z)
 * Value head h uses key head h * key_heads / value_heads.
 * Source: transformers, Qwen3NextGatedDeltaNet (modeling_qwen3_next.py). */
typedef struct HearthDeltaStep {
  HearthType type;
  int64_t rows, key_heads, value_heads, key_dim, value_dim;
  const void* qkv; /* [rows, 2 key_heads key_dim + value_heads value_dim], after the convolution */
  int64_t qkv_stride;
  const void* z; /* [rows, value_heads value_dim] */
  int64_t z_stride;
  const void* a; /* [rows, value_heads] */
  const void* b;
  int64_t ab_stride;
  const float* a_log; /* [value_heads] */
  const float* dt_bias;
  const float* norm; /* [value_dim] */
  float norm_epsilon;
  const int32_t* slot; /* [rows]; -1: leave the row alone */
  float* state;        /* [slots, value_heads, key_dim, value_dim] */
  void* output;        /* [rows, value_heads value_dim] */
  int64_t output_stride;
} HearthDeltaStep;

/* --- sequences and sampling ------------------------------------------------------------------- */

enum { HEARTH_SLOT_DONE = 1 }; /* sampled an end id or its last token: later steps skip it */

/* A running sequence. The kernels move it on; the host writes it only between steps. 128 bytes. */
typedef struct HearthSlot {
  int32_t token;          /* the next step's input: the last sampled id */
  int32_t length;         /* tokens in the cache: the index of `token` */
  int32_t position_delta; /* rotary position of a token of the answer: index + delta */
  int32_t most_steps;     /* done when `step` reaches it */
  uint64_t seed;
  uint32_t answer_index; /* random numbers are keyed by seed, answer_index and step, nothing else */
  uint32_t step;         /* tokens sampled */
  uint32_t flags;
  uint32_t sequence;  /* the host's number of it, given back with each token */
  float temperature;  /* 0: greedy, the lowest id among equals */
  float top_p, min_p; /* 1 and 0: off */
  float repetition_penalty, presence_penalty, frequency_penalty; /* 1, 0 and 0: off */
  float typical_p;                                               /* 1: off */
  int32_t top_k;                                                 /* 0: off */
  int32_t end_count;
  int32_t end_ids[HEARTH_MAX_END_IDS];
  uint32_t masked; /* 1: only ids of the slot's mask are drawn */
  int32_t reserved[3];
} HearthSlot;

/* What a step's rows compute on, from their slots: token, index (-1 when done), position. */
typedef struct HearthBeginStep {
  int64_t rows;
  const int32_t* slot; /* [rows] */
  const HearthSlot* slots;
  int32_t* token;    /* [rows] */
  int32_t* index;    /* [rows] */
  int32_t* position; /* [3, rows], the same on all axes */
} HearthBeginStep;

enum {
  HEARTH_SAMPLED_NOTHING = 1,   /* the row's slot was done */
  HEARTH_SAMPLED_LAST = 2,      /* the slot is done now */
  HEARTH_SAMPLED_NOT_FINITE = 4 /* a logit is NaN or infinite: no token, the slot is done */
};

typedef struct HearthSampled {
  uint32_t sequence;
  int32_t slot;
  int32_t token;
  uint32_t step; /* of the answer, from 0 */
  uint32_t flags;
  uint32_t reserved;
  uint64_t time_ns; /* cuda: the device's clock; else the steady clock */
} HearthSampled;

/* Draws one token for each row as transformers does: repetition, presence and frequency penalty;
 * ids that the slot's mask leaves out become impossible; then, when temperature > 0: temperature,
 * top-k (ties of the k-th stay), top-p (the token that crosses stays), min-p, typical (of the ids
 * in the order of |surprise - entropy| those that together reach typical_p, ties of the last
 * staying; Meister et al., arXiv 2202.00666), softmax, one draw. Philox4x32-10 keyed as HearthSlot
 * says (philox.h). All logits must be finite, those of masked ids too.
 * Moves the slot on (token, length, step, flags), counts the token, and appends `rows` entries to
 * the ring, in order of the rows. `first` marks a prompt's end: length stays (the prompt's last
 * token is in the cache, the new one is not). */
typedef struct HearthSample {
  int64_t rows, vocabulary;
  const float* logits; /* [rows, vocabulary] */
  int64_t logits_stride;
  const int32_t* slot; /* [rows] */
  HearthSlot* slots;
  uint16_t* counts; /* [slots, vocabulary]: bit 15 the prompt has the id, below: times answered */
  const uint32_t* masks; /* [slots, (vocabulary + 31) / 32]: id i is bit i % 32 of word i / 32; at
                            least one is set in a masked slot's. Null: no slot is masked */
  int32_t first;         /* 1: after a prompt, 0: after a step */
  HearthSampled* ring;   /* [ring_size], a power of two; on the GPU mapped host memory */
  int64_t ring_size;
  uint64_t* ring_head; /* entries ever written; entry n lies at n % ring_size */
  void* workspace;     /* hearth_sample_workspace_bytes() */
} HearthSample;

size_t hearth_sample_workspace_bytes(int64_t rows, int64_t vocabulary);

/* --- pictures --------------------------------------------------------------------------------- */

/* One axis of a picture resampled by fixed-point weights, which the host makes (models/image):
 *   target[o, i, c] = clamp((sum_j weights[i, j] * source[o, first[i] + j, c] + half) >> precision)
 * over j < count[i], with half = 2^(precision - 1), clamped to 0 .. 255. Columns of a picture are
 * resampled with inner = 3, rows with outer = 1 and inner = 3 * width. All implementations give
 * equal bytes. ref and cpu compute in the calling thread, any number of them at once. */
typedef struct HearthResample {
  int64_t outer, inputs, outputs, inner;
  const uint8_t* source;  /* [outer, inputs, inner] */
  int64_t most;           /* weights kept for each output */
  int32_t precision;      /* 1 .. 22 bits behind the point; no sum of |weights| reaches 2^23 */
  const int32_t* first;   /* [outputs]; first + count <= inputs */
  const int32_t* count;   /* [outputs]; 0 .. most */
  const int16_t* weights; /* [outputs, most] */
  uint8_t* target;        /* [outer, outputs, inner] */
} HearthResample;

/* Frames cut into the rows that a vision tower reads: the merge * merge patches of a token follow
 * each other, tokens in reading order. A still is the same picture in each frame, a step of a clip
 * a picture for each. All implementations give equal bits. */
typedef struct HearthPatchify {
  HearthType type;
  int64_t grid_height, grid_width; /* in patches; multiples of merge */
  int64_t patch, merge, frames;
  int64_t pictures;       /* 1: every frame shows the same one; else frames */
  const uint8_t* picture; /* [pictures, grid_height * patch, grid_width * patch, 3] */
  const float* level;     /* [3, 256]: what a byte of a channel becomes */
  void* rows;             /* [grid_height * grid_width, 3, frames, patch, patch] */
} HearthPatchify;

/* --- the implementations ---------------------------------------------------------------------- */

typedef struct HearthKernels {
  const char* name; /* "ref", "cpu", "cuda" */
  HearthStatus (*unpack)(const HearthUnpack*, void* stream);
  HearthStatus (*linear)(const HearthLinear*, void* stream);
  HearthStatus (*route)(const HearthRoute*, void* stream);
  HearthStatus (*experts)(const HearthExperts*, void* stream);
  HearthStatus (*combine)(const HearthCombine*, void* stream);
  HearthStatus (*embed)(const HearthEmbed*, void* stream);
  HearthStatus (*rms_norm)(const HearthRmsNorm*, void* stream);
  HearthStatus (*swiglu)(const HearthSwiGlu*, void* stream);
  HearthStatus (*gate)(const HearthGate*, void* stream);
  HearthStatus (*rope_angles)(const HearthRopeAngles*, void* stream);
  HearthStatus (*rope_write)(const HearthRopeWrite*, void* stream);
  HearthStatus (*attention)(const HearthAttention*, void* stream);
  HearthStatus (*gather)(const HearthGather*, void* stream);
  HearthStatus (*conv_step)(const HearthConvStep*, void* stream);
  HearthStatus (*delta_step)(const HearthDeltaStep*, void* stream);
  HearthStatus (*begin_step)(const HearthBeginStep*, void* stream);
  HearthStatus (*sample)(const HearthSample*, void* stream);
  HearthStatus (*resample)(const HearthResample*, void* stream);
  HearthStatus (*patchify)(const HearthPatchify*, void* stream);
} HearthKernels;

const HearthKernels* hearth_kernels_ref(void);
const HearthKernels* hearth_kernels_cpu(void);
const HearthKernels* hearth_kernels_cuda(void); /* its functions return HEARTH_NO_DEVICE without */

#ifdef __cplusplus
}
#endif
