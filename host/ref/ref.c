/* Device, memory and steps of the reference backend; the ops stand in their own files. */
#include "host/ref/ref.h"

#include <stdio.h>
#include <unistd.h>

static st_ref_device *ref(st_device *dev)
{
    return (st_ref_device *)(void *)dev;
}

/* ---- device ---- */

static int device_count(const char **why_not)
{
    (void)why_not; /* there always is one */
    return 1;
}

static void device_info(int index, sterna_device_info *info)
{
    assert(index == 0);
    (void)index;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    *info = (sterna_device_info){.available = true};
    snprintf(info->name, sizeof info->name, "ref");
    snprintf(info->description, sizeof info->description, "reference, plain C, one thread");
    if (pages > 0 && page_bytes > 0)
        info->memory_bytes = (uint64_t)pages * (uint64_t)page_bytes;
}

static void device_close(st_device *dev)
{
    st_ref_device *d = ref(dev);
    st_free(d->scratch);
    st_free(d->trace);
    st_free(d);
}

static sterna_status device_open(int index, const st_device_params *params, st_device **dev,
                                 sterna_error *error)
{
    if (index != 0)
        return st_fail(error, STERNA_E_DEVICE, "there is one reference device, number 0, and no number %d",
                       index);
    size_t scratch = ST_MAX_ROWS * sizeof(float), trace = ST_REF_MAX_TRACE * sizeof(st_trace_row);
    st_ref_device *d = st_calloc(1, sizeof *d);
    if (d) {
        d->base.backend = &st_backend_ref;
        d->scratch = st_alloc(scratch);
        d->trace = params->trace ? st_alloc(trace) : NULL;
    }
    if (!d || !d->scratch || (params->trace && !d->trace)) {
        if (d)
            device_close(&d->base);
        return st_fail(error, STERNA_E_MEMORY, "reference device: no memory for %zu bytes of scratch%s",
                       scratch, params->trace ? " and a trace" : "");
    }
    *dev = &d->base;
    return STERNA_OK;
}

static int device_variants(const st_device *dev, st_op op, const char *const **names)
{
    static const char *const only[] = {"ref"};
    (void)dev, (void)op;
    *names = only;
    return 1;
}

static sterna_status device_force(st_device *dev, st_op op, const char *variant, sterna_error *error)
{
    (void)dev;
    if (variant && strcmp(variant, "ref") != 0)
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "%s has no variant \"%s\" on the reference device, only \"ref\"", st_op_name(op),
                       variant);
    return STERNA_OK;
}

static int device_trace(const st_device *dev, st_trace_row *rows, int max)
{
    const st_ref_device *d = (const st_ref_device *)(const void *)dev;
    for (int i = 0; i < d->n_trace && i < max; i++)
        rows[i] = d->trace[i];
    return d->n_trace;
}

/* ---- memory ---- */

static sterna_status buf_new(unsigned char *data, bool wrapped, size_t bytes, st_buf **buf,
                             sterna_error *error)
{
    st_ref_buf *b = st_calloc(1, sizeof *b);
    if (!b || !data) {
        st_free(b);
        return st_fail(error, STERNA_E_MEMORY, "reference device: no memory for a buffer of %zu bytes",
                       bytes);
    }
    *b = (st_ref_buf){.base.bytes = bytes, .data = data, .wrapped = wrapped};
    *buf = &b->base;
    return STERNA_OK;
}

static sterna_status buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    (void)dev;
    unsigned char *data = st_alloc(bytes);
    sterna_status status = buf_new(data, false, bytes, buf, error);
    if (status != STERNA_OK)
        st_free(data);
    return status;
}

static void buf_destroy(st_device *dev, st_buf *buf)
{
    (void)dev;
    st_ref_buf *b = (st_ref_buf *)(void *)buf;
    if (b && !b->wrapped)
        st_free(b->data);
    st_free(b);
}

static sterna_status buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf, sterna_error *error)
{
    (void)dev;
    if ((uintptr_t)native % sizeof(uint32_t) != 0)
        return st_fail(error, STERNA_E_ARGUMENT, "memory at %p is not aligned to 4 bytes", native);
    return buf_new(native, true, bytes, buf, error);
}

static void buf_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    (void)dev;
    memcpy((unsigned char *)st_ref_data(buf) + offset, src, bytes);
}

static void buf_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    (void)dev;
    memcpy(dst, (const unsigned char *)st_ref_data(buf) + offset, bytes);
}

