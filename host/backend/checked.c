#include "host/backend/checked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static st_checked *checked(st_device *dev)
{
    return (st_checked *)dev;
}

void st_checked_fail(st_checked *c, const char *op, const char *format, ...)
{
    if (c->failure.status != STERNA_OK)
        return;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    st_fail(&c->failure, STERNA_E_ARGUMENT, "%s: %s", op, text);
}

/* Not a violation, but the step cannot be checked. */
static void out_of_memory(st_checked *c, const char *what)
{
    if (c->failure.status == STERNA_OK)
        st_fail(&c->failure, STERNA_E_MEMORY, "checking layer: no memory for %s", what);
}

/* ---- registries of live handles ---- */

st_live_buf *st_checked_buf(st_checked *c, const st_buf *buf)
{
    for (int i = 0; i < c->n_buf; i++)
        if (c->bufs[i].buf == buf)
            return &c->bufs[i];
    return NULL;
}

bool st_checked_has_weight(const st_checked *c, const st_weight *weight)
{
    for (int i = 0; i < c->n_weight; i++)
        if (c->weights[i] == weight)
            return true;
    return false;
}

static sterna_status add_buf(st_checked *c, st_buf *buf, bool wrapped, sterna_error *error)
{
    if (c->n_buf == c->max_buf) {
        int max = c->max_buf ? 2 * c->max_buf : 64;
        st_live_buf *bufs = realloc(c->bufs, (size_t)max * sizeof *bufs);
        if (!bufs)
            return st_fail(error, STERNA_E_MEMORY, "no memory to track %d buffers", max);
        c->bufs = bufs;
        c->max_buf = max;
    }
    c->bufs[c->n_buf++] = (st_live_buf){.buf = buf, .wrapped = wrapped};
    return STERNA_OK;
}

static sterna_status add_weight(st_checked *c, st_weight *weight, sterna_error *error)
{
    if (c->n_weight == c->max_weight) {
        int max = c->max_weight ? 2 * c->max_weight : 64;
        const st_weight **weights = realloc(c->weights, (size_t)max * sizeof *weights);
        if (!weights)
            return st_fail(error, STERNA_E_MEMORY, "no memory to track %d weights", max);
        c->weights = weights;
        c->max_weight = max;
    }
    c->weights[c->n_weight++] = weight;
    return STERNA_OK;
}

/* ---- device ---- */

static void checked_close(st_device *dev)
{
    st_checked *c = checked(dev);
    assert(c->n_buf == 0 && c->n_weight == 0); /* the contract of close: all handles were destroyed before */
    st_device_close(&c->inner);
    for (int i = 0; i < CHECKED_MAX_RECORDING; i++) {
        st_free(c->recordings[i].op_hash);
        st_free(c->recordings[i].op);
    }
    free(c->bufs);
    free(c->weights);
    free(c->arrays);
    st_free(c);
}

static int checked_variants(const st_device *dev, st_op op, const char *const **names)
{
    const st_checked *c = (const st_checked *)dev;
    return c->inner->backend->variants(c->inner, op, names);
}

static sterna_status checked_force(st_device *dev, st_op op, const char *variant, sterna_error *error)
{
    st_checked *c = checked(dev);
    if (op >= ST_OP_COUNT)
        return st_fail(error, STERNA_E_ARGUMENT, "force: there is no op %d", (int)op);
    return c->inner->backend->force(c->inner, op, variant, error);
}

static int checked_trace(const st_device *dev, st_trace_row *rows, int max)
{
    const st_checked *c = (const st_checked *)dev;
    return c->inner->backend->trace(c->inner, rows, max);
}

/* ---- memory ---- */

static sterna_status checked_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    st_checked *c = checked(dev);
    if (bytes == 0)
        return st_fail(error, STERNA_E_ARGUMENT, "buf_create: 0 bytes");
    sterna_status status = c->inner->backend->buf_create(c->inner, bytes, buf, error);
    if (status != STERNA_OK)
        return status;
    c->inner->backend->fill(c->inner, *buf, 0xffffffff); /* as f32: NaN; what nobody wrote shows in results */
    status = add_buf(c, *buf, false, error);
    if (status != STERNA_OK)
        c->inner->backend->buf_destroy(c->inner, *buf);
    return status;
}

