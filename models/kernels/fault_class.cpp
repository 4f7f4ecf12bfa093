#include "models/kernels/fault_class.h"

namespace hearth::kernels {

FaultClass fault_class(int cuda_code) {
  switch (cuda_code) {
    case 2:  // memory allocation
      return FaultClass::kOutOfMemory;
    case 46:   // devices unavailable: in use by another process
    case 600:  // not ready
    case 802:  // system not ready
    case 807:  // MPS server not ready
    case 808:  // MPS: too many clients
    case 809:  // MPS: too many connections
    case 909:  // timeout
      return FaultClass::kTransient;
    case 53:   // a launch before this one failed
    case 214:  // uncorrectable ECC error
    case 220:  // uncorrectable NVLink error
    case 226:  // an error that was contained in this process
    case 700:  // illegal address
    case 702:  // launch timeout
    case 709:  // context is destroyed
    case 710:  // device-side assert
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failure
    case 721:  // tensor memory leak
    case 806:  // MPS: the server does not answer
    case 810:  // MPS: the client was terminated
    case 911:  // another device's error
    case 999:  // unknown
      return FaultClass::kSticky;
    case 100:  // no device, where there was one
    case 101:  // invalid device, likewise
    case 803:  // the driver was replaced under the running system
      return FaultClass::kDeviceLost;
    default:
      return FaultClass::kProgram;
  }
}

}  // namespace hearth::kernels
