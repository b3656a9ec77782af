#include "host/cpu/cpu.h"

static void normalise(const float *x, const float *weight, int32_t n, float eps, float *y)
{
    float factor = st_rms_factor(x, n, eps);
    for (int32_t i = 0; i < n; i++)
        y[i] = x[i] * factor * weight[i];
}

static float quantise(const float *x, int32_t n, int8_t *code)
{
    return st_quantise(x, n, code).scale;
}

static int32_t sum(const int8_t *code, int32_t n)
{
    int32_t total = 0;
    for (int32_t i = 0; i < n; i++)
        total += code[i];
    return total;
}

const st_cpu_quant_loops st_cpu_quant_portable = {normalise, st_hadamard, quantise, sum};

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    st_cpu_norm_quant_row(&st_cpu_quant_portable, cpu, args, r, scratch);
}

void st_cpu_norm_quant_portable(st_cpu *cpu, const void *args)
{
    const st_norm_quant_args *a = args;
    st_cpu_rows(cpu, st_cpu_row_count(cpu, a->rows), 8 * ST_CPU_WORK_NORM_QUANT * (int64_t)a->dst.cols, row,
                args);
}
