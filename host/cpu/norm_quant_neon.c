#if defined(__aarch64__)
#include "host/cpu/norm_quant_vec.h"

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    st_cpu_norm_quant_row(&quant_loops, cpu, args, r, scratch);
}

void st_cpu_norm_quant_neon(st_cpu *cpu, const void *args)
{
    const st_norm_quant_args *a = args;
    st_cpu_rows(cpu, st_cpu_row_count(cpu, a->rows), ST_CPU_WORK_NORM_QUANT * (int64_t)a->dst.cols, row,
                args);
}
#else
typedef int empty_translation_unit;
#endif
