/* What kernels for all instruction sets need beside arithmetic. Only for the files that are compiled for one.
 */
#ifndef ST_CPU_SIMD_H
#define ST_CPU_SIMD_H

#include "host/cpu/cpu.h"

#if ST_CPU_X86
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

/* For functions whose loops must be unrolled by constant arguments, or their sums go through memory. */
#if defined(__GNUC__)
#define INLINE   static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#else
#define INLINE static inline
#define NOINLINE
#endif

#if defined(__AVX512VNNI__)
/* sum + 4 codes x 4 activations in every lane. Of the intrinsic gcc 12 makes a sum that it copies, and spills
 * where there are many. */
INLINE __m512i dpbusd_512(__m512i sum, __m512i code, __m512i act)
{
#if defined(__GNUC__) && !defined(__clang__)
    __asm__("vpdpbusd\t%2, %1, %0" : "+v"(sum) : "v"(code), "v"(act));
    return sum;
#else
    return _mm512_dpbusd_epi32(sum, code, act);
#endif
}
#endif

/* Fetches a line to the first-level cache, or to the second; any address will do. */
#if ST_CPU_X86
INLINE void fetch_near(uintptr_t at)
{
    _mm_prefetch((const char *)at, _MM_HINT_T0);
}

INLINE void fetch_far(uintptr_t at)
{
    _mm_prefetch((const char *)at, _MM_HINT_T1);
}
#elif defined(__GNUC__)
INLINE void fetch_near(uintptr_t at)
{
    __builtin_prefetch((const void *)at, 0, 3);
}

INLINE void fetch_far(uintptr_t at)
{
    __builtin_prefetch((const void *)at, 0, 2);
}
#else
INLINE void fetch_near(uintptr_t at)
{
    (void)at;
}

INLINE void fetch_far(uintptr_t at)
{
    (void)at;
}
#endif

#endif
