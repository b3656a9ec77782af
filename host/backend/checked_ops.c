/* The checking layer's view of the ops: each verifies its arguments against the header's contract, hashes
 * them for the comparison of equal steps, and passes them on. */
#include "host/backend/checked.h"

#include <math.h>

#define HASH(hash, value) ((hash) = st_hash((hash), &(value), sizeof(value)))

static st_checked *checked(st_device *dev)
{
    return (st_checked *)dev;
}

/* A buffer argument of at least rows * cols elements of 4 bytes. */
static void need(st_checked *c, st_op op, const char *name, const st_buf *buf, int64_t rows, int64_t cols)
{
    uint64_t bytes = (uint64_t)rows * (uint64_t)cols * 4;
    if (!buf || !st_checked_buf(c, buf))
        st_checked_fail(c, st_op_name(op), "%s (%p) is not a live buffer of this device", name,
                        (const void *)buf);
    else if (buf->bytes < bytes)
        st_checked_fail(c, st_op_name(op), "%s holds %zu bytes; %lld rows of %lld need %llu", name,
                        buf->bytes, (long long)rows, (long long)cols, (unsigned long long)bytes);
}

static void need_distinct(st_checked *c, st_op op, const st_buf *a, const st_buf *b)
{
    if (a == b)
        st_checked_fail(c, st_op_name(op), "source and destination are the same buffer");
}

/* False outside of a step, and after any failure: the batch's arrays may not be there. */
static bool ready(st_checked *c, st_op op)
{
    if (!c->batch)
        st_checked_fail(c, st_op_name(op), "outside of a step");
    return c->failure.status == STERNA_OK;
}

static int32_t row_count(const st_checked *c, st_rows rows)
{
    return rows == ST_ROWS_OUT ? c->batch->n_out : c->batch->n_token;
}

static void check_eps(st_checked *c, st_op op, float eps)
{
    if (!(eps >= 0.0f && eps < 1.0f))
        st_checked_fail(c, st_op_name(op), "eps is %g", (double)eps);
}

static void check_rotation(st_checked *c, st_op op, const st_rotation *r, int32_t cols)
{
    if (r->block == 0)
        return;
    if (r->block < 0 || r->block > 4096 || (r->block & (r->block - 1)) || cols % r->block)
        st_checked_fail(c, st_op_name(op), "rotation blocks of %d over %d columns", r->block, cols);
    if (r->sign)
        need(c, op, "rotation.sign", r->sign, 1, cols);
}

static bool group_is_legal(int32_t group)
{
    return group == 0 || group == 32 || group == 64 || group == 128 || group == 256;
}

static void check_qact(st_checked *c, st_op op, const st_qact *q, int32_t rows)
{
    if (q->cols < 1 || q->cols > ST_MAX_COLS || !group_is_legal(q->act_group) ||
        !group_is_legal(q->sum_group))
        st_checked_fail(c, st_op_name(op), "%d columns, act_group %d, sum_group %d", q->cols, q->act_group,
                        q->sum_group);
    else if (rows > q->max_row)
        st_checked_fail(c, st_op_name(op), "%d rows into planes for %d", rows, q->max_row);
    else
        need(c, op, "quantised activations", q->buf, 1, (int64_t)(st_qact_planes(q).bytes / 4));
}

static void remember_quantised(st_checked *c, const st_qact *q, st_rows rows)
{
    st_live_buf *live = st_checked_buf(c, q->buf);
    if (live) {
        live->contents = ST_CONTENTS_QUANTISED;
        live->as = *q;
        live->rows = rows;
    }
}

static uint64_t hash_qact(uint64_t h, const st_qact *q)
{
    HASH(h, q->buf);
    HASH(h, q->max_row);
    HASH(h, q->cols);
    HASH(h, q->act_group);
    HASH(h, q->sum_group);
    return h;
}

static uint64_t hash_kv(uint64_t h, const st_kv *kv)
{
    HASH(h, kv->buf);
    HASH(h, kv->n_page);
    HASH(h, kv->n_layer);
    HASH(h, kv->n_kv_head);
    HASH(h, kv->head_dim);
    return h;
}

static uint64_t hash_rotation(uint64_t h, const st_rotation *r)
{
    HASH(h, r->block);
    HASH(h, r->sign);
    return h;
}

