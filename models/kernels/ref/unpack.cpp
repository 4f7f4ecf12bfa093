#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/formats.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels::ref {
namespace {

template <class T>
void unpack_to(const HearthUnpack& u) {
  T* target = static_cast<T*>(u.target);
  for (std::int64_t i = 0; i < u.count; ++i)
    for (std::int64_t k = 0; k < u.matrix.in_features; ++k)
      store(target + i * u.matrix.in_features + k, weight_at(u.matrix, u.first + i, k));
}

}  // namespace

HearthStatus unpack(const HearthUnpack* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? unpack_to<float>(*call) : unpack_to<BFloat16>(*call);
  return HEARTH_OK;
}

}  // namespace hearth::kernels::ref