static sterna_status checked_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf,
                                      sterna_error *error)
{
    st_checked *c = checked(dev);
    if (!native || bytes == 0)
        return st_fail(error, STERNA_E_ARGUMENT, "buf_wrap: %zu bytes at %p", bytes, native);
    sterna_status status = c->inner->backend->buf_wrap(c->inner, native, bytes, buf, error);
    if (status != STERNA_OK)
        return status;
    status = add_buf(c, *buf, true, error);
    if (status != STERNA_OK)
        c->inner->backend->buf_destroy(c->inner, *buf);
    return status;
}

static void checked_buf_destroy(st_device *dev, st_buf *buf)
{
    st_checked *c = checked(dev);
    if (!buf)
        return;
    st_live_buf *live = st_checked_buf(c, buf);
    if (!live) {
        st_checked_fail(c, "buf_destroy", "%p is not a live buffer of this device", (void *)buf);
        return;
    }
    *live = c->bufs[--c->n_buf];
    c->inner->backend->buf_destroy(c->inner, buf);
}

static bool range_ok(st_checked *c, const char *call, const st_buf *buf, size_t offset, size_t bytes)
{
    if (!st_checked_buf(c, buf))
        st_checked_fail(c, call, "%p is not a live buffer of this device", (const void *)buf);
    else if (c->batch)
        st_checked_fail(c, call, "inside a step");
    else if (offset > buf->bytes || bytes > buf->bytes - offset)
        st_checked_fail(c, call, "%zu bytes at offset %zu of a buffer of %zu", bytes, offset, buf->bytes);
    else
        return true;
    return false;
}

static void checked_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    st_checked *c = checked(dev);
    if (range_ok(c, "write", buf, offset, bytes)) {
        st_checked_buf(c, buf)->contents = ST_CONTENTS_GIVEN;
        c->inner->backend->write(c->inner, buf, offset, src, bytes);
    }
}

static void checked_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    st_checked *c = checked(dev);
    if (range_ok(c, "read", buf, offset, bytes))
        c->inner->backend->read(c->inner, buf, offset, dst, bytes);
}

static void checked_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    st_checked *c = checked(dev);
    if (range_ok(c, "fill", buf, 0, buf ? buf->bytes : 0)) {
        st_checked_buf(c, buf)->contents = ST_CONTENTS_GIVEN;
        c->inner->backend->fill(c->inner, buf, word);
    }
}

/* ---- weights ---- */

static sterna_status check_parts(const st_matrix *parts, int n_part, sterna_error *error)
{
    if (n_part < 1)
        return st_fail(error, STERNA_E_ARGUMENT, "weight_create: %d parts", n_part);
    int64_t rows = 0;
    for (int i = 0; i < n_part; i++) {
        const st_matrix *p = &parts[i];
        sterna_status status = st_matrix_check(p, error);
        if (status != STERNA_OK)
            return status;
        if (p->type != parts->type || p->group != parts->group || p->scale_type != parts->scale_type ||
            p->cols != parts->cols || p->blocks != parts->blocks)
            return st_fail(
                error, STERNA_E_ARGUMENT,
                "weight_create: part %d is %s%s with groups of %d and %d columns, part 0 %s%s with %d and %d",
                i, st_type_name(p->type), p->blocks ? " in blocks" : "", p->group, p->cols,
                st_type_name(parts->type), parts->blocks ? " in blocks" : "", parts->group, parts->cols);
        rows += p->rows;
    }
    if (rows > ST_MAX_ROWS)
        return st_fail(error, STERNA_E_LIMIT, "weight_create: %lld rows in all parts (limit %d)",
                       (long long)rows, ST_MAX_ROWS);
    return STERNA_OK;
}