static void checked_embed(st_device *dev, const st_embed_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_EMBED;
    if (!ready(c, op))
        return;
    if (!st_checked_has_weight(c, a->table))
        st_checked_fail(c, st_op_name(op), "table is not a live weight of this device");
    else {
        need(c, op, "dst", a->dst, row_count(c, ST_ROWS_TOKEN), a->table->cols);
        check_rotation(c, op, &a->rotation, a->table->cols);
        for (int32_t r = 0; r < row_count(c, ST_ROWS_TOKEN); r++)
            if (c->pos[r] >= 0 && (c->token[r] < 0 || c->token[r] >= a->table->rows))
                st_checked_fail(c, st_op_name(op), "row %d has token %d of a vocabulary of %d", r,
                                c->token[r], a->table->rows);
    }
    uint64_t h = ST_HASH_SEED;
    HASH(h, a->table);
    HASH(h, a->scale);
    HASH(h, a->dst);
    h = hash_rotation(h, &a->rotation);
    if (st_checked_note(c, op, h))
        c->inner->backend->embed(c->inner, a);
}

static void checked_norm(st_device *dev, const st_norm_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_NORM;
    if (!ready(c, op))
        return;
    need(c, op, "src", a->src, row_count(c, ST_ROWS_TOKEN), a->dim);
    need(c, op, "dst", a->dst, row_count(c, a->rows), a->dim);
    need(c, op, "weight", a->weight, 1, a->dim);
    check_eps(c, op, a->eps);
    if (a->rows == ST_ROWS_OUT)
        need_distinct(c, op, a->src, a->dst);
    uint64_t h = ST_HASH_SEED;
    HASH(h, a->src);
    HASH(h, a->dst);
    HASH(h, a->weight);
    HASH(h, a->dim);
    HASH(h, a->eps);
    HASH(h, a->accumulate);
    HASH(h, a->rows);
    if (st_checked_note(c, op, h))
        c->inner->backend->norm(c->inner, a);
}

static void checked_norm_quant(st_device *dev, const st_norm_quant_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_NORM_QUANT;
    if (!ready(c, op))
        return;
    check_qact(c, op, &a->dst, row_count(c, a->rows));
    need(c, op, "src", a->src, row_count(c, ST_ROWS_TOKEN), a->dst.cols);
    if (a->weight)
        need(c, op, "weight", a->weight, 1, a->dst.cols);
    check_eps(c, op, a->eps);
    check_rotation(c, op, &a->rotation, a->dst.cols);
    need_distinct(c, op, a->src, a->dst.buf);
    remember_quantised(c, &a->dst, a->rows);
    uint64_t h = hash_rotation(hash_qact(ST_HASH_SEED, &a->dst), &a->rotation);
    HASH(h, a->src);
    HASH(h, a->weight);
    HASH(h, a->eps);
    HASH(h, a->rows);
    if (st_checked_note(c, op, h))
        c->inner->backend->norm_quant(c->inner, a);
}

/* The consumer's side of st_qact: sums per segment, and the descriptor of the op that quantised. Planes that
 * the caller wrote, or that stand in memory of the caller's, are taken on trust. */
static void check_quant_input(st_checked *c, const st_linear_args *a)
{
    const st_op op = ST_OP_LINEAR;
    const st_qact *q = a->quant;
    const st_weight *w = a->weight;
    int32_t segment = !w->group       ? q->act_group
                      : !q->act_group ? w->group
                                      : (int32_t)st_min(w->group, q->act_group);
    if (w->type != ST_TERNARY && w->type != ST_Q8)
        st_checked_fail(c, st_op_name(op), "int8 input for %s weights", st_type_name(w->type));
    if (q->cols != w->cols)
        st_checked_fail(c, st_op_name(op), "%d quantised columns for a weight of %d", q->cols, w->cols);
    if (q->sum_group != segment)
        st_checked_fail(c, st_op_name(op),
                        "sums over %d columns where weight groups of %d and activation groups of %d need %d",
                        q->sum_group, w->group, q->act_group, segment);
    check_qact(c, op, q, row_count(c, a->rows));
    const st_live_buf *live = q->buf ? st_checked_buf(c, q->buf) : NULL;
    if (!live || (live->contents == ST_CONTENTS_NONE && !live->wrapped))
        st_checked_fail(c, st_op_name(op), "the int8 input was neither quantised nor written");
    else if (live->contents == ST_CONTENTS_QUANTISED && !live->wrapped &&
             (live->as.cols != q->cols || live->as.max_row != q->max_row ||
              live->as.act_group != q->act_group || live->as.sum_group != q->sum_group ||
              live->rows != a->rows))
        st_checked_fail(c, st_op_name(op),
                        "reads %d columns, groups %d and %d, of activations quantised with %d, %d and %d",
                        q->cols, q->act_group, q->sum_group, live->as.cols, live->as.act_group,
                        live->as.sum_group);
}

