#include "models/kernels/cpu/rows.h"

namespace hearth::kernels::cpu {

const RowFunctions& row_functions(Level level) {
#if defined(__x86_64__)
  switch (level) {
    case Level::generic:
      return kGenericRows;
    case Level::avx2:
      return kAvx2Rows;
    case Level::avx512:
    case Level::avx512vnni:
      return kAvx512Rows;
    case Level::amx:
    case Level::avx512bf16:
      return kAvx512Bf16Rows;
  }
#endif
  static_cast<void>(level);
  return kGenericRows;
}

}  // namespace hearth::kernels::cpu
