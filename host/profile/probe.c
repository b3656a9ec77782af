#include "host/profile/probe.h"

static st_device *inner_of(const st_device *dev)
{
    return ((const st_probe *)(const void *)dev)->inner;
}

/* ---- device, memory, weights: passed on ---- */

static void probe_close(st_device *dev)
{
    st_probe *p = st_probe_of(dev);
    st_device_close(&p->inner);
    st_free(p->rows);
    st_free(p->trace);
    st_free(p->op);
    st_free(p);
}

static int probe_variants(const st_device *dev, st_op op, const char *const **names)
{
    return inner_of(dev)->backend->variants(inner_of(dev), op, names);
}

static sterna_status probe_force(st_device *dev, st_op op, const char *variant, sterna_error *error)
{
    return inner_of(dev)->backend->force(inner_of(dev), op, variant, error);
}

static int probe_trace(const st_device *dev, st_trace_row *rows, int max)
{
    return inner_of(dev)->backend->trace(inner_of(dev), rows, max);
}

static sterna_status probe_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    return inner_of(dev)->backend->buf_create(inner_of(dev), bytes, buf, error);
}

static void probe_buf_destroy(st_device *dev, st_buf *buf)
{
    inner_of(dev)->backend->buf_destroy(inner_of(dev), buf);
}

static sterna_status probe_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf,
                                    sterna_error *error)
{
    return inner_of(dev)->backend->buf_wrap(inner_of(dev), native, bytes, buf, error);
}

static void probe_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    inner_of(dev)->backend->write(inner_of(dev), buf, offset, src, bytes);
}

static void probe_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    inner_of(dev)->backend->read(inner_of(dev), buf, offset, dst, bytes);
}

static void probe_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    inner_of(dev)->backend->fill(inner_of(dev), buf, word);
}

static sterna_status probe_weight_create(st_device *dev, const st_matrix *parts, int n_part,
                                         const float *bias, float out_scale, const st_outliers *outliers,
                                         st_weight **weight, sterna_error *error)
{
    return inner_of(dev)->backend->weight_create(inner_of(dev), parts, n_part, bias, out_scale, outliers,
                                                 weight, error);
}

static void probe_weight_destroy(st_device *dev, st_weight *weight)
{
    inner_of(dev)->backend->weight_destroy(inner_of(dev), weight);
}

/* ---- steps ---- */

static bool probe_begin(st_device *dev, const st_batch *batch)
{
    st_probe *p = st_probe_of(dev);
    double start = st_seconds();
    p->batch = batch;
    p->n_op = 0;
    st_batch_rows_read(p->inner, batch, p->rows);
    p->begun = st_seconds();
    p->own_before = p->begun - start;
    return p->inner->backend->begin(p->inner, batch);
}

/* Joins what was issued with what the device says of it. */
static void join_trace(st_probe *p)
{
    int n = p->inner->backend->trace(p->inner, p->trace, ST_PROBE_MAX_OP);
    if (n != p->n_op) {
        st_fail(&p->failure, STERNA_E_DEVICE, "the trace of device %s has %d rows for %d ops",
                p->inner->backend->name, n, p->n_op);
        return;
    }
    for (int i = 0; i < n; i++) {
        st_probe_op *o = &p->op[i];
        const st_trace_row *row = &p->trace[i];
        if (row->op != o->op || row->bytes != o->cost.bytes) {
            st_fail(&p->failure, STERNA_E_DEVICE,
                    "op %d of a step is %s with %llu bytes, but in the trace of device %s %s with %llu", i,
                    st_op_name(o->op), (unsigned long long)o->cost.bytes, p->inner->backend->name,
                    st_op_name(row->op), (unsigned long long)row->bytes);
            return;
        }
        o->variant = row->variant;
        o->start = row->start;
        o->seconds = row->seconds;
    }
}

static sterna_status probe_end(st_device *dev, sterna_error *error)
{
    st_probe *p = st_probe_of(dev);
    sterna_status status = p->inner->backend->end(p->inner, error);
    p->ended = st_seconds();
    p->batch = NULL;
    if (status == STERNA_OK && p->failure.status == STERNA_OK)
        join_trace(p);
    if (status == STERNA_OK && p->failure.status != STERNA_OK)
        status = st_fail(error, p->failure.status, "%s", p->failure.message);
    p->own_after = st_seconds() - p->ended;
    return status;
}

/* ---- ops ---- */

