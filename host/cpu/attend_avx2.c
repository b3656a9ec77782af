/* attend on 256-bit registers: see attend_vec.h. */
#if defined(__AVX2__)
#include "host/cpu/attend_vec.h"

void st_cpu_attend_avx2(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
