/* norm for vectors of any width. */
#ifndef ST_CPU_NORM_ROW_VEC_H
#define ST_CPU_NORM_ROW_VEC_H

#include "host/cpu/norm_vec.h"

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_norm_args *a = args;
    int32_t from = st_cpu_source_row(cpu, a->rows, r), n = a->dim;
    if (from < 0)
        return;
    const float *x = (const float *)st_cpu_data(a->src) + (size_t)from * (size_t)n,
                *w = st_cpu_data(a->weight);
    float *dst = (float *)st_cpu_data(a->dst) + (size_t)r * (size_t)n;
    float factor = rms_factor(x, n, a->eps);
    scale_row(x, factor, w, n, a->accumulate ? scratch : dst);
    if (!a->accumulate)
        return;
    int32_t i = 0;
    for (; i + VEC <= n; i += VEC)
        vec_store(dst + i, vec_add(vec_load(dst + i), vec_load(scratch + i)));
    for (; i < n; i++)
        dst[i] = dst[i] + scratch[i];
}

static void run(st_cpu *cpu, const void *args)
{
    const st_norm_args *a = args;
    st_cpu_rows(cpu, st_cpu_row_count(cpu, a->rows), ST_CPU_WORK_NORM * (int64_t)a->dim, row, args);
}

#endif