static void checked_linear(st_device *dev, const st_linear_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_LINEAR;
    if (!ready(c, op))
        return;
    int32_t rows = row_count(c, a->rows);
    if (!st_checked_has_weight(c, a->weight))
        st_checked_fail(c, st_op_name(op), "weight is not a live weight of this device");
    else if (!a->quant == !a->src)
        st_checked_fail(c, st_op_name(op), "exactly one of quant and src must be given");
    else {
        if (a->quant)
            check_quant_input(c, a);
        else
            need(c, op, "src", a->src, rows, a->weight->cols);
        if (a->column < 0 || a->stride < 1 || a->column > a->stride - a->weight->rows)
            st_checked_fail(c, st_op_name(op), "%d columns from column %d of rows of %d", a->weight->rows,
                            a->column, a->stride);
        need(c, op, "dst", a->dst, rows, a->stride);
        need_distinct(c, op, a->quant ? a->quant->buf : a->src, a->dst);
    }
    uint64_t h = a->quant ? hash_qact(ST_HASH_SEED, a->quant) : ST_HASH_SEED;
    HASH(h, a->weight);
    HASH(h, a->src);
    HASH(h, a->dst);
    HASH(h, a->column);
    HASH(h, a->stride);
    HASH(h, a->accumulate);
    HASH(h, a->rows);
    if (st_checked_note(c, op, h))
        c->inner->backend->linear(c->inner, a);
}

static void check_kv(st_checked *c, st_op op, const st_kv *kv, int32_t layer, int32_t n_head,
                     int32_t n_kv_head, int32_t head_dim)
{
    if (head_dim < 2 || head_dim > ST_MAX_HEAD_DIM || n_kv_head < 1 || n_head < n_kv_head ||
        n_head > ST_MAX_HEAD || n_head % n_kv_head)
        st_checked_fail(c, st_op_name(op), "%d heads, %d key heads of %d", n_head, n_kv_head, head_dim);
    else if (kv->n_kv_head != n_kv_head || kv->head_dim != head_dim || layer < 0 || layer >= kv->n_layer)
        st_checked_fail(c, st_op_name(op),
                        "layer %d with %d key heads of %d in a cache of %d layers, %d heads of %d", layer,
                        n_kv_head, head_dim, kv->n_layer, kv->n_kv_head, kv->head_dim);
    else
        need(c, op, "kv", kv->buf, 1,
             (int64_t)(st_kv_bytes(kv->n_page, kv->n_layer, kv->n_kv_head, kv->head_dim) / 4));
    for (int32_t r = 0; r < c->batch->n_token; r++)
        if (c->pos[r] >= 0 && (c->slot[r] < 0 || c->slot[r] / ST_KV_PAGE >= kv->n_page))
            st_checked_fail(c, st_op_name(op), "row %d goes to slot %d of a cache of %d pages", r, c->slot[r],
                            kv->n_page);
}

static void checked_rope_store(st_device *dev, const st_rope_store_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_ROPE_STORE;
    if (!ready(c, op))
        return;
    check_kv(c, op, &a->kv, a->layer, a->n_head, a->n_kv_head, a->head_dim);
    if ((int64_t)a->stride < ((int64_t)a->n_head + 2 * (int64_t)a->n_kv_head) * a->head_dim)
        st_checked_fail(c, st_op_name(op), "rows of %d for %d heads and twice %d key heads of %d", a->stride,
                        a->n_head, a->n_kv_head, a->head_dim);
    need(c, op, "qkv", a->qkv, row_count(c, ST_ROWS_TOKEN), a->stride);
    if (a->q_norm)
        need(c, op, "q_norm", a->q_norm, 1, a->head_dim);
    if (a->k_norm)
        need(c, op, "k_norm", a->k_norm, 1, a->head_dim);
    check_eps(c, op, a->eps);
    int32_t last = -1;
    for (int32_t r = 0; r < row_count(c, ST_ROWS_TOKEN); r++)
        last = c->pos[r] > last ? c->pos[r] : last;
    if (a->n_rot < 0 || a->n_rot > a->head_dim || a->n_rot % 2)
        st_checked_fail(c, st_op_name(op), "n_rot is %d for heads of %d", a->n_rot, a->head_dim);
    else if (a->n_rot > 0)
        need(c, op, "cos_sin", a->cos_sin, (int64_t)last + 1, a->n_rot);
    uint64_t h = hash_kv(ST_HASH_SEED, &a->kv);
    HASH(h, a->qkv);
    HASH(h, a->stride);
    HASH(h, a->n_head);
    HASH(h, a->n_kv_head);
    HASH(h, a->head_dim);
    HASH(h, a->q_norm);
    HASH(h, a->k_norm);
    HASH(h, a->eps);
    HASH(h, a->cos_sin);
    HASH(h, a->n_rot);
    HASH(h, a->pairing);
    HASH(h, a->layer);
    if (st_checked_note(c, op, h))
        c->inner->backend->rope_store(c->inner, a);
}