static st_probe_op *note(st_probe *p, st_op op, const void *args)
{
    if (p->n_op == ST_PROBE_MAX_OP)
        st_fail(&p->failure, STERNA_E_LIMIT, "a step of more than %d ops cannot be profiled",
                ST_PROBE_MAX_OP);
    st_probe_op *o = &p->op[p->n_op]; /* there is one too many */
    p->n_op += p->n_op < ST_PROBE_MAX_OP;
    *o = (st_probe_op){.op = op, .layer = -1, .n_row = p->rows->n_token};
    o->cost = st_cost_of(op, args, p->rows);
    return o;
}

static int32_t row_count(const st_probe *p, st_rows rows)
{
    return rows == ST_ROWS_TOKEN ? p->rows->n_token : p->rows->n_out;
}

static void probe_embed(st_device *dev, const st_embed_args *args)
{
    note(st_probe_of(dev), ST_OP_EMBED, args);
    inner_of(dev)->backend->embed(inner_of(dev), args);
}

static void probe_norm(st_device *dev, const st_norm_args *args)
{
    st_probe_op *o = note(st_probe_of(dev), ST_OP_NORM, args);
    o->n_row = row_count(st_probe_of(dev), args->rows);
    o->accumulate = args->accumulate;
    inner_of(dev)->backend->norm(inner_of(dev), args);
}

static void probe_norm_quant(st_device *dev, const st_norm_quant_args *args)
{
    st_probe_op *o = note(st_probe_of(dev), ST_OP_NORM_QUANT, args);
    o->n_row = row_count(st_probe_of(dev), args->rows);
    inner_of(dev)->backend->norm_quant(inner_of(dev), args);
}

static void probe_linear(st_device *dev, const st_linear_args *args)
{
    st_probe_op *o = note(st_probe_of(dev), ST_OP_LINEAR, args);
    o->n_row = row_count(st_probe_of(dev), args->rows);
    o->weight = args->weight;
    inner_of(dev)->backend->linear(inner_of(dev), args);
}

static void probe_rope_store(st_device *dev, const st_rope_store_args *args)
{
    note(st_probe_of(dev), ST_OP_ROPE_STORE, args)->layer = args->layer;
    inner_of(dev)->backend->rope_store(inner_of(dev), args);
}

static void probe_attend(st_device *dev, const st_attend_args *args)
{
    st_probe *p = st_probe_of(dev);
    note(p, ST_OP_ATTEND, args)->layer = args->layer;
    p->inner->backend->attend(p->inner, args);
}

static void probe_glu_norm_quant(st_device *dev, const st_glu_norm_quant_args *args)
{
    note(st_probe_of(dev), ST_OP_GLU_NORM_QUANT, args);
    inner_of(dev)->backend->glu_norm_quant(inner_of(dev), args);
}

static void probe_topk(st_device *dev, const st_topk_args *args)
{
    st_probe *p = st_probe_of(dev);
    note(p, ST_OP_TOPK, args)->n_row = p->rows->n_out;
    p->inner->backend->topk(p->inner, args);
}

static void fill_table(st_backend *table, const st_backend *inner)
{
    *table = *inner; /* name, count and info stay */
    table->close = probe_close;
    table->variants = probe_variants;
    table->force = probe_force;
    table->trace = probe_trace;
    table->buf_create = probe_buf_create;
    table->buf_destroy = probe_buf_destroy;
    table->buf_wrap = probe_buf_wrap;
    table->write = probe_write;
    table->read = probe_read;
    table->fill = probe_fill;
    table->weight_create = probe_weight_create;
    table->weight_destroy = probe_weight_destroy;
    table->begin = probe_begin;
    table->end = probe_end;
    table->embed = probe_embed;
    table->norm = probe_norm;
    table->norm_quant = probe_norm_quant;
    table->linear = probe_linear;
    table->rope_store = probe_rope_store;
    table->attend = probe_attend;
    table->glu_norm_quant = probe_glu_norm_quant;
    table->topk = probe_topk;
}

sterna_status st_probe_open(st_device *inner, st_device **dev, sterna_error *error)
{
    *dev = NULL;
    st_probe *p = st_calloc(1, sizeof *p);
    if (p) {
        p->inner = inner;
        p->base = (st_device){&p->table, inner->max_view};
        fill_table(&p->table, inner->backend);
        p->rows = st_calloc(1, sizeof *p->rows);
        p->trace = st_calloc(ST_PROBE_MAX_OP, sizeof *p->trace);
        p->op = st_calloc(ST_PROBE_MAX_OP + 1, sizeof *p->op);
    }
    if (!p || !p->rows || !p->trace || !p->op) {
        if (p)
            probe_close(&p->base);
        else
            st_device_close(&inner);
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a trace of %d ops", ST_PROBE_MAX_OP);
    }
    *dev = &p->base;
    return STERNA_OK;
}
