#if defined(__aarch64__)
#include "host/cpu/glu_norm_quant_vec.h"

void st_cpu_glu_norm_quant_neon(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
