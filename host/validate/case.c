/* Life of a case: its memory and buffers, the reference run, and the comparison. */
#include "host/validate/runner.h"

#include <stdio.h>

enum { GUARD = 256, POISON = 0xff /* as f32, f16 and bf16: NaN */ };

st_case *st_case_begin(st_suite *suite, st_op op, int32_t m, int32_t n, int32_t k, const char *format, ...)
{
    st_case *c = &suite->current;
    *c = (st_case){.suite = suite, .op = op, .m = m, .n = n, .k = k, .out_scale = 1.0f};
    va_list args;
    va_start(args, format);
    vsnprintf(c->parameters, sizeof c->parameters, format, args);
    va_end(args);
    const int32_t shape[] = {(int32_t)op, m, n, k};
    c->random =
        st_hash(st_hash(suite->options->seed, shape, sizeof shape), c->parameters, strlen(c->parameters));
    suite->arena_used = 0;
    return c;
}

void *st_case_alloc(st_case *c, size_t bytes)
{
    st_suite *s = c->suite;
    size_t size = st_align_up(bytes, 64);
    if (size > s->arena_bytes - s->arena_used)
        st_suite_fail(s, STERNA_E_MEMORY,
                      "%s %dx%dx%d needs more than the %zu bytes the suite has for a case", st_op_name(c->op),
                      c->m, c->n, c->k, s->arena_bytes);
    void *at = s->arena + s->arena_used;
    s->arena_used += size;
    return at;
}

static int add_buf(st_case *c, size_t bytes, bool internal)
{
    assert(c->n_buf < ST_CASE_MAX_BUF);
    st_case_buf *b = &c->buf[c->n_buf];
    *b = (st_case_buf){.bytes = bytes, .internal = internal};
    if (!internal) {
        b->before = st_case_alloc(c, bytes + GUARD);
        b->expected = st_case_alloc(c, bytes + GUARD);
        memset(b->before, POISON, bytes + GUARD);
    }
    return c->n_buf++;
}

int st_case_buf_add(st_case *c, const void *contents, size_t bytes)
{
    int index = add_buf(c, bytes, false);
    if (contents)
        memcpy(c->buf[index].before, contents, bytes);
    return index;
}

int st_case_buf_internal(st_case *c, size_t bytes)
{
    return add_buf(c, bytes, true);
}

void st_case_plane(st_case *c, st_plane plane)
{
    assert(c->n_plane < ST_CASE_MAX_PLANE);
    c->plane[c->n_plane++] = plane;
}

st_qact st_case_qact(const st_qact *q, const st_rig *rig, int buf)
{
    st_qact on_device = *q;
    on_device.buf = rig->buf[buf];
    return on_device;
}

void st_case_qact_planes(st_case *c, const st_qact *q, int buf, int32_t n_row, const int32_t *live)
{
    st_qact_layout at = st_qact_planes(q);
    st_case_plane(c, (st_plane){"code", ST_PLANE_I8, buf, 0, at.stride, n_row, (int32_t)at.stride, live});
    st_case_plane(c, (st_plane){"scale", ST_PLANE_F32, buf, at.scale_offset,
                                (size_t)at.n_scale * sizeof(float), n_row, at.n_scale, live});
    st_case_plane(c, (st_plane){"sum", ST_PLANE_I32, buf, at.sum_offset, (size_t)at.n_sum * sizeof(int32_t),
                                n_row, at.n_sum, live});
}

/* ---- a case on a device ---- */

void st_rig_close(st_rig *rig)
{
    if (!rig->dev)
        return;
    for (int i = 0; i < ST_CASE_MAX_BUF; i++) {
        rig->dev->backend->buf_destroy(rig->dev, rig->buf[i]);
        st_free(rig->guarded[i]);
    }
    rig->dev->backend->weight_destroy(rig->dev, rig->weight);
    *rig = (st_rig){.dev = NULL};
}

