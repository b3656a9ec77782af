#if defined(__AVX512F__)
#include "host/cpu/norm_row_vec.h"

void st_cpu_norm_avx512(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