static sterna_status check_outliers(const st_outliers *o, const st_matrix *parts, int n_part,
                                    sterna_error *error)
{
    int64_t rows = 0;
    for (int i = 0; i < n_part; i++)
        rows += parts[i].rows;
    if (o->count < 0 || o->count > ST_MAX_OUTLIER)
        return st_fail(error, STERNA_E_LIMIT, "weight_create: %d outliers (limit %d)", o->count,
                       ST_MAX_OUTLIER);
    for (int32_t i = 0; i < o->count; i++) {
        if (o->row[i] < 0 || o->row[i] >= rows || o->col[i] < 0 || o->col[i] >= parts->cols)
            return st_fail(error, STERNA_E_ARGUMENT,
                           "weight_create: outlier %d at row %d, column %d of a %lld x %d matrix", i,
                           o->row[i], o->col[i], (long long)rows, parts->cols);
        if (i > 0 &&
            (o->row[i] < o->row[i - 1] || (o->row[i] == o->row[i - 1] && o->col[i] <= o->col[i - 1])))
            return st_fail(error, STERNA_E_ARGUMENT, "weight_create: outlier %d is not after its predecessor",
                           i);
    }
    return STERNA_OK;
}

static sterna_status checked_weight_create(st_device *dev, const st_matrix *parts, int n_part,
                                           const float *bias, float out_scale, const st_outliers *outliers,
                                           st_weight **weight, sterna_error *error)
{
    st_checked *c = checked(dev);
    sterna_status status = check_parts(parts, n_part, error);
    if (status == STERNA_OK && outliers)
        status = check_outliers(outliers, parts, n_part, error);
    if (status != STERNA_OK)
        return status;
    if (!isfinite(out_scale))
        return st_fail(error, STERNA_E_ARGUMENT, "weight_create: out_scale is %g", (double)out_scale);
    status =
        c->inner->backend->weight_create(c->inner, parts, n_part, bias, out_scale, outliers, weight, error);
    if (status != STERNA_OK)
        return status;
    status = add_weight(c, *weight, error);
    if (status != STERNA_OK)
        c->inner->backend->weight_destroy(c->inner, *weight);
    return status;
}

static void checked_weight_destroy(st_device *dev, st_weight *weight)
{
    st_checked *c = checked(dev);
    for (int i = 0; i < c->n_weight; i++)
        if (c->weights[i] == weight) {
            c->weights[i] = c->weights[--c->n_weight];
            c->inner->backend->weight_destroy(c->inner, weight);
            return;
        }
    if (weight)
        st_checked_fail(c, "weight_destroy", "%p is not a live weight of this device", (void *)weight);
}

/* ---- steps ---- */

/* Copies the batch's arrays to the host and checks what they hold against each other. */
static bool fetch_arrays(st_checked *c, const st_batch *b)
{
    const size_t counts[7] = {(size_t)b->n_token,
                              (size_t)b->n_token,
                              (size_t)b->n_token,
                              (size_t)b->n_token,
                              (size_t)b->n_seq * (size_t)b->max_blocks,
                              (size_t)b->n_seq,
                              (size_t)b->n_out};
    const st_buf *const bufs[7] = {b->token, b->pos, b->seq, b->slot, b->table, b->length, b->out};
    static const char *const names[7] = {"token", "pos", "seq", "slot", "table", "length", "out"};
    const int32_t **const views[7] = {&c->token,      &c->pos,    &c->seq, &c->slot,
                                      &c->table_rows, &c->length, &c->out};
    size_t total = 0;
    for (int i = 0; i < 7; i++)
        total += counts[i];
    if (total > c->n_arrays) {
        free(c->arrays);
        c->arrays = malloc(total * sizeof *c->arrays);
        c->n_arrays = c->arrays ? total : 0;
        if (!c->arrays) {
            out_of_memory(c, "the arrays of a batch");
            return false;
        }
    }
    int32_t *at = c->arrays;
    for (int i = 0; i < 7; i++) {
        size_t bytes = counts[i] * sizeof(int32_t);
        *views[i] = at;
        if (bytes == 0)
            continue;
        if (!st_checked_buf(c, bufs[i]) || bufs[i]->bytes < bytes) {
            st_checked_fail(c, "begin", "%s holds %zu bytes, %zu are needed", names[i],
                            bufs[i] ? bufs[i]->bytes : 0, bytes);
            return false;
        }
        c->inner->backend->read(c->inner, bufs[i], 0, at, bytes);
        at += counts[i];
    }
    return true;
}

