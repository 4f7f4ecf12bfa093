// What every implementation refuses before it computes.
#pragma once

#include "models/kernels/kernels.h"

namespace hearth::kernels {

inline bool is_type(HearthType type) {
  return type == HEARTH_F32 || type == HEARTH_BF16;
}

inline bool is_sound(const HearthMatrix& matrix) {
  if (matrix.format < HEARTH_FORMAT_F32 || matrix.format > HEARTH_FORMAT_INT4) return false;
  const bool scaled = matrix.format >= HEARTH_FORMAT_FP8;
  return matrix.data != nullptr && (!scaled || matrix.scales != nullptr) &&
         matrix.out_features >= 1 && matrix.in_features >= 1;
}

// Whether activations of `type` go with weights of `format`.
inline bool go_together(HearthFormat format, HearthType type) {
  if (format == HEARTH_FORMAT_F32) return type == HEARTH_F32;
  if (format == HEARTH_FORMAT_BF16) return type == HEARTH_BF16;
  return is_type(type);
}

inline int64_t output_width(const HearthLinear& linear) {
  return linear.weight.out_features / (linear.epilogue == HEARTH_SWIGLU ? 2 : 1);
}

inline HearthStatus check(const HearthLinear* linear) {
  if (linear == nullptr || linear->input == nullptr || linear->output == nullptr ||
      !is_sound(linear->weight))
    return HEARTH_BAD_ARGUMENT;
  if (!go_together(linear->weight.format, linear->type) ||
      (linear->output_type != HEARTH_F32 && linear->output_type != linear->type))
    return HEARTH_BAD_ARGUMENT;
  if (linear->epilogue < HEARTH_STORE || linear->epilogue > HEARTH_SWIGLU ||
      (linear->epilogue == HEARTH_SWIGLU && linear->weight.out_features % 2 != 0))
    return HEARTH_BAD_ARGUMENT;
  if (linear->rows < 1 || linear->rows > HEARTH_MAX_ROWS) return HEARTH_BAD_ARGUMENT;
  if (linear->input_stride < linear->weight.in_features ||
      linear->output_stride < output_width(*linear))
    return HEARTH_BAD_ARGUMENT;
  return HEARTH_OK;
}

inline bool is_sound(const HearthMatrices& matrices) {
  return is_sound(matrices.first) && matrices.count >= 1 && matrices.count <= HEARTH_MAX_EXPERTS &&
         matrices.stride_bytes >= 0;
}

inline HearthStatus check(const HearthExperts* experts) {
  if (experts == nullptr || experts->chosen == nullptr || experts->input == nullptr ||
      experts->output == nullptr || !is_sound(experts->weight))
    return HEARTH_BAD_ARGUMENT;
  const HearthMatrix& first = experts->weight.first;
  const bool swiglu = experts->epilogue == HEARTH_SWIGLU;
  if (!is_type(experts->type) || !go_together(first.format, experts->type) ||
      (!swiglu && experts->epilogue != HEARTH_STORE) || (swiglu && first.out_features % 2 != 0))
    return HEARTH_BAD_ARGUMENT;
  if (experts->rows < 1 || experts->rows > HEARTH_MAX_ROWS || experts->each < 1 ||
      experts->each > HEARTH_MAX_CHOSEN)
    return HEARTH_BAD_ARGUMENT;
  const bool fits = swiglu ? experts->input_stride >= first.in_features : experts->norm == nullptr;
  return fits ? HEARTH_OK : HEARTH_BAD_ARGUMENT;
}

inline HearthStatus check(const HearthPack* pack) {
  if (pack == nullptr || pack->source == nullptr || !is_sound(pack->matrix) || !is_type(pack->type))
    return HEARTH_BAD_ARGUMENT;
  if (pack->rows < 1 || pack->first < 0 || pack->step < 1 ||
      pack->first + (pack->rows - 1) * pack->step >= pack->matrix.out_features)
    return HEARTH_BAD_ARGUMENT;
  return HEARTH_OK;
}

inline HearthStatus check(const HearthUnpack* unpack) {
  if (unpack == nullptr || unpack->target == nullptr || !is_sound(unpack->matrix) ||
      !is_type(unpack->type))
    return HEARTH_BAD_ARGUMENT;
  if (unpack->first < 0 || unpack->count < 1 ||
      unpack->first + unpack->count > unpack->matrix.out_features)
    return HEARTH_BAD_ARGUMENT;
  return HEARTH_OK;
}

}  // namespace hearth::kernels
