/* linear: rows of dense weights and of blocks, f32 input: see linear_dense_vec.h. */
#if defined(__AVX512F__)
#include "host/cpu/linear_dense_vec.h"

bool st_cpu_linear_dense_avx512_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_dense_avx512(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
