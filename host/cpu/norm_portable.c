#include "host/cpu/cpu.h"

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    (void)scratch;
    const st_norm_args *a = args;
    int32_t from = st_cpu_source_row(cpu, a->rows, r);
    if (from < 0)
        return;
    size_t dim = (size_t)a->dim;
    const float *x = (const float *)st_cpu_data(a->src) + (size_t)from * dim, *w = st_cpu_data(a->weight);
    float *dst = (float *)st_cpu_data(a->dst) + (size_t)r * dim;
    float factor = st_rms_factor(x, a->dim, a->eps);
    for (size_t i = 0; i < dim; i++) {
        float y = x[i] * factor * w[i];
        dst[i] = a->accumulate ? dst[i] + y : y;
    }
}

void st_cpu_norm_portable(st_cpu *cpu, const void *args)
{
    const st_norm_args *a = args;
    st_cpu_rows(cpu, st_cpu_row_count(cpu, a->rows), 8 * ST_CPU_WORK_NORM * (int64_t)a->dim, row, args);
}
