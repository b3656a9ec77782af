/* Launchers of all ops but linear: from the seam's arguments to the kernels'. */
#include "cuda/device.h"

#include <math.h>

static int32_t row_count(const st_cuda *c, st_rows rows)
{
    return rows == ST_ROWS_TOKEN ? c->batch->n_token : c->batch->n_out;
}

static st_cuda_rows rows_of(const st_cuda *c, st_rows rows)
{
    return (st_cuda_rows){.pos = rows == ST_ROWS_TOKEN ? st_cuda_pointer(c->batch->pos) : NULL,
                          .out = st_cuda_pointer(c->batch->out)};
}

static st_cuda_rotation rotation_of(const st_rotation *r)
{
    return (st_cuda_rotation){.block = r->block,
                              .norm = r->block ? (float)(1.0 / sqrt((double)r->block)) : 1.0f,
                              .sign = st_cuda_pointer(r->sign)};
}

st_cuda_qact st_cuda_planes(const st_qact *q)
{
    st_qact_layout at = st_qact_planes(q);
    unsigned char *data = st_cuda_pointer(q->buf);
    return (st_cuda_qact){.code = (int8_t *)data,
                          .scale = (float *)(void *)(data + at.scale_offset),
                          .sum = (int32_t *)(void *)(data + at.sum_offset),
                          .stride = (int32_t)at.stride,
                          .cols = q->cols,
                          .n_scale = at.n_scale,
                          .n_sum = at.n_sum,
                          .act_group = q->act_group,
                          .sum_group = q->sum_group};
}

static st_cuda_kv kv_of(const st_kv *kv, int32_t layer)
{
    return (st_cuda_kv){.data = st_cuda_pointer(kv->buf),
                        .n_layer = kv->n_layer,
                        .n_kv_head = kv->n_kv_head,
                        .head_dim = kv->head_dim,
                        .layer = layer};
}

void st_cuda_embed_run(st_cuda *c, const void *args)
{
    const st_embed_args *a = args;
    st_cuda_embed k = {.table = ((const st_cuda_weight *)(const void *)a->table)->view,
                       .rotation = rotation_of(&a->rotation),
                       .token = st_cuda_pointer(c->batch->token),
                       .pos = st_cuda_pointer(c->batch->pos),
                       .dst = st_cuda_pointer(a->dst),
                       .scale = a->scale};
    st_cuda_grid grid = {(unsigned)c->batch->n_token, 1};
    st_cuda_launch(c, ST_CUDA_embed_generic, grid, ST_CUDA_BLOCK, 1,
                   (size_t)a->rotation.block * sizeof(float), &k);
}

void st_cuda_norm_run(st_cuda *c, const void *args)
{
    const st_norm_args *a = args;
    st_cuda_norm k = {.rows = rows_of(c, a->rows),
                      .src = st_cuda_pointer(a->src),
                      .weight = st_cuda_pointer(a->weight),
                      .dst = st_cuda_pointer(a->dst),
                      .dim = a->dim,
                      .eps = a->eps,
                      .accumulate = a->accumulate};
    st_cuda_grid grid = {(unsigned)row_count(c, a->rows), 1};
    st_cuda_launch(c, ST_CUDA_norm_generic, grid, ST_CUDA_BLOCK, 1, 0, &k);
}

static void quantise(st_cuda *c, const st_cuda_quant *k, int32_t n_row)
{
    size_t cols = st_align_up((size_t)k->dst.cols, ST_CUDA_K_TILE);
    size_t shared = (cols < ST_CUDA_CHUNK ? cols : ST_CUDA_CHUNK) * sizeof(float);
    st_cuda_grid grid = {(unsigned)n_row, 1};
    st_cuda_launch(c, ST_CUDA_quant_generic, grid, ST_CUDA_BLOCK, 1, shared, k);
}

