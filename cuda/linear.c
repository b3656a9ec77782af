/* Launchers of linear's variants, and their predicates. */
#include "cuda/device.h"

static st_cuda_linear arguments(const st_cuda *c, const st_linear_args *a)
{
    const st_cuda_matrix *w = &((const st_cuda_weight *)(const void *)a->weight)->view;
    st_cuda_linear k = {.w = *w,
                        .src = st_cuda_pointer(a->src),
                        .dst = (float *)st_cuda_pointer(a->dst) + a->column,
                        .stride = a->stride,
                        .n_row = a->rows == ST_ROWS_TOKEN ? c->batch->n_token : c->batch->n_out,
                        .accumulate = a->accumulate};
    if (!a->quant)
        return k;
    k.q = st_cuda_planes(a->quant);
    int32_t act_group = a->quant->act_group ? a->quant->act_group : w->cols;
    k.segment = (int32_t)st_min(st_min(w->group, act_group), w->cols);
    k.n_segment = (int32_t)st_ceil_div(w->cols, k.segment);
    /* A group of the whole row is that of every segment. */
    k.per_weight = w->n_group > 1 ? w->group / k.segment : k.n_segment;
    k.per_act = k.q.n_scale > 1 ? act_group / k.segment : k.n_segment;
    return k;
}

void st_cuda_linear_generic(st_cuda *c, const void *args)
{
    st_cuda_linear k = arguments(c, args);
    enum { WARPS = ST_CUDA_BLOCK / 32, TOKENS = 4 };
    st_cuda_grid grid;
    if (k.src)
        grid = (st_cuda_grid){(unsigned)st_ceil_div(k.w.rows, WARPS), (unsigned)st_ceil_div(k.n_row, TOKENS)};
    else
        grid = (st_cuda_grid){(unsigned)st_ceil_div((int64_t)k.w.rows * k.n_row, WARPS), 1};
    st_cuda_launch(c, k.src ? ST_CUDA_linear_floats : ST_CUDA_linear_codes, grid, ST_CUDA_BLOCK, 1, 0, &k);
}