/* Host devices work on memory of ours, so that a write in front of a buffer is seen as well. */
static sterna_status create_buf(const st_case_buf *b, st_rig *rig, int i, bool host, sterna_error *error)
{
    const st_backend *backend = rig->dev->backend;
    size_t bytes = b->internal ? b->bytes : b->bytes + GUARD;
    if (!host || b->internal)
        return backend->buf_create(rig->dev, bytes, &rig->buf[i], error);
    unsigned char *memory = st_alloc(GUARD + bytes);
    if (!memory)
        return st_fail(error, STERNA_E_MEMORY, "no memory for a buffer of %zu bytes", bytes);
    memset(memory, POISON, GUARD);
    rig->guarded[i] = memory;
    return backend->buf_wrap(rig->dev, memory + GUARD, bytes, &rig->buf[i], error);
}

void st_rig_open(const st_case *c, st_device *dev, bool host, st_rig *rig)
{
    sterna_error error = {STERNA_OK, ""};
    sterna_status status = STERNA_OK;
    *rig = (st_rig){.dev = dev};
    for (int i = 0; i < c->n_buf && status == STERNA_OK; i++)
        status = create_buf(&c->buf[i], rig, i, host, &error);
    if (status == STERNA_OK && c->n_part > 0)
        status = dev->backend->weight_create(dev, c->part, c->n_part, c->bias, c->out_scale, &c->outliers,
                                             &rig->weight, &error);
    if (status != STERNA_OK)
        st_suite_fail(c->suite, status, "%s %dx%dx%d (%s) on %s: %s", st_op_name(c->op), c->m, c->n, c->k,
                      c->parameters, dev->backend->name, error.message);
}

/* Sets all contents and runs the case once. */
void st_rig_run(const st_case *c, st_rig *rig)
{
    for (int i = 0; i < c->n_buf; i++)
        if (c->buf[i].internal)
            rig->dev->backend->fill(rig->dev, rig->buf[i], UINT32_MAX);
        else
            rig->dev->backend->write(rig->dev, rig->buf[i], 0, c->buf[i].before, c->buf[i].bytes + GUARD);
    c->suite->stream++;
    c->run(c, rig);
}

static bool is_padding(const st_plane *p, int32_t row)
{
    return p->live && p->live[row] < 0;
}

/* NaN in results would hide differences, and means that the case is wrong or nothing was computed. */
static void refuse_nan(const st_case *c, const st_plane *p)
{
    for (int32_t row = 0; p->type == ST_PLANE_F32 && row < p->n_row; row++)
        for (int32_t col = 0; col < p->n_col && !is_padding(p, row); col++) {
            float x;
            memcpy(&x, c->buf[p->buf].expected + p->offset + (size_t)row * p->row_bytes + 4 * (size_t)col, 4);
            if (x != x)
                st_suite_fail(c->suite, STERNA_E_DEVICE,
                              "the reference has NaN in %s row %d column %d of %s %dx%dx%d (%s)", p->name,
                              row, col, st_op_name(c->op), c->m, c->n, c->k, c->parameters);
        }
}

void st_rig_expect(st_case *c, const st_rig *rig)
{
    for (int i = 0; i < c->n_buf; i++)
        if (!c->buf[i].internal)
            rig->dev->backend->read(rig->dev, rig->buf[i], 0, c->buf[i].expected, c->buf[i].bytes + GUARD);
    for (int i = 0; i < c->n_plane && !c->with_nan; i++)
        refuse_nan(c, &c->plane[i]);
}

/* ---- comparison ---- */

/* f32: distance in representable values; NaN against a number counts as the greatest. */
static uint64_t difference(st_plane_type type, const unsigned char *a, const unsigned char *b)
{
    if (type == ST_PLANE_I8)
        return (uint64_t)abs((int8_t)*a - (int8_t)*b);
    int32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    if (type == ST_PLANE_F32) {
        bool nan = (x & INT32_MAX) > 0x7f800000 || (y & INT32_MAX) > 0x7f800000;
        if (nan)
            return x == y ? 0 : UINT32_MAX;
        x = x < 0 ? INT32_MIN - x : x; /* -0 and +0 are 1 apart below */
        y = y < 0 ? INT32_MIN - y : y;
        if (x == y && memcmp(a, b, 4) != 0)
            return 1;
    }
    return (uint64_t)llabs((int64_t)x - y);
}

