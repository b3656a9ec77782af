/* The rows of a step: what ops cost for them, and when two steps are the same. */
#include "host/backend/backend.h"

static void read_array(st_device *dev, const st_buf *buf, int32_t *dst, int32_t n)
{
    if (n > 0)
        dev->backend->read(dev, buf, 0, dst, (size_t)n * sizeof *dst);
}

static int32_t count_live(const int32_t *row, int32_t n)
{
    int32_t live = 0;
    for (int32_t i = 0; i < n; i++)
        live += row[i] >= 0;
    return live;
}

void st_batch_rows_read(st_device *dev, const st_batch *batch, st_batch_rows *rows)
{
    rows->n_row = batch->n_token;
    read_array(dev, batch->out, rows->pos, batch->n_out); /* only to be counted */
    rows->n_out = count_live(rows->pos, batch->n_out);
    read_array(dev, batch->pos, rows->pos, batch->n_token);
    read_array(dev, batch->seq, rows->seq, batch->n_token);
    read_array(dev, batch->length, rows->length, batch->n_seq);
    rows->n_token = count_live(rows->pos, batch->n_token);
}

uint64_t st_visible_keys(const st_attend_args *a, const st_batch_rows *rows)
{
    uint64_t n_key = 0;
    for (int32_t r = 0; r < rows->n_row; r++) {
        if (rows->pos[r] < 0)
            continue;
        int64_t pos = rows->pos[r], first = 0, end = rows->length[rows->seq[r]];
        if (a->causal)
            end = st_min(end, pos + 1);
        if (a->window > 0) {
            first = st_max(0, pos - a->window + 1);
            end = st_min(end, pos + a->window);
        }
        n_key += (uint64_t)st_max(0, end - first);
    }
    return n_key;
}

uint64_t st_bytes_of(st_op op, const void *args, const st_batch_rows *rows)
{
    int32_t n_row[] = {[ST_ROWS_TOKEN] = rows->n_token, [ST_ROWS_OUT] = rows->n_out};
    switch (op) {
    case ST_OP_EMBED:
        return st_bytes_embed(args, rows->n_token);
    case ST_OP_NORM:
        return st_bytes_norm(args, n_row[((const st_norm_args *)args)->rows]);
    case ST_OP_NORM_QUANT:
        return st_bytes_norm_quant(args, n_row[((const st_norm_quant_args *)args)->rows]);
    case ST_OP_LINEAR:
        return st_bytes_linear(args, n_row[((const st_linear_args *)args)->rows]);
    case ST_OP_ROPE_STORE:
        return st_bytes_rope_store(args, rows->n_token);
    case ST_OP_ATTEND:
        return st_bytes_attend(args, rows->n_token, st_visible_keys(args, rows));
    case ST_OP_GLU_NORM_QUANT:
        return st_bytes_glu_norm_quant(args, rows->n_token);
    case ST_OP_TOPK:
        return st_bytes_topk(args, rows->n_out);
    case ST_OP_COUNT:
        break;
    }
    assert(!"an op");
    return 0;
}

bool st_batch_same(const st_batch *a, const st_batch *b)
{
    return a->n_token == b->n_token && a->n_seq == b->n_seq && a->n_out == b->n_out &&
           a->max_blocks == b->max_blocks && a->token == b->token && a->pos == b->pos && a->seq == b->seq &&
           a->slot == b->slot && a->table == b->table && a->length == b->length && a->out == b->out &&
           a->stream == b->stream;
}
