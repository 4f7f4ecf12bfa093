#include "models/kernels/check_operations.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/numbers.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ __launch_bounds__(kThreads) void embed_kernel(HearthEmbed c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  const long long i = static_cast<long long>(blockIdx.y) * kThreads + threadIdx.x;
  if (i >= c.width) return;
  const int token = c.token[row];
  const bool known = token >= 0 && token < c.vocabulary;
  T* to = static_cast<T*>(c.output) + row * c.output_stride + i;
  if (known)
    *to = static_cast<const T*>(c.table)[token * c.width + i];
  else
    store(to, 0.0f);
}

// A block for each row. The residual sum is rounded before it is squared, as it is kept.
template <class T>
__global__ __launch_bounds__(kThreads) void rms_norm_kernel(HearthRmsNorm c) {
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  wait_for_previous();
  const long long row = blockIdx.x;
  T* input = static_cast<T*>(c.input) + row * c.input_stride;
  T* output = static_cast<T*>(c.output) + row * c.output_stride;
  float squares = 0.0f;
  for (long long i = threadIdx.x; i < c.width; i += kThreads) {
    if (c.residual != nullptr) {
      const T* residual = static_cast<const T*>(c.residual) + row * c.residual_stride;
      store(input + i, to_float(input[i]) + to_float(residual[i]));
    }
    const float x = to_float(input[i]);
    squares += x * x;
  }
  const float mean = block_sum(squares, scratch) / static_cast<float>(c.width);
  const float scale = 1.0f / sqrtf(mean + c.epsilon);
  for (long long i = threadIdx.x; i < c.width; i += kThreads)
    store(output + i, to_float(input[i]) * scale * c.weight[i]);
}

template <class T>
__global__ __launch_bounds__(kThreads) void swiglu_kernel(HearthSwiGlu c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  const long long i = static_cast<long long>(blockIdx.y) * kThreads + threadIdx.x;
  if (i >= c.width) return;
  const T* input = static_cast<const T*>(c.input) + row * c.input_stride + 2 * i;
  store(static_cast<T*>(c.output) + row * c.output_stride + i,
        silu(to_float(input[0])) * to_float(input[1]));
}

template <class T, class G>
__global__ __launch_bounds__(kThreads) void gate_kernel(HearthGate c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  const long long i = static_cast<long long>(blockIdx.y) * kThreads + threadIdx.x;
  if (i >= c.width) return;
  const G* gate = static_cast<const G*>(c.gate) + row * c.gate_stride;
  T* output = static_cast<T*>(c.output) + row * c.output_stride + i;
  store(output, to_float(*output) * sigmoid(to_float(gate[c.gates == 1 ? 0 : i])));
}

__global__ __launch_bounds__(kThreads) void rope_angles_kernel(HearthRopeAngles c) {
  wait_for_previous();
  const long long at = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= c.rows * c.half) return;
  const long long row = at / c.half;
  const long long i = at % c.half;
  const float angle = static_cast<float>(c.position[c.axis[i] * c.rows + row]) * c.frequency[i];
  c.cosines[at] = cosf(angle);
  c.sines[at] = sinf(angle);
}

__global__ __launch_bounds__(kWarp) void begin_step_kernel(HearthBeginStep c) {
  wait_for_previous();
  const long long row = static_cast<long long>(blockIdx.x) * kWarp + threadIdx.x;
  if (row >= c.rows) return;
  const int number = c.slot[row];
  const bool running = number >= 0 && (c.slots[number].flags & HEARTH_SLOT_DONE) == 0;
  const int length = running ? c.slots[number].length : 0;
  c.token[row] = running ? c.slots[number].token : 0;
  c.index[row] = running ? length : -1;
  const int position = running ? length + c.slots[number].position_delta : 0;
  for (int axis = 0; axis < 3; ++axis) c.position[axis * c.rows + row] = position;
}

Shape each_number(long long width, long long rows) {
  return {dim3(static_cast<unsigned>(rows), blocks_for(width, kThreads)), kThreads};
}

}  // namespace

HearthStatus embed(const HearthEmbed* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->type == HEARTH_F32 ? &embed_kernel<float> : &embed_kernel<BFloat16>;
  return launch(each_number(call->width, call->rows), stream, kernel, *call);
}

HearthStatus rms_norm(const HearthRmsNorm* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->type == HEARTH_F32 ? &rms_norm_kernel<float> : &rms_norm_kernel<BFloat16>;
  const Shape shape{dim3(static_cast<unsigned>(call->rows)), kThreads,
                    kThreads / kWarp * sizeof(float)};
  return launch(shape, stream, kernel, *call);
}

HearthStatus swiglu(const HearthSwiGlu* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->type == HEARTH_F32 ? &swiglu_kernel<float> : &swiglu_kernel<BFloat16>;
  return launch(each_number(call->width, call->rows), stream, kernel, *call);
}

HearthStatus gate(const HearthGate* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->type == HEARTH_F32        ? &gate_kernel<float, float>
                 : call->gate_type == HEARTH_F32 ? &gate_kernel<BFloat16, float>
                                                 : &gate_kernel<BFloat16, BFloat16>;
  return launch(each_number(call->width, call->rows), stream, kernel, *call);
}

HearthStatus rope_angles(const HearthRopeAngles* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  return launch({dim3(blocks_for(call->rows * call->half, kThreads)), kThreads}, stream,
                rope_angles_kernel, *call);
}

HearthStatus begin_step(const HearthBeginStep* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  return launch({dim3(blocks_for(call->rows, kWarp)), kWarp}, stream, begin_step_kernel, *call);
}

}  // namespace hearth::kernels::cuda
