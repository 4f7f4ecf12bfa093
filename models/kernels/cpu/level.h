// What the processor can: chosen once by cpuid.
//
// Any thread. The environment variable HEARTH_CPU_LEVEL (a name below) lowers the level, so that
// one machine can test them all; a level that the machine lacks is not taken.
#pragma once

namespace hearth::kernels::cpu {

// Each includes those before it.
enum class Level {
  generic,     // what every machine of this architecture has
  avx2,        // AVX2, FMA, F16C
  avx512,      // F, BW, DQ, VL
  avx512vnni,  // 8-bit products, four at a time
  avx512bf16,  // bf16 products, two at a time
  amx          // products of tiles (amx.h)
};
inline constexpr int kLevels = 6;

const char* level_name(Level level);

// The highest level of this machine, whatever the environment says.
Level machine_level();

// The level that the kernels use.
Level level();

// For tests: the level from here on, at most machine_level(). Not while a kernel runs.
void set_level(Level level);

}  // namespace hearth::kernels::cpu

// Plain loops that become vector code of the level of the function they are called from.
#define HEARTH_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#define HEARTH_AVX2 __attribute__((target("avx2,fma,f16c")))
#define HEARTH_AVX512 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#define HEARTH_AVX512VNNI \
  __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define HEARTH_AVX512BF16                                                   \
  __attribute__((                                                           \
      target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni," \
             "avx512bf16")))
#endif
