#include "models/kernels/gemm.h"

int hearth_gemm_cpu_available(void) {
  return 0;
}

HearthStatus hearth_gemm_cpu(const HearthGemm*) {
  return HEARTH_UNSUPPORTED;
}

HearthStatus hearth_flash_cpu(const HearthFlash*) {
  return HEARTH_UNSUPPORTED;
}
