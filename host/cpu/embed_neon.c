#if defined(__aarch64__)
#include "host/cpu/embed_vec.h"

void st_cpu_embed_neon(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
