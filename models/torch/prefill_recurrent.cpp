// A prefill's way through gates and layers of the delta rule.

#include "models/torch/prefill.h"

namespace hearth::engine {

using decoder::Buffer;
using decoder::Op;

Result<void> Prefill::gate(const Op& op, const Part& part) {
  const HearthType type = op.in == Buffer::kRouted ? HEARTH_F32 : compute_.type;
  const auto* gates =
      static_cast<const std::byte*>(buffer(op.in, part.first)) +
      static_cast<std::size_t>(op.gates.first) * item_bytes_of(op.in, compute_.type);
  const HearthGate call{.type = compute_.type,
                        .rows = part.rows,
                        .width = op.gates.width,
                        .gate_type = type,
                        .gates = op.gates.count,
                        .gate = gates,
                        .gate_stride = width(op.in),
                        .output = buffer(op.out, part.first),
                        .output_stride = width(op.out)};
  return decoder::check_status(compute_.kernels().gate(&call, compute_.memory->stream()), "gate");
}

// Of all rows: each moves the state on.
DeltaChunk Prefill::delta_chunk(const Op& op, const Run& run) const {
  return {.rows = static_cast<std::int64_t>(run.ids.size()),
          .qkv = buffer(Buffer::kQkv),
          .qkv_stride = width(Buffer::kQkv),
          .gates = buffer(Buffer::kGates),
          .gates_stride = width(Buffer::kGates),
          .window = step_.recurrent().window(op.index, run.slot),
          .state = step_.recurrent().state(op.index, run.slot),
          .output = buffer(Buffer::kAttended),
          .output_stride = width(Buffer::kAttended)};
}

}  // namespace hearth::engine