void st_cuda_norm_quant_run(st_cuda *c, const void *args)
{
    const st_norm_quant_args *a = args;
    st_cuda_quant k = {.rows = rows_of(c, a->rows),
                       .src = st_cuda_pointer(a->src),
                       .weight = st_cuda_pointer(a->weight),
                       .rotation = rotation_of(&a->rotation),
                       .dst = st_cuda_planes(&a->dst),
                       .eps = a->eps,
                       .act = -1};
    quantise(c, &k, row_count(c, a->rows));
}

void st_cuda_glu_norm_quant_run(st_cuda *c, const void *args)
{
    const st_glu_norm_quant_args *a = args;
    st_cuda_quant k = {.rows = rows_of(c, ST_ROWS_TOKEN),
                       .src = st_cuda_pointer(a->src),
                       .weight = st_cuda_pointer(a->weight),
                       .rotation = rotation_of(&a->rotation),
                       .dst = st_cuda_planes(&a->dst),
                       .eps = a->eps,
                       .act = (int32_t)a->act};
    quantise(c, &k, c->batch->n_token);
}

void st_cuda_rope_store_run(st_cuda *c, const void *args)
{
    const st_rope_store_args *a = args;
    enum { WARPS = 4 };
    st_cuda_rope_store k = {.qkv = st_cuda_pointer(a->qkv),
                            .q_norm = st_cuda_pointer(a->q_norm),
                            .k_norm = st_cuda_pointer(a->k_norm),
                            .cos_sin = st_cuda_pointer(a->cos_sin),
                            .pos = st_cuda_pointer(c->batch->pos),
                            .slot = st_cuda_pointer(c->batch->slot),
                            .kv = kv_of(&a->kv, a->layer),
                            .stride = a->stride,
                            .n_head = a->n_head,
                            .n_rot = a->n_rot,
                            .pairing = (int32_t)a->pairing,
                            .eps = a->eps};
    st_cuda_grid grid = {(unsigned)st_ceil_div(a->n_head + 2 * a->n_kv_head, WARPS),
                         (unsigned)c->batch->n_token};
    st_cuda_launch(c, ST_CUDA_rope_store_generic, grid, 32, WARPS, 0, &k);
}

void st_cuda_attend_run(st_cuda *c, const void *args)
{
    const st_attend_args *a = args;
    st_cuda_attend k = {.qkv = st_cuda_pointer(a->qkv),
                        .dst = st_cuda_pointer(a->dst),
                        .pos = st_cuda_pointer(c->batch->pos),
                        .seq = st_cuda_pointer(c->batch->seq),
                        .table = st_cuda_pointer(c->batch->table),
                        .length = st_cuda_pointer(c->batch->length),
                        .kv = kv_of(&a->kv, a->layer),
                        .stride = a->stride,
                        .n_head = a->n_head,
                        .max_blocks = c->batch->max_blocks,
                        .window = a->window,
                        .causal = a->causal,
                        .scale = a->scale,
                        .softcap = a->softcap,
                        .inv_softcap = a->softcap > 0.0f ? 1.0f / a->softcap : 0.0f};
    st_cuda_grid grid = {(unsigned)a->n_head, (unsigned)c->batch->n_token};
    st_cuda_launch(c, ST_CUDA_attend_generic, grid, ST_CUDA_BLOCK, 1, 0, &k);
}

void st_cuda_topk_run(st_cuda *c, const void *args)
{
    const st_topk_args *a = args;
    st_cuda_topk k = {.out = st_cuda_pointer(c->batch->out),
                      .logits = st_cuda_pointer(a->logits),
                      .adjust = st_cuda_pointer(a->adjust),
                      .n_adjust = st_cuda_pointer(a->n_adjust),
                      .want = st_cuda_pointer(a->want),
                      .candidates = st_cuda_pointer(a->candidates),
                      .stats = st_cuda_pointer(a->stats),
                      .n_vocab = a->n_vocab,
                      .k = a->k,
                      .max_adjust = a->max_adjust};
    st_cuda_grid grid = {(unsigned)c->batch->n_out, 1};
    st_cuda_launch(c, ST_CUDA_topk_generic, grid, ST_CUDA_BLOCK, 1, 0, &k);
}
