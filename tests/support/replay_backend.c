#include "tests/support/replay_backend.h"

#include <stdlib.h>

static replay_device *replay(st_device *dev)
{
    return (replay_device *)dev;
}

static void *grow(void *memory, size_t bytes)
{
    void *grown = realloc(memory, bytes);
    if (!grown)
        abort();
    return grown;
}

/* ---- what is passed on ---- */

static void replay_close(st_device *dev)
{
    replay_device *d = replay(dev);
    st_device_close(&d->inner);
    for (int i = 0; i < d->max_recording; i++)
        free(d->recording[i].op);
    free(d->recording);
    free(d);
}

static int replay_variants(const st_device *dev, st_op op, const char *const **names)
{
    const st_device *inner = ((const replay_device *)dev)->inner;
    return inner->backend->variants(inner, op, names);
}

static sterna_status replay_force(st_device *dev, st_op op, const char *variant, sterna_error *error)
{
    st_device *inner = replay(dev)->inner;
    return inner->backend->force(inner, op, variant, error);
}

static int replay_trace(const st_device *dev, st_trace_row *rows, int max)
{
    const st_device *inner = ((const replay_device *)dev)->inner;
    return inner->backend->trace(inner, rows, max);
}

static sterna_status replay_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    st_device *inner = replay(dev)->inner;
    return inner->backend->buf_create(inner, bytes, buf, error);
}

static void replay_buf_destroy(st_device *dev, st_buf *buf)
{
    st_device *inner = replay(dev)->inner;
    inner->backend->buf_destroy(inner, buf);
}

static sterna_status replay_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf,
                                     sterna_error *error)
{
    st_device *inner = replay(dev)->inner;
    return inner->backend->buf_wrap(inner, native, bytes, buf, error);
}

static void replay_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    st_device *inner = replay(dev)->inner;
    inner->backend->write(inner, buf, offset, src, bytes);
}

static void replay_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    st_device *inner = replay(dev)->inner;
    inner->backend->read(inner, buf, offset, dst, bytes);
}

static void replay_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    st_device *inner = replay(dev)->inner;
    inner->backend->fill(inner, buf, word);
}

static sterna_status replay_weight_create(st_device *dev, const st_matrix *parts, int n_part,
                                          const float *bias, float out_scale, const st_outliers *outliers,
                                          st_weight **weight, sterna_error *error)
{
    st_device *inner = replay(dev)->inner;
    return inner->backend->weight_create(inner, parts, n_part, bias, out_scale, outliers, weight, error);
}

static void replay_weight_destroy(st_device *dev, st_weight *weight)
{
    st_device *inner = replay(dev)->inner;
    inner->backend->weight_destroy(inner, weight);
}

/* ---- steps ---- */

static bool same_key(const st_batch *a, const st_batch *b)
{
    return a->n_token == b->n_token && a->n_seq == b->n_seq && a->n_out == b->n_out &&
           a->max_blocks == b->max_blocks && a->stream == b->stream;
}

static void count_key(replay_device *d, const st_batch *batch)
{
    for (int i = 0; i < d->n_key; i++)
        if (same_key(&d->key[i], batch))
            return;
    if (d->n_key < REPLAY_MAX_KEY)
        d->key[d->n_key++] = *batch;
}

static bool replay_begin(st_device *dev, const st_batch *batch)
{
    replay_device *d = replay(dev);
    replay_recording *oldest = &d->recording[0];
    count_key(d, batch);
    d->n_step++;
    for (int i = 0; i < d->max_recording; i++) {
        replay_recording *r = &d->recording[i];
        if (r->used > 0 && same_key(&r->batch, batch)) {
            r->used = d->n_step;
            d->current = r;
            d->replaying = true;
            d->n_replayed++;
            return false;
        }
        oldest = r->used < oldest->used ? r : oldest;
    }
    d->n_forgotten += oldest->used > 0;
    d->n_recorded++;
    oldest->batch = *batch;
    oldest->used = d->n_step;
    oldest->n_op = 0;
    d->current = oldest;
    d->replaying = false;
    d->inner->backend->begin(d->inner, &oldest->batch);
    return true;
}

