#if defined(__AVX2__)
#include "host/cpu/norm_row_vec.h"

void st_cpu_norm_avx2(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
