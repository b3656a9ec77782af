/* glu_norm_quant for vectors of any width. */
#ifndef ST_CPU_GLU_NORM_QUANT_VEC_H
#define ST_CPU_GLU_NORM_QUANT_VEC_H

#include "host/cpu/norm_quant_vec.h"

INLINE vec activate(const st_act act, vec x)
{
    switch (act) {
    case ST_ACT_SILU:
        return vec_silu(x);
    case ST_ACT_RELU2:
        return vec_relu2(x);
    default:
        return vec_gelu(x);
    }
}

INLINE void gate_row(const st_act act, const float *gate, const float *up, int32_t n, float *h)
{
    int32_t i = 0;
    for (; i + VEC <= n; i += VEC)
        vec_store(h + i, vec_mul(activate(act, vec_load(gate + i)), vec_load(up + i)));
    for (; i < n; i++)
        h[i] = st_activate(act, gate[i]) * up[i];
}

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_glu_norm_quant_args *a = args;
    if (st_cpu_source_row(cpu, ST_ROWS_TOKEN, r) < 0)
        return;
    int32_t n = a->dst.cols;
    const float *gate = (const float *)st_cpu_data(a->src) + (size_t)r * 2 * (size_t)n, *up = gate + n;
    switch (a->act) {
    case ST_ACT_SILU:
        gate_row(ST_ACT_SILU, gate, up, n, scratch);
        break;
    case ST_ACT_RELU2:
        gate_row(ST_ACT_RELU2, gate, up, n, scratch);
        break;
    case ST_ACT_GELU:
        gate_row(ST_ACT_GELU, gate, up, n, scratch);
        break;
    }
    st_cpu_quantiser z = {a->weight, a->eps, a->rotation, &a->dst};
    st_cpu_quantise_row(&quant_loops, &z, scratch, scratch, r);
}

static void run(st_cpu *cpu, const void *args)
{
    const st_glu_norm_quant_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_token, ST_CPU_WORK_GLU * (int64_t)a->dst.cols, row, args);
}

#endif
