/* attend on pairs of NEON registers: see attend_vec.h. */
#if defined(__aarch64__)
#include "host/cpu/attend_vec.h"

void st_cpu_attend_neon(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