static void describe(const st_plane *p, int32_t row, int32_t col, const unsigned char *got,
                     const unsigned char *want, char *text, size_t size)
{
    int32_t x, y;
    if (p->type == ST_PLANE_I8) {
        snprintf(text, size, "%s row %d column %d: %d, reference %d", p->name, row, col, (int8_t)*got,
                 (int8_t)*want);
        return;
    }
    memcpy(&x, got, 4);
    memcpy(&y, want, 4);
    if (p->type == ST_PLANE_I32)
        snprintf(text, size, "%s row %d column %d: %d, reference %d", p->name, row, col, x, y);
    else
        snprintf(text, size, "%s row %d column %d: %.9g (0x%08x), reference %.9g (0x%08x)", p->name, row, col,
                 (double)st_float((uint32_t)x), (unsigned)x, (double)st_float((uint32_t)y), (unsigned)y);
}

/* The worst element of the planes of one buffer; false if all of them are right. */
static bool find_worst(const st_case *c, int buf, const unsigned char *got, st_miss *miss)
{
    bool found = false;
    for (int i = 0; i < c->n_plane; i++) {
        const st_plane *p = &c->plane[i];
        size_t size = p->type == ST_PLANE_I8 ? 1 : 4;
        for (int32_t row = 0; p->buf == buf && row < p->n_row; row++) {
            if (is_padding(p, row))
                continue;
            for (int32_t col = 0; col < p->n_col; col++) {
                size_t at = p->offset + (size_t)row * p->row_bytes + (size_t)col * size;
                uint64_t d = difference(p->type, got + at, c->buf[buf].expected + at);
                if (d == 0 || (found && d <= miss->difference))
                    continue;
                found = true;
                miss->difference = d;
                describe(p, row, col, got + at, c->buf[buf].expected + at, miss->where, sizeof miss->where);
            }
        }
    }
    return found;
}

static bool compare_buf(const st_case *c, int buf, unsigned char *got, st_miss *miss)
{
    const st_case_buf *b = &c->buf[buf];
    for (int i = 0; i < c->n_plane; i++) {
        const st_plane *p = &c->plane[i];
        size_t size = p->type == ST_PLANE_I8 ? 1 : 4;
        for (int32_t row = 0; p->buf == buf && row < p->n_row; row++)
            if (is_padding(p, row)) {
                size_t at = p->offset + (size_t)row * p->row_bytes;
                memcpy(got + at, b->expected + at, (size_t)p->n_col * size);
            }
    }
    size_t bytes = b->bytes + GUARD, at = 0;
    if (memcmp(got, b->expected, bytes) == 0)
        return true;
    if (find_worst(c, buf, got, miss))
        return false;
    while (got[at] == b->expected[at])
        at++;
    miss->difference = UINT32_MAX;
    snprintf(miss->where, sizeof miss->where,
             "buffer %d of %zu bytes was written at byte %zu, which is no result", buf, b->bytes, at);
    return false;
}

bool st_rig_compare(st_case *c, const st_rig *rig, st_miss *miss)
{
    size_t mark = c->suite->arena_used;
    bool right = true;
    for (int i = 0; i < c->n_buf && right; i++) {
        if (c->buf[i].internal)
            continue;
        c->suite->arena_used = mark;
        unsigned char *got = st_case_alloc(c, c->buf[i].bytes + GUARD);
        rig->dev->backend->read(rig->dev, rig->buf[i], 0, got, c->buf[i].bytes + GUARD);
        right = compare_buf(c, i, got, miss);
        for (int g = 0; rig->guarded[i] && right && g < GUARD; g++)
            if (((unsigned char *)rig->guarded[i])[g] != POISON) {
                miss->difference = UINT32_MAX;
                snprintf(miss->where, sizeof miss->where, "buffer %d was written %d bytes in front of it", i,
                         GUARD - g);
                right = false;
            }
    }
    c->suite->arena_used = mark;
    return right;
}