static void check_rows(st_checked *c, const st_batch *b)
{
    for (int32_t r = 0; r < b->n_token; r++) {
        int32_t pos = c->pos[r];
        if (pos == -1)
            continue;
        if (c->seq[r] < 0 || c->seq[r] >= b->n_seq)
            st_checked_fail(c, "begin", "row %d belongs to sequence %d of %d", r, c->seq[r], b->n_seq);
        else if (pos < 0 || pos >= c->length[c->seq[r]] || pos / ST_KV_PAGE >= b->max_blocks)
            st_checked_fail(c, "begin", "row %d has position %d; its sequence has %d, the table %d", r, pos,
                            c->length[c->seq[r]], b->max_blocks * ST_KV_PAGE);
        else {
            int64_t page = c->table_rows[(int64_t)c->seq[r] * b->max_blocks + pos / ST_KV_PAGE];
            if (c->slot[r] != page * ST_KV_PAGE + pos % ST_KV_PAGE)
                st_checked_fail(c, "begin", "row %d at position %d goes to slot %d, but its page is %lld", r,
                                pos, c->slot[r], (long long)page);
        }
    }
    for (int32_t i = 0; i < b->n_out; i++)
        if (c->out[i] < -1 || c->out[i] >= b->n_token || (c->out[i] >= 0 && c->pos[c->out[i]] < 0))
            st_checked_fail(c, "begin", "output %d is row %d, which is not a row of this step", i, c->out[i]);
}

static uint64_t batch_key(const st_batch *b)
{
    const uint64_t words[] = {(uint64_t)b->n_token,
                              (uint64_t)b->n_seq,
                              (uint64_t)b->n_out,
                              (uint64_t)b->max_blocks,
                              b->stream,
                              (uintptr_t)b->token,
                              (uintptr_t)b->pos,
                              (uintptr_t)b->seq,
                              (uintptr_t)b->slot,
                              (uintptr_t)b->table,
                              (uintptr_t)b->length,
                              (uintptr_t)b->out};
    uint64_t key = st_hash(ST_HASH_SEED, words, sizeof words);
    return key ? key : 1;
}

/* The recording of this key, or the slot for a new one. */
static st_recording *find_recording(st_checked *c, uint64_t key, bool *known)
{
    st_recording *oldest = &c->recordings[0];
    for (int i = 0; i < CHECKED_MAX_RECORDING; i++) {
        st_recording *r = &c->recordings[i];
        if (r->key == key) {
            *known = true;
            r->age = ++c->clock;
            return r;
        }
        if (r->age < oldest->age)
            oldest = r;
    }
    *known = false;
    if (!oldest->op_hash) {
        oldest->op_hash = st_calloc(CHECKED_MAX_OP, sizeof *oldest->op_hash);
        oldest->op = st_calloc(CHECKED_MAX_OP, 1);
    }
    oldest->key = key;
    oldest->age = ++c->clock;
    oldest->n_op = 0;
    return oldest->op_hash && oldest->op ? oldest : NULL;
}

