/* linear: TERNARY x int8 by products of 16 bits, for processors without dot products: see linear_neon.h. */
#if defined(__aarch64__)
#include "host/cpu/linear_neon.h"

/* Sums of two products fit 16 bits: at most 2 * 48 * 128. */
static inline int32x4_t half_dot(int32x4_t sum, int8x16_t code, int8x16_t act)
{
    int16x8_t low = vmull_s8(vget_low_s8(code), vget_low_s8(act)), high = vmull_high_s8(code, act);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
}

bool st_cpu_linear_neon_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_neon(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
