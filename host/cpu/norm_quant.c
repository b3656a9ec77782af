/* What the variants of norm_quant share, and the half of it that glu_norm_quant ends with. */
#include "host/cpu/cpu.h"

void st_cpu_quantise_row(const st_cpu_quant_loops *loops, const st_cpu_quantiser *z, const float *x, float *y,
                         int32_t row)
{
    int32_t cols = z->dst->cols;
    if (z->weight)
        loops->normalise(x, st_cpu_data(z->weight), cols, z->eps, y);
    else if (x != y)
        memcpy(y, x, (size_t)cols * sizeof *y);
    if (z->rotation.block) {
        const float *sign = z->rotation.sign ? st_cpu_data(z->rotation.sign) : NULL;
        for (int32_t i = 0; sign && i < cols; i++)
            y[i] = sign[i] * y[i];
        loops->hadamard(y, cols, z->rotation.block);
    }
    st_cpu_qact q = st_cpu_planes(z->dst);
    int8_t *code = q.code + (size_t)row * q.stride;
    int32_t group = z->dst->act_group ? z->dst->act_group : cols;
    for (int32_t g = 0; g < q.n_scale; g++) {
        int32_t from = g * group;
        q.scale[(size_t)row * (size_t)q.n_scale + (size_t)g] =
            loops->quantise(y + from, (int32_t)st_min(group, cols - from), code + from);
    }
    memset(code + cols, 0, q.stride - (size_t)cols);
    int32_t sum_group = z->dst->sum_group ? z->dst->sum_group : cols;
    for (int32_t g = 0; g < q.n_sum; g++) {
        int32_t from = g * sum_group;
        q.sum[(size_t)row * (size_t)q.n_sum + (size_t)g] =
            loops->sum(code + from, (int32_t)st_min(sum_group, cols - from));
    }
}

void st_cpu_norm_quant_row(const st_cpu_quant_loops *loops, const st_cpu *cpu, const st_norm_quant_args *args,
                           int32_t r, float *scratch)
{
    int32_t from = st_cpu_source_row(cpu, args->rows, r);
    if (from < 0)
        return;
    const float *x = (const float *)st_cpu_data(args->src) + (size_t)from * (size_t)args->dst.cols;
    st_cpu_quantiser z = {args->weight, args->eps, args->rotation, &args->dst};
    st_cpu_quantise_row(loops, &z, x, scratch, r);
}
