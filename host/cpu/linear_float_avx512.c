/* linear: TERNARY and Q8 weights in tiles, f32 input: see linear_float_vec.h. */
#if defined(__AVX512F__)
#include "host/cpu/linear_float_vec.h"

bool st_cpu_linear_float_avx512_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_float_avx512(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
