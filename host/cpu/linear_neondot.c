/* linear: TERNARY x int8 by the dot products of ARMv8.2: see linear_neon.h. */
#if defined(__ARM_FEATURE_DOTPROD)
#include "host/cpu/linear_neon.h"

static inline int32x4_t half_dot(int32x4_t sum, int8x16_t code, int8x16_t act)
{
    return vdotq_s32(sum, code, act);
}

bool st_cpu_linear_neondot_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_neondot(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
