#include "host/profile/cost.h"

enum { INT4_GROUP = 128 };

static uint64_t f32_bytes(int64_t n)
{
    return (uint64_t)n * sizeof(float);
}

/* Fills in the comparison for `rows` rows of a matrix that has `ours` bytes here, `extra` of them neither
 * codes nor scales. */
static void compare(st_cost *c, const st_weight *weight, int64_t rows, uint64_t ours, uint64_t extra)
{
    c->fp16 = c->int8 = c->int4 = c->bytes;
    if (weight->type != ST_TERNARY)
        return;
    uint64_t n = (uint64_t)rows, k = (uint64_t)weight->cols, rest = c->bytes - ours + extra;
    uint64_t n_group = (uint64_t)st_ceil_div(weight->cols, INT4_GROUP);
    c->fp16 = rest + 2 * n * k;
    c->int8 = rest + n * k + n * sizeof(float);
    c->int4 = rest + n * ((k + 1) / 2) + n * n_group * sizeof(uint16_t);
}

static st_cost embed(const st_embed_args *a, const st_batch_rows *rows)
{
    st_cost c = {.bytes = st_bytes_embed(a, rows->n_token)};
    c.weight = (uint64_t)rows->n_token * st_row_bytes(a->table->type, a->table->cols);
    c.multiply_accumulate = (uint64_t)rows->n_token * (uint64_t)a->table->cols;
    compare(&c, a->table, rows->n_token, c.weight, 0);
    return c;
}

static st_cost linear(const st_linear_args *a, int32_t n_row)
{
    st_cost c = {.bytes = st_bytes_linear(a, n_row), .weight = a->weight->bytes};
    c.multiply_accumulate = (uint64_t)n_row * (uint64_t)a->weight->rows * (uint64_t)a->weight->cols;
    /* An outlier is a column and a value. */
    uint64_t extra = (a->weight->has_bias ? f32_bytes(a->weight->rows) : 0) +
                     (uint64_t)a->weight->n_outlier * (sizeof(int32_t) + sizeof(float));
    compare(&c, a->weight, a->weight->rows, a->weight->bytes, extra);
    return c;
}

static st_cost rope_store(const st_rope_store_args *a, int32_t n_row)
{
    uint64_t kv_cols = 2 * (uint64_t)a->n_kv_head * (uint64_t)a->head_dim;
    uint64_t rotated = (uint64_t)(a->n_head + a->n_kv_head) * (uint64_t)a->n_rot;
    return (st_cost){.bytes = st_bytes_rope_store(a, n_row),
                     .kv = (uint64_t)n_row * kv_cols * sizeof(uint16_t),
                     .multiply_accumulate = (uint64_t)n_row * 2 * rotated};
}

static st_cost attend(const st_attend_args *a, const st_batch_rows *rows)
{
    uint64_t n_key = st_visible_keys(a, rows);
    uint64_t head_dim = (uint64_t)a->head_dim;
    return (st_cost){.bytes = st_bytes_attend(a, rows->n_token, n_key),
                     .kv = n_key * 2 * sizeof(uint16_t) * (uint64_t)a->n_kv_head * head_dim,
                     .multiply_accumulate = n_key * (uint64_t)a->n_head * 2 * head_dim};
}

/* Ops over rows of n elements with a norm vector: `per` multiply-accumulates each. */
static st_cost elements(uint64_t bytes, int32_t n_row, int64_t n, bool vector, uint64_t per)
{
    return (st_cost){.bytes = bytes,
                     .weight = vector ? f32_bytes(n) : 0,
                     .multiply_accumulate = per * (uint64_t)n_row * (uint64_t)n};
}

static st_cost cost_of(st_op op, const void *args, const st_batch_rows *rows)
{
    int32_t n_row[] = {[ST_ROWS_TOKEN] = rows->n_token, [ST_ROWS_OUT] = rows->n_out};
    switch (op) {
    case ST_OP_EMBED:
        return embed(args, rows);
    case ST_OP_NORM: {
        const st_norm_args *a = args;
        return elements(st_bytes_norm(a, n_row[a->rows]), n_row[a->rows], a->dim, true, 2);
    }
    case ST_OP_NORM_QUANT: {
        const st_norm_quant_args *a = args;
        uint64_t bytes = st_bytes_norm_quant(a, n_row[a->rows]);
        return elements(bytes, n_row[a->rows], a->dst.cols, a->weight, 3);
    }
    case ST_OP_LINEAR: {
        const st_linear_args *a = args;
        return linear(a, n_row[a->rows]);
    }
    case ST_OP_ROPE_STORE:
        return rope_store(args, rows->n_token);
    case ST_OP_ATTEND:
        return attend(args, rows);
    case ST_OP_GLU_NORM_QUANT: {
        const st_glu_norm_quant_args *a = args;
        uint64_t bytes = st_bytes_glu_norm_quant(a, rows->n_token);
        return elements(bytes, rows->n_token, a->dst.cols, a->weight, 4);
    }
    case ST_OP_TOPK: {
        const st_topk_args *a = args;
        return elements(st_bytes_topk(a, rows->n_out), rows->n_out, a->n_vocab, false, 1);
    }
    case ST_OP_COUNT:
        break;
    }
    assert(!"an op");
    return (st_cost){0};
}

st_cost st_cost_of(st_op op, const void *args, const st_batch_rows *rows)
{
    st_cost c = cost_of(op, args, rows);
    c.other = c.bytes - c.weight - c.kv;
    if (op != ST_OP_LINEAR && op != ST_OP_EMBED)
        c.fp16 = c.int8 = c.int4 = c.bytes;
    return c;
}

void st_cost_add(st_cost *sum, const st_cost *cost)
{
    sum->bytes += cost->bytes;
    sum->weight += cost->weight;
    sum->kv += cost->kv;
    sum->other += cost->other;
    sum->fp16 += cost->fp16;
    sum->int8 += cost->int8;
    sum->int4 += cost->int4;
    sum->multiply_accumulate += cost->multiply_accumulate;
}
