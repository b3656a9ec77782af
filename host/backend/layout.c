/* Sizes that producer and consumer of a buffer must agree on, and the bytes an op has to move. */
#include "host/backend/backend.h"

static int32_t group_count(int32_t cols, int32_t group)
{
    return group ? (int32_t)st_ceil_div(cols, group) : 1;
}

st_qact_layout st_qact_planes(const st_qact *q)
{
    st_qact_layout layout = {.stride = st_align_up((size_t)q->cols, 128),
                             .n_scale = group_count(q->cols, q->act_group),
                             .n_sum = group_count(q->cols, q->sum_group)};
    size_t rows = (size_t)q->max_row;
    layout.scale_offset = rows * layout.stride;
    layout.sum_offset = layout.scale_offset + st_align_up(rows * (size_t)layout.n_scale * sizeof(float), 64);
    layout.bytes = layout.sum_offset + st_align_up(rows * (size_t)layout.n_sum * sizeof(int32_t), 64);
    return layout;
}

size_t st_kv_bytes(int32_t n_page, int32_t n_layer, int32_t n_kv_head, int32_t head_dim)
{
    size_t position = 2 * sizeof(uint16_t) * (size_t)n_kv_head * (size_t)head_dim; /* K and V */
    return position * ST_KV_PAGE * (size_t)n_layer * (size_t)n_page;
}

static uint64_t qact_bytes(const st_qact *q, uint64_t n_row)
{
    st_qact_layout layout = st_qact_planes(q);
    return n_row * (layout.stride + sizeof(float) * (uint64_t)(layout.n_scale + layout.n_sum));
}

static uint64_t f32_bytes(uint64_t n_row, int64_t cols)
{
    return n_row * (uint64_t)cols * sizeof(float);
}

uint64_t st_bytes_linear(const st_linear_args *a, int32_t n_row)
{
    uint64_t rows = (uint64_t)n_row;
    uint64_t input = a->quant ? qact_bytes(a->quant, rows) : f32_bytes(rows, a->weight->cols);
    return a->weight->bytes + input + f32_bytes(rows, a->weight->rows) * (a->accumulate ? 2 : 1);
}

uint64_t st_bytes_attend(const st_attend_args *a, int32_t n_row, uint64_t n_key)
{
    uint64_t key = 2 * sizeof(uint16_t) * (uint64_t)a->n_kv_head * (uint64_t)a->head_dim;
    return n_key * key + 2 * f32_bytes((uint64_t)n_row, (int64_t)a->n_head * a->head_dim);
}

uint64_t st_bytes_embed(const st_embed_args *a, int32_t n_row)
{
    uint64_t rows = (uint64_t)n_row;
    return rows * st_row_bytes(a->table->type, a->table->cols) + f32_bytes(rows, a->table->cols);
}

uint64_t st_bytes_norm(const st_norm_args *a, int32_t n_row)
{
    return f32_bytes((uint64_t)n_row, a->dim) * (a->accumulate ? 3 : 2) + f32_bytes(1, a->dim);
}

uint64_t st_bytes_norm_quant(const st_norm_quant_args *a, int32_t n_row)
{
    uint64_t rows = (uint64_t)n_row, weight = a->weight ? f32_bytes(1, a->dst.cols) : 0;
    return f32_bytes(rows, a->dst.cols) + weight + qact_bytes(&a->dst, rows);
}

uint64_t st_bytes_rope_store(const st_rope_store_args *a, int32_t n_row)
{
    uint64_t rows = (uint64_t)n_row, kv_cols = 2 * (uint64_t)a->n_kv_head * (uint64_t)a->head_dim;
    uint64_t queries = 2 * f32_bytes(rows, (int64_t)a->n_head * a->head_dim);
    return queries + rows * kv_cols * (sizeof(float) + sizeof(uint16_t)) + f32_bytes(rows, a->n_rot);
}

uint64_t st_bytes_glu_norm_quant(const st_glu_norm_quant_args *a, int32_t n_row)
{
    uint64_t rows = (uint64_t)n_row, weight = a->weight ? f32_bytes(1, a->dst.cols) : 0;
    return f32_bytes(rows, 2 * (int64_t)a->dst.cols) + weight + qact_bytes(&a->dst, rows);
}

uint64_t st_bytes_topk(const st_topk_args *a, int32_t n_row)
{
    uint64_t per_row = sizeof(st_candidate) * (uint64_t)a->k + sizeof(st_topk_stats) +
                       sizeof(st_adjustment) * (uint64_t)a->max_adjust;
    return f32_bytes((uint64_t)n_row, a->n_vocab) + (uint64_t)n_row * per_row;
}