static bool checked_begin(st_device *dev, const st_batch *b)
{
    st_checked *c = checked(dev);
    if (c->batch)
        st_checked_fail(c, "begin", "a step is already open");
    if (b->n_token < 1 || b->n_token > ST_MAX_BATCH || b->n_seq < 1 || b->n_seq > ST_MAX_SEQUENCE ||
        b->n_out < 0 || b->n_out > b->n_token || b->max_blocks < 1)
        st_checked_fail(c, "begin", "%d rows, %d sequences, %d outputs, %d blocks", b->n_token, b->n_seq,
                        b->n_out, b->max_blocks);
    if (c->failure.status == STERNA_OK && fetch_arrays(c, b))
        check_rows(c, b);
    if (c->failure.status == STERNA_OK) {
        c->current = find_recording(c, batch_key(b), &c->known);
        if (!c->current)
            out_of_memory(c, "a recording");
    }
    c->batch = b;
    c->n_op = 0;
    if (c->failure.status != STERNA_OK)
        return true;
    bool issue = c->inner->backend->begin(c->inner, b);
    if (!issue && !c->known)
        st_checked_fail(c, "begin", "the device replays a step that was never recorded");
    c->replaying = !issue;
    return true; /* ops are always issued to this layer, which compares them */
}

bool st_checked_note(st_checked *c, st_op op, uint64_t hash)
{
    st_recording *r = c->current;
    if (c->failure.status != STERNA_OK)
        return false;
    int at = c->n_op++;
    if (at >= CHECKED_MAX_OP)
        st_checked_fail(c, st_op_name(op), "more than %d ops in a step", CHECKED_MAX_OP);
    else if (!c->known) {
        r->op_hash[at] = hash;
        r->op[at] = (uint8_t)op;
        r->n_op = c->n_op;
    } else if (at >= r->n_op)
        st_checked_fail(c, st_op_name(op), "op %d of a step whose earlier run had %d", at, r->n_op);
    else if (r->op[at] != op)
        st_checked_fail(c, st_op_name(op), "op %d of this step was %s in its earlier run", at,
                        st_op_name((st_op)r->op[at]));
    else if (r->op_hash[at] != hash)
        st_checked_fail(c, st_op_name(op), "op %d of this step had other arguments in its earlier run", at);
    return c->failure.status == STERNA_OK && !c->replaying;
}

static sterna_status checked_end(st_device *dev, sterna_error *error)
{
    st_checked *c = checked(dev);
    if (!c->batch)
        st_checked_fail(c, "end", "no step is open");
    else if (c->failure.status == STERNA_OK && c->known && c->n_op != c->current->n_op)
        st_checked_fail(c, "end", "%d ops in a step whose earlier run had %d", c->n_op, c->current->n_op);
    bool begun = c->batch && c->current;
    c->batch = NULL;
    c->current = NULL;
    sterna_status status = begun ? c->inner->backend->end(c->inner, error) : STERNA_OK;
    if (c->failure.status != STERNA_OK) {
        if (error)
            *error = c->failure;
        return c->failure.status;
    }
    return status;
}

sterna_status st_checked_open(st_device *inner, const st_device_params *params, st_device **dev,
                              sterna_error *error)
{
    st_checked *c = st_calloc(1, sizeof *c);
    if (!c)
        return st_fail(error, STERNA_E_MEMORY, "no memory for the checking layer");
    c->inner = inner;
    c->table = *inner->backend;
    c->table.close = checked_close;
    c->table.variants = checked_variants;
    c->table.force = checked_force;
    c->table.trace = checked_trace;
    c->table.buf_create = checked_buf_create;
    c->table.buf_destroy = checked_buf_destroy;
    c->table.buf_wrap = checked_buf_wrap;
    c->table.write = checked_write;
    c->table.read = checked_read;
    c->table.fill = checked_fill;
    c->table.weight_create = checked_weight_create;
    c->table.weight_destroy = checked_weight_destroy;
    c->table.begin = checked_begin;
    c->table.end = checked_end;
    st_checked_ops(&c->table);
    c->base = (st_device){&c->table, c->inner->max_view};
    *dev = &c->base;
    st_log_write(&params->log, STERNA_LOG_INFO,
                 "checking layer on: every call's arguments and every step's ops");
    return STERNA_OK;
}