static void checked_attend(st_device *dev, const st_attend_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_ATTEND;
    if (!ready(c, op))
        return;
    check_kv(c, op, &a->kv, a->layer, a->n_head, a->n_kv_head, a->head_dim);
    need(c, op, "qkv", a->qkv, row_count(c, ST_ROWS_TOKEN), a->stride);
    need(c, op, "dst", a->dst, row_count(c, ST_ROWS_TOKEN), (int64_t)a->n_head * a->head_dim);
    need_distinct(c, op, a->qkv, a->dst);
    if (!isfinite(a->scale) || a->window < 0 || !(a->softcap >= 0.0f))
        st_checked_fail(c, st_op_name(op), "scale %g, window %d, softcap %g", (double)a->scale, a->window,
                        (double)a->softcap);
    uint64_t h = hash_kv(ST_HASH_SEED, &a->kv);
    HASH(h, a->qkv);
    HASH(h, a->stride);
    HASH(h, a->dst);
    HASH(h, a->n_head);
    HASH(h, a->n_kv_head);
    HASH(h, a->head_dim);
    HASH(h, a->layer);
    HASH(h, a->scale);
    HASH(h, a->window);
    HASH(h, a->softcap);
    HASH(h, a->causal);
    if (st_checked_note(c, op, h))
        c->inner->backend->attend(c->inner, a);
}

static void checked_glu_norm_quant(st_device *dev, const st_glu_norm_quant_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_GLU_NORM_QUANT;
    if (!ready(c, op))
        return;
    check_qact(c, op, &a->dst, row_count(c, ST_ROWS_TOKEN));
    need(c, op, "src", a->src, row_count(c, ST_ROWS_TOKEN), 2 * (int64_t)a->dst.cols);
    if (a->weight)
        need(c, op, "weight", a->weight, 1, a->dst.cols);
    if (a->act > ST_ACT_GELU)
        st_checked_fail(c, st_op_name(op), "there is no activation %d", (int)a->act);
    check_eps(c, op, a->eps);
    check_rotation(c, op, &a->rotation, a->dst.cols);
    need_distinct(c, op, a->src, a->dst.buf);
    remember_quantised(c, &a->dst, ST_ROWS_TOKEN);
    uint64_t h = hash_rotation(hash_qact(ST_HASH_SEED, &a->dst), &a->rotation);
    HASH(h, a->src);
    HASH(h, a->act);
    HASH(h, a->weight);
    HASH(h, a->eps);
    if (st_checked_note(c, op, h))
        c->inner->backend->glu_norm_quant(c->inner, a);
}

static void checked_topk(st_device *dev, const st_topk_args *a)
{
    st_checked *c = checked(dev);
    const st_op op = ST_OP_TOPK;
    if (!ready(c, op))
        return;
    int32_t rows = row_count(c, ST_ROWS_OUT);
    if (a->n_vocab < 1 || a->k < 1 || a->k > ST_MAX_TOPK || a->k > a->n_vocab || a->max_adjust < 0)
        st_checked_fail(c, st_op_name(op), "k = %d of %d with at most %d adjustments", a->k, a->n_vocab,
                        a->max_adjust);
    need(c, op, "logits", a->logits, rows, a->n_vocab);
    if (a->max_adjust > 0) {
        need(c, op, "adjust", a->adjust, rows, a->max_adjust * (int64_t)(sizeof(st_adjustment) / 4));
        need(c, op, "n_adjust", a->n_adjust, rows, 1);
    } else if (a->adjust || a->n_adjust)
        st_checked_fail(c, st_op_name(op), "adjustments are given, but max_adjust is 0");
    need(c, op, "want", a->want, rows, 1);
    need(c, op, "candidates", a->candidates, rows, a->k * (int64_t)(sizeof(st_candidate) / 4));
    need(c, op, "stats", a->stats, rows, (int64_t)(sizeof(st_topk_stats) / 4));
    uint64_t h = ST_HASH_SEED;
    HASH(h, a->logits);
    HASH(h, a->n_vocab);
    HASH(h, a->k);
    HASH(h, a->max_adjust);
    HASH(h, a->adjust);
    HASH(h, a->n_adjust);
    HASH(h, a->want);
    HASH(h, a->candidates);
    HASH(h, a->stats);
    if (st_checked_note(c, op, h))
        c->inner->backend->topk(c->inner, a);
}

void st_checked_ops(st_backend *table)
{
    table->embed = checked_embed;
    table->norm = checked_norm;
    table->norm_quant = checked_norm_quant;
    table->linear = checked_linear;
    table->rope_store = checked_rope_store;
    table->attend = checked_attend;
    table->glu_norm_quant = checked_glu_norm_quant;
    table->topk = checked_topk;
}
