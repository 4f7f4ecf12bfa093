#include "models/decoder/traffic.h"

#include "models/decoder/recurrent_states.h"
#include "models/kernels/formats.h"
#include "models/kernels/products.h"

namespace hearth::decoder {
namespace {

std::uint64_t bytes_of(const HearthMatrix& matrix) {
  return hearth_matrix_bytes(matrix.format, matrix.out_features, matrix.in_features) +
         hearth_scale_bytes(matrix.format, matrix.out_features, matrix.in_features);
}

std::uint64_t bytes_of(const Linear& linear, HearthType type) {
  const std::uint64_t bias_bytes =
      linear.bias == nullptr
          ? 0
          : static_cast<std::uint64_t>(linear.matrix.out_features) * kernels::item_bytes(type);
  return bytes_of(linear.matrix) + bias_bytes;
}

std::uint64_t norm_bytes(const float* norm, std::int64_t width) {
  return norm == nullptr ? 0 : static_cast<std::uint64_t>(width) * sizeof(float);
}

std::uint64_t expert_bytes(const Op& op, std::int64_t hidden) {
  const Experts& experts = op.weights->experts;
  const HearthMatrix& one = op.swiglu ? experts.gate_up.first : experts.down.first;
  return norm_bytes(op.norm, hidden) + static_cast<std::uint64_t>(experts.chosen) * bytes_of(one);
}

std::uint64_t delta_bytes(const Op& op, const DeltaRule& delta, HearthType type) {
  if (op.kind == OpKind::kConvolve)
    return static_cast<std::uint64_t>(delta.channels() * delta.taps) * kernels::item_bytes(type);
  return static_cast<std::uint64_t>(2 * delta.value_heads + delta.value_dim) * sizeof(float);
}

// Of one row.
std::uint64_t weights_bytes_of(const Op& op, const Description& description,
                               const Weights& weights) {
  const std::int64_t hidden = description.hidden_size;
  const std::int64_t head_dim = description.layers.front().head_dim;
  switch (op.kind) {
    case OpKind::kEmbed:
      return static_cast<std::uint64_t>(hidden) * kernels::item_bytes(weights.type);
    case OpKind::kNormLinear:
    case OpKind::kLinearAdd:
    case OpKind::kHead:
      return norm_bytes(op.norm, hidden) + bytes_of(*op.linear, weights.type);
    case OpKind::kExpertLinear:
      return expert_bytes(op, hidden);
    case OpKind::kRopeWrite:
      return norm_bytes(op.weights->q_norm, head_dim) + norm_bytes(op.weights->k_norm, head_dim);
    case OpKind::kConvolve:
    case OpKind::kDeltaRule:
      return delta_bytes(op, *description.delta_rule(), weights.type);
    case OpKind::kRoute:  // these compute on activations; a step has no taps and no pictures
    case OpKind::kCombine:
    case OpKind::kAttention:
    case OpKind::kGate:
    case OpKind::kAddDeepstack:
    case OpKind::kTap:
      break;
  }
  return 0;
}

}  // namespace

StepTraffic traffic_of(const Description& description, const Weights& weights) {
  StepTraffic traffic;
  for (const Op& op : build_plan(description, weights))
    traffic.weights_bytes += weights_bytes_of(op, description, weights);
  traffic.state_bytes = RecurrentStates::bytes(description, 1);
  traffic.token_bytes = kv_bytes_per_token(description, kernels::item_bytes(weights.type));
  return traffic;
}

}  // namespace hearth::decoder
