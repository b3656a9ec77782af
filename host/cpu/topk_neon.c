#if defined(__aarch64__)
#include "host/cpu/topk_vec.h"

void st_cpu_topk_neon(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
