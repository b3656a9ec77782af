/* attend on 512-bit registers: see attend_vec.h. */
#if defined(__AVX512F__)
#include "host/cpu/attend_vec.h"

void st_cpu_attend_avx512(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
