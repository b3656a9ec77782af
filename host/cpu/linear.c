/* What the variants of linear share: the view of a call, the end of every output, and the loop over rows. */
#include "host/cpu/cpu.h"

/* Products below this many multiply-adds run in the caller. One row and hot 512 x 512 codes take 2.5 us in
 * the caller and 2.2 on two threads, 256 x 512 take 1.4 and 1.7 (AVX-512 VNNI, 3 GHz). */
#define SERIAL_PRODUCT 262144

st_cpu_linear st_cpu_linear_open(const st_cpu *cpu, const st_linear_args *args)
{
    st_cpu_linear l = {.weight = (const st_cpu_weight *)args->weight,
                       .args = args,
                       .dst = (float *)st_cpu_data(args->dst) + args->column,
                       .n_row = st_cpu_row_count(cpu, args->rows)};
    if (!args->quant) {
        l.src = st_cpu_data(args->src);
        return l;
    }
    l.q = st_cpu_planes(args->quant);
    int32_t cols = args->weight->cols;
    int32_t group = args->weight->group ? args->weight->group : cols;
    int32_t act_group = args->quant->act_group ? args->quant->act_group : cols;
    l.segment = (int32_t)st_min(group, act_group);
    l.n_segment = (int32_t)st_ceil_div(cols, l.segment);
    l.per_weight = (int32_t)st_ceil_div(group, l.segment);
    l.per_act = (int32_t)st_ceil_div(act_group, l.segment);
    assert(l.q.n_sum == l.n_segment);
    return l;
}

/* Ascending columns; the activation scale is that of the column. */
static float add_outliers(const st_cpu_linear *l, int32_t t, int32_t row, float y)
{
    const st_cpu_weight *w = l->weight;
    for (int32_t i = w->outlier_start[row]; i < w->outlier_start[row + 1]; i++) {
        size_t col = (size_t)w->outlier_col[i];
        if (l->src) {
            y = y + w->outlier[i] * l->src[(size_t)t * (size_t)w->base.cols + col];
            continue;
        }
        size_t group = l->args->quant->act_group ? col / (size_t)l->args->quant->act_group : 0;
        float scale = l->q.scale[(size_t)t * (size_t)l->q.n_scale + group];
        y = y + w->outlier[i] * (float)l->q.code[(size_t)t * l->q.stride + col] * scale;
    }
    return y;
}

void st_cpu_linear_store(const st_cpu_linear *l, int32_t t, int32_t first, int32_t count, const float *y)
{
    const st_cpu_weight *w = l->weight;
    float *dst = l->dst + (size_t)t * (size_t)l->args->stride + first;
    bool accumulate = l->args->accumulate;
    for (int32_t i = 0; i < count; i++) {
        float v = y[i];
        if (w->out_scale != 1.0f)
            v = v * w->out_scale;
        if (w->bias)
            v = v + w->bias[first + i];
        if (accumulate)
            v = v + dst[i];
        dst[i] = w->outlier_start ? add_outliers(l, t, first + i, v) : v;
    }
}

bool st_cpu_linear_serial(const st_cpu_linear *l)
{
    int64_t cost = l->src ? 8 : 1; /* floats: 20 to 25 multiply-adds a ns, int8: 100 to 200 */
    return cost * l->weight->base.rows * l->weight->base.cols * l->n_row < SERIAL_PRODUCT;
}

void st_cpu_linear_loop(st_cpu *cpu, const st_cpu_linear *l, int64_t n, st_loop_fn fn, void *context)
{
    if (st_cpu_linear_serial(l)) {
        fn(context, 0, n);
        return;
    }
    /* 32 pieces a thread: a matrix of 1.6 MB takes 60 us on two threads, 62 with 8 pieces, which end later.
     */
    int64_t tile = st_max(1, n / (32 * cpu->n_slot));
    st_pool_loop(cpu->pool, n, tile, fn, context);
}
