#include "models/kernels/cpu/functions.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels::cpu {

HearthStatus linear(const HearthLinear* call, void* stream) {
  return ref::linear(call, stream);
}

}  // namespace hearth::kernels::cpu
