/* norm_quant, and the half of it that glu_norm_quant ends with. */
#include "host/cpu/cpu.h"

static void rotate(const st_rotation *rotation, float *y, int32_t cols)
{
    if (rotation->sign) {
        const float *sign = st_cpu_data(rotation->sign);
        for (int32_t i = 0; i < cols; i++)
            y[i] = sign[i] * y[i];
    }
    st_hadamard(y, cols, rotation->block);
}

static int32_t sum_codes(const int8_t *code, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += code[i];
    return sum;
}

void st_cpu_quantise_row_portable(const st_cpu_quantiser *z, float *y, int32_t row)
{
    int32_t cols = z->dst->cols;
    if (z->weight) {
        const float *w = st_cpu_data(z->weight);
        float factor = st_rms_factor(y, cols, z->eps);
        for (int32_t i = 0; i < cols; i++)
            y[i] = y[i] * factor * w[i];
    }
    if (z->rotation.block)
        rotate(&z->rotation, y, cols);
    st_cpu_qact q = st_cpu_planes(z->dst);
    int8_t *code = q.code + (size_t)row * q.stride;
    int32_t group = z->dst->act_group ? z->dst->act_group : cols;
    for (int32_t g = 0; g < q.n_scale; g++) {
        int32_t from = g * group, n = (int32_t)st_min(group, cols - from);
        q.scale[(size_t)row * (size_t)q.n_scale + (size_t)g] = st_quantise(y + from, n, code + from).scale;
    }
    memset(code + cols, 0, q.stride - (size_t)cols);
    int32_t sum_group = z->dst->sum_group ? z->dst->sum_group : cols;
    for (int32_t g = 0; g < q.n_sum; g++) {
        int32_t from = g * sum_group;
        q.sum[(size_t)row * (size_t)q.n_sum + (size_t)g] =
            sum_codes(code + from, (int32_t)st_min(sum_group, cols - from));
    }
}

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_norm_quant_args *a = args;
    int32_t from = st_cpu_source_row(cpu, a->rows, r);
    if (from < 0)
        return;
    size_t cols = (size_t)a->dst.cols;
    memcpy(scratch, (const float *)st_cpu_data(a->src) + (size_t)from * cols, cols * sizeof(float));
    st_cpu_quantiser z = {a->weight, a->eps, a->rotation, &a->dst};
    st_cpu_quantise_row_portable(&z, scratch, r);
}

void st_cpu_norm_quant_portable(st_cpu *cpu, const void *args)
{
    const st_norm_quant_args *a = args;
    st_cpu_rows(cpu, st_cpu_row_count(cpu, a->rows), 2 * (int64_t)a->dst.cols, row, args);
}