static void buf_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    (void)dev;
    unsigned char *data = st_ref_data(buf);
    for (size_t at = 0; at < buf->bytes; at += sizeof word)
        memcpy(data + at, &word, buf->bytes - at < sizeof word ? buf->bytes - at : sizeof word);
}

/* ---- steps ---- */

static bool step_begin(st_device *dev, const st_batch *batch)
{
    st_ref_device *d = ref(dev);
    assert(!d->batch);
    d->batch = batch;
    d->n_trace = 0;
    d->begun = st_seconds();
    return true;
}

static sterna_status step_end(st_device *dev, sterna_error *error)
{
    st_ref_device *d = ref(dev);
    assert(d->batch);
    d->batch = NULL;
    if (d->failure.status != STERNA_OK && error)
        *error = d->failure;
    return d->failure.status;
}

/* Rows of an op that are not padding. */
static int32_t live_rows(const st_ref_device *d, st_rows rows)
{
    int32_t n = 0;
    for (int32_t r = 0; r < st_ref_row_count(d, rows); r++)
        n += st_ref_token_row(d, rows, r) >= 0;
    return n;
}

static void trace_op(st_ref_device *d, st_op op, double start, uint64_t bytes)
{
    if (!d->trace)
        return;
    if (d->n_trace < ST_REF_MAX_TRACE)
        d->trace[d->n_trace++] = (st_trace_row){.op = op,
                                                .variant = "ref",
                                                .seconds = st_seconds() - start,
                                                .bytes = bytes,
                                                .start = start - d->begun};
    else if (d->failure.status == STERNA_OK)
        st_fail(&d->failure, STERNA_E_LIMIT, "%s: a traced step has at most %d ops", st_op_name(op),
                (int)ST_REF_MAX_TRACE);
}

static void op_embed(st_device *dev, const st_embed_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    st_ref_embed(d, args);
    trace_op(d, ST_OP_EMBED, start, st_bytes_embed(args, live_rows(d, ST_ROWS_TOKEN)));
}

static void op_norm(st_device *dev, const st_norm_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    st_ref_norm(d, args);
    trace_op(d, ST_OP_NORM, start, st_bytes_norm(args, live_rows(d, args->rows)));
}

static void op_norm_quant(st_device *dev, const st_norm_quant_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    st_ref_norm_quant(d, args);
    trace_op(d, ST_OP_NORM_QUANT, start, st_bytes_norm_quant(args, live_rows(d, args->rows)));
}

static void op_linear(st_device *dev, const st_linear_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    st_ref_linear(d, args);
    trace_op(d, ST_OP_LINEAR, start, st_bytes_linear(args, live_rows(d, args->rows)));
}

static void op_rope_store(st_device *dev, const st_rope_store_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    st_ref_rope_store(d, args);
    trace_op(d, ST_OP_ROPE_STORE, start, st_bytes_rope_store(args, live_rows(d, ST_ROWS_TOKEN)));
}

static void op_attend(st_device *dev, const st_attend_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    uint64_t n_key = st_ref_attend(d, args);
    trace_op(d, ST_OP_ATTEND, start, st_bytes_attend(args, live_rows(d, ST_ROWS_TOKEN), n_key));
}

static void op_glu_norm_quant(st_device *dev, const st_glu_norm_quant_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    st_ref_glu_norm_quant(d, args);
    trace_op(d, ST_OP_GLU_NORM_QUANT, start, st_bytes_glu_norm_quant(args, live_rows(d, ST_ROWS_TOKEN)));
}

static void op_topk(st_device *dev, const st_topk_args *args)
{
    st_ref_device *d = ref(dev);
    double start = st_seconds();
    st_ref_topk(d, args);
    trace_op(d, ST_OP_TOPK, start, st_bytes_topk(args, live_rows(d, ST_ROWS_OUT)));
}

const st_backend st_backend_ref = {
    .name = "ref",
    .count = device_count,
    .info = device_info,
    .open = device_open,
    .close = device_close,
    .variants = device_variants,
    .force = device_force,
    .trace = device_trace,
    .buf_create = buf_create,
    .buf_destroy = buf_destroy,
    .buf_wrap = buf_wrap,
    .write = buf_write,
    .read = buf_read,
    .fill = buf_fill,
    .weight_create = st_ref_weight_create,
    .weight_destroy = st_ref_weight_destroy,
    .begin = step_begin,
    .end = step_end,
    .embed = op_embed,
    .norm = op_norm,
    .norm_quant = op_norm_quant,
    .linear = op_linear,
    .rope_store = op_rope_store,
    .attend = op_attend,
    .glu_norm_quant = op_glu_norm_quant,
    .topk = op_topk,
};
