// What every implementation refuses before it computes; the linear's checks are in check.h.
//
// Values in tensors (tokens, slots, indices) are not checked: on a GPU the host cannot see them.
#pragma once

#include <cstdint>

#include "models/kernels/kernels.h"

namespace hearth::kernels {

inline HearthStatus status_of(bool good) {
  return good ? HEARTH_OK : HEARTH_BAD_ARGUMENT;
}

template <class... Pointers>
bool all_given(const Pointers*... pointers) {
  return ((pointers != nullptr) && ...);
}

inline bool is_known(HearthType type) {
  return type == HEARTH_F32 || type == HEARTH_BF16;
}

inline bool is_whole(const HearthCache& cache) {
  return is_known(cache.type) && all_given(cache.pages, cache.table) && cache.table_stride >= 1 &&
         cache.kv_heads >= 1 && cache.head_dim >= 1;
}

inline HearthStatus check(const HearthRoute* call) {
  return status_of(call != nullptr && all_given(call->logits, call->chosen, call->shares) &&
                   call->rows >= 1 && call->experts >= 1 && call->experts <= HEARTH_MAX_EXPERTS &&
                   call->each >= 1 && call->each <= HEARTH_MAX_CHOSEN &&
                   call->each <= call->experts && call->logits_stride >= call->experts);
}

inline HearthStatus check(const HearthCombine* call) {
  return status_of(call != nullptr && is_known(call->type) &&
                   all_given(call->shares, call->input, call->output) && call->rows >= 1 &&
                   call->each >= 1 && call->each <= HEARTH_MAX_CHOSEN && call->width >= 1 &&
                   call->output_stride >= call->width);
}

inline HearthStatus check(const HearthEmbed* call) {
  return status_of(call != nullptr && is_known(call->type) &&
                   all_given(call->table, call->token, call->output) && call->vocabulary >= 1 &&
                   call->width >= 1 && call->rows >= 1 && call->output_stride >= call->width);
}

inline HearthStatus check(const HearthRmsNorm* call) {
  return status_of(call != nullptr && is_known(call->type) &&
                   all_given(call->input, call->weight, call->output) && call->rows >= 1 &&
                   call->width >= 1 && call->input_stride >= call->width &&
                   call->output_stride >= call->width &&
                   (call->residual == nullptr || call->residual_stride >= call->width));
}

inline HearthStatus check(const HearthSwiGlu* call) {
  return status_of(call != nullptr && is_known(call->type) &&
                   all_given(call->input, call->output) && call->rows >= 1 && call->width >= 1 &&
                   call->input_stride >= 2 * call->width && call->output_stride >= call->width);
}

inline HearthStatus check(const HearthGate* call) {
  return status_of(call != nullptr && is_known(call->type) &&
                   (call->gate_type == HEARTH_F32 || call->gate_type == call->type) &&
                   all_given(call->gate, call->output) && call->rows >= 1 && call->width >= 1 &&
                   (call->gates == 1 || call->gates == call->width) &&
                   call->gate_stride >= call->gates && call->output_stride >= call->width);
}

inline HearthStatus check(const HearthRopeAngles* call) {
  return status_of(
      call != nullptr &&
      all_given(call->position, call->frequency, call->axis, call->cosines, call->sines) &&
      call->rows >= 1 && call->half >= 1);
}

// Without key heads nothing is written.
inline bool is_whole_or_unused(const HearthCache& cache) {
  return cache.kv_heads == 0 ? cache.head_dim >= 1 : is_whole(cache);
}

inline HearthStatus check(const HearthRopeWrite* call) {
  return status_of(call != nullptr && is_known(call->type) && is_whole_or_unused(call->cache) &&
                   call->cache.type == call->type && call->cache.head_dim % 2 == 0 &&
                   all_given(call->qkv, call->cosines, call->sines, call->slot, call->index) &&
                   call->rows >= 1 && call->heads >= 1 &&
                   call->qkv_stride >=
                       (call->heads + 2 * call->cache.kv_heads) * call->cache.head_dim);
}

inline HearthStatus check(const HearthAttention* call) {
  return status_of(call != nullptr && is_known(call->type) && is_whole(call->cache) &&
                   call->cache.type == call->type &&
                   all_given(call->query, call->slot, call->index, call->output, call->workspace) &&
                   call->rows >= 1 && call->heads >= 1 && call->heads % call->cache.kv_heads == 0 &&
                   call->most_tokens >= 1 &&
                   call->most_tokens <= call->cache.table_stride * HEARTH_PAGE_TOKENS &&
                   call->query_stride >= call->heads * call->cache.head_dim &&
                   call->output_stride >= call->heads * call->cache.head_dim);
}

inline HearthStatus check(const HearthGather* call) {
  return status_of(call != nullptr && is_whole(call->cache) &&
                   all_given(call->keys, call->values) && call->slot >= 0 && call->tokens >= 1 &&
                   call->tokens <= call->cache.table_stride * HEARTH_PAGE_TOKENS);
}

inline HearthStatus check(const HearthConvStep* call) {
  return status_of(call != nullptr && is_known(call->type) &&
                   all_given(call->input, call->weight, call->slot, call->window, call->output) &&
                   call->rows >= 1 && call->channels >= 1 && call->taps >= 2 &&
                   call->input_stride >= call->channels && call->output_stride >= call->channels);
}

inline bool has_delta_pointers(const HearthDeltaStep& call) {
  return all_given(call.qkv, call.z, call.a, call.b, call.a_log, call.dt_bias, call.norm) &&
         all_given(call.slot, call.state, call.output);
}

inline HearthStatus check(const HearthDeltaStep* call) {
  if (call == nullptr || !is_known(call->type) || !has_delta_pointers(*call))
    return HEARTH_BAD_ARGUMENT;
  const bool shaped = call->rows >= 1 && call->key_heads >= 1 && call->value_heads >= 1 &&
                      call->value_heads % call->key_heads == 0 && call->key_dim >= 1 &&
                      call->value_dim >= 1;
  const std::int64_t values = call->value_heads * call->value_dim;
  return status_of(shaped && call->qkv_stride >= 2 * call->key_heads * call->key_dim + values &&
                   call->z_stride >= values && call->ab_stride >= call->value_heads &&
                   call->output_stride >= values);
}

inline HearthStatus check(const HearthBeginStep* call) {
  return status_of(call != nullptr && call->rows >= 1 &&
                   all_given(call->slot, call->slots, call->token, call->index, call->position));
}

inline HearthStatus check(const HearthSample* call) {
  return status_of(call != nullptr && call->rows >= 1 && call->vocabulary >= 1 &&
                   call->logits_stride >= call->vocabulary &&
                   all_given(call->logits, call->slot, call->slots, call->counts, call->ring,
                             call->ring_head, call->workspace) &&
                   call->ring_size >= call->rows && (call->ring_size & (call->ring_size - 1)) == 0);
}

inline HearthStatus check(const HearthResample* call) {
  return status_of(call != nullptr &&
                   all_given(call->source, call->first, call->count, call->weights, call->target) &&
                   call->outer >= 1 && call->inputs >= 1 && call->outputs >= 1 &&
                   call->inner >= 1 && call->most >= 1 && call->precision >= 1 &&
                   call->precision <= 22);
}

inline HearthStatus check(const HearthPatchify* call) {
  return status_of(call != nullptr && is_known(call->type) &&
                   all_given(call->picture, call->level, call->rows) && call->patch >= 1 &&
                   call->merge >= 1 && call->frames >= 1 &&
                   (call->pictures == 1 || call->pictures == call->frames) &&
                   call->grid_height >= 1 && call->grid_width >= 1 &&
                   call->grid_height % call->merge == 0 && call->grid_width % call->merge == 0);
}

}  // namespace hearth::kernels
