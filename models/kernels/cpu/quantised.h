// The inner loops of int8 and int4 matrices: integer products of a group, exact and so equal on
// every level, then one fused multiply-add in fp32 for each group, in order.
//
// Weights are unsigned with an offset (128 or 8) because the processors' instructions multiply
// unsigned by signed bytes; a group's sum starts from -offset * sum of its inputs.
#pragma once

#include "models/kernels/cpu/linear_job.h"

namespace hearth::kernels::cpu {

void int8_tiles_generic(const LinearJob& job, std::int64_t first, std::int64_t last);
void int4_tiles_generic(const LinearJob& job, std::int64_t first, std::int64_t last);
#if defined(__x86_64__)
void int8_tiles_avx2(const LinearJob& job, std::int64_t first, std::int64_t last);
void int4_tiles_avx2(const LinearJob& job, std::int64_t first, std::int64_t last);
void int8_tiles_vnni(const LinearJob& job, std::int64_t first, std::int64_t last);
void int4_tiles_vnni(const LinearJob& job, std::int64_t first, std::int64_t last);

// By AMX (amx.h): the job's input is Layout::kRowsOfBytes.
void int8_tiles_amx(const LinearJob& job, std::int64_t first, std::int64_t last);
void int4_tiles_amx(const LinearJob& job, std::int64_t first, std::int64_t last);
#endif

}  // namespace hearth::kernels::cpu