static void run_op(st_device *dev, const replay_op *o)
{
    const st_backend *b = dev->backend;
    st_linear_args linear;
    switch (o->op) {
    case ST_OP_EMBED:
        b->embed(dev, &o->args.embed);
        break;
    case ST_OP_NORM:
        b->norm(dev, &o->args.norm);
        break;
    case ST_OP_NORM_QUANT:
        b->norm_quant(dev, &o->args.norm_quant);
        break;
    case ST_OP_LINEAR:
        linear = o->args.linear;
        linear.quant = linear.quant ? &o->quant : NULL;
        b->linear(dev, &linear);
        break;
    case ST_OP_ROPE_STORE:
        b->rope_store(dev, &o->args.rope_store);
        break;
    case ST_OP_ATTEND:
        b->attend(dev, &o->args.attend);
        break;
    case ST_OP_GLU_NORM_QUANT:
        b->glu_norm_quant(dev, &o->args.glu_norm_quant);
        break;
    case ST_OP_TOPK:
        b->topk(dev, &o->args.topk);
        break;
    case ST_OP_COUNT:
        break;
    }
}

static sterna_status replay_end(st_device *dev, sterna_error *error)
{
    replay_device *d = replay(dev);
    replay_recording *r = d->current;
    if (d->replaying) {
        d->inner->backend->begin(d->inner, &r->batch);
        for (int i = 0; i < r->n_op; i++)
            run_op(d->inner, &r->op[i]);
    }
    return d->inner->backend->end(d->inner, error);
}

/* ---- ops ---- */

static void record(st_device *dev, replay_op op)
{
    replay_device *d = replay(dev);
    replay_recording *r = d->current;
    if (d->replaying)
        return;
    if (op.op == ST_OP_LINEAR && op.args.linear.quant)
        op.quant = *op.args.linear.quant;
    if (r->n_op == r->max_op) {
        r->max_op = r->max_op ? 2 * r->max_op : 64;
        r->op = grow(r->op, (size_t)r->max_op * sizeof *r->op);
    }
    r->op[r->n_op++] = op;
    run_op(d->inner, &op);
}

#define RECORDED_OP(name, number)                                                                            \
    static void replay_##name(st_device *dev, const st_##name##_args *a)                                     \
    {                                                                                                        \
        record(dev, (replay_op){.op = number, .args.name = *a});                                             \
    }

RECORDED_OP(embed, ST_OP_EMBED)
RECORDED_OP(norm, ST_OP_NORM)
RECORDED_OP(norm_quant, ST_OP_NORM_QUANT)
RECORDED_OP(linear, ST_OP_LINEAR)
RECORDED_OP(rope_store, ST_OP_ROPE_STORE)
RECORDED_OP(attend, ST_OP_ATTEND)
RECORDED_OP(glu_norm_quant, ST_OP_GLU_NORM_QUANT)
RECORDED_OP(topk, ST_OP_TOPK)

replay_device *replay_open(st_device *inner, int max_recording)
{
    replay_device *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    d->inner = inner;
    d->max_recording = max_recording;
    d->recording = calloc((size_t)max_recording, sizeof *d->recording);
    if (!d->recording)
        abort();
    d->table = *inner->backend;
    d->table.close = replay_close;
    d->table.variants = replay_variants;
    d->table.force = replay_force;
    d->table.trace = replay_trace;
    d->table.buf_create = replay_buf_create;
    d->table.buf_destroy = replay_buf_destroy;
    d->table.buf_wrap = replay_buf_wrap;
    d->table.write = replay_write;
    d->table.read = replay_read;
    d->table.fill = replay_fill;
    d->table.weight_create = replay_weight_create;
    d->table.weight_destroy = replay_weight_destroy;
    d->table.begin = replay_begin;
    d->table.end = replay_end;
    d->table.embed = replay_embed;
    d->table.norm = replay_norm;
    d->table.norm_quant = replay_norm_quant;
    d->table.linear = replay_linear;
    d->table.rope_store = replay_rope_store;
    d->table.attend = replay_attend;
    d->table.glu_norm_quant = replay_glu_norm_quant;
    d->table.topk = replay_topk;
    d->base = (st_device){&d->table, inner->max_view};
    return d;
}
