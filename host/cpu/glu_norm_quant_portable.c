#include "host/cpu/cpu.h"

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_glu_norm_quant_args *a = args;
    if (st_cpu_source_row(cpu, ST_ROWS_TOKEN, r) < 0)
        return;
    size_t cols = (size_t)a->dst.cols;
    const float *gate = (const float *)st_cpu_data(a->src) + (size_t)r * 2 * cols, *up = gate + cols;
    for (size_t i = 0; i < cols; i++)
        scratch[i] = st_activate(a->act, gate[i]) * up[i];
    st_cpu_quantiser z = {a->weight, a->eps, a->rotation, &a->dst};
    st_cpu_quantise_row(&st_cpu_quant_portable, &z, scratch, scratch, r);
}

void st_cpu_glu_norm_quant_portable(st_cpu *cpu, const void *args)
{
    const st_glu_norm_quant_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_token, 8 * ST_CPU_WORK_GLU * (int64_t)a->dst.cols, row, args);
}
