#include "models/kernels/cpu/functions.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels::cpu {

HearthStatus unpack(const HearthUnpack* call, void* stream) {
  return ref::unpack(call, stream);
}

}  // namespace hearth::kernels::cpu
