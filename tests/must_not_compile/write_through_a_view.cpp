// expects: read-only|not assignable
// A client's picture is read, never written.
#include "shm/tensor.h"

std::byte first_byte(hearth::TensorView& view) {
#ifdef OFFENCE
  view.bytes[0] = std::byte{1};
#endif
  return view.bytes[0];
}
