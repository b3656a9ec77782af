#include "bench/ops_fill.h"

#include "bench/measure.h"

enum { QUADS = 81 /* four ternary digits */ };
#define SCALE 0.01f

static void fill_ternary(unsigned char *data, const st_matrix *m)
{
    uint64_t state = 1;
    unsigned char quad[QUADS];
    for (int i = 0; i < QUADS; i++)
        quad[i] = (unsigned char)(i % 3 | i / 3 % 3 << 2 | i / 9 % 3 << 4 | i / 27 << 6);
    memset(data, ST_TERNARY_ZERO_BYTE, (size_t)m->rows * m->row_bytes);
    size_t whole = (size_t)m->cols / 4; /* bytes; what is left of a row stays zero */
    for (int64_t row = 0; row < m->rows; row++)
        for (size_t i = 0; i < whole; i += 4) {
            uint64_t draw = st_draw(&state);
            for (size_t j = i; j < i + 4 && j < whole; j++, draw >>= 16)
                data[(size_t)row * m->row_bytes + j] = quad[(draw & 0xffff) * QUADS >> 16];
        }
}

/* Random bits of which `keep` stay, with `set` beside them: a sign, a mantissa, and an exponent below 1. */
static void fill_words(unsigned char *data, size_t bytes, uint64_t keep, uint64_t set)
{
    uint64_t state = 2;
    for (size_t i = 0; i < bytes; i += sizeof state) {
        uint64_t word = (st_draw(&state) & keep) | set;
        memcpy(data + i, &word, bytes - i < sizeof word ? bytes - i : sizeof word);
    }
}

static void fill_dense(unsigned char *data, size_t bytes, st_type type)
{
    switch (type) {
    case ST_F16:
        fill_words(data, bytes, UINT64_C(0x83ff83ff83ff83ff), UINT64_C(0x2800280028002800));
        return;
    case ST_BF16:
        fill_words(data, bytes, UINT64_C(0x807f807f807f807f), UINT64_C(0x3d003d003d003d00));
        return;
    case ST_F32:
        fill_words(data, bytes, UINT64_C(0x807fffff807fffff), UINT64_C(0x3d0000003d000000));
        return;
    default:
        fill_words(data, bytes, UINT64_MAX, 0);
    }
}

static const void *fill_scales(const st_matrix *m)
{
    size_t n = (size_t)m->rows * (size_t)st_matrix_groups(m);
    if (m->type != ST_TERNARY && m->type != ST_Q8)
        return NULL;
    float *scale = st_alloc(n * sizeof *scale);
    for (size_t i = 0; scale && i < n; i++) {
        uint16_t half = st_f32_to_f16(SCALE);
        if (m->scale_type == ST_F16)
            memcpy((char *)scale + i * sizeof half, &half, sizeof half);
        else
            scale[i] = SCALE;
    }
    return scale;
}

sterna_status st_fill_matrix(st_type type, int32_t group, int32_t n, int32_t k, st_matrix *matrix,
                             sterna_error *error)
{
    *matrix = (st_matrix){.type = type,
                          .scale_type = group ? ST_F16 : ST_F32,
                          .rows = n,
                          .cols = k,
                          .group = group,
                          .row_bytes = st_row_bytes(type, k)};
    size_t bytes = (size_t)n * matrix->row_bytes;
    unsigned char *data = st_alloc(bytes);
    matrix->data = data;
    matrix->scale = fill_scales(matrix);
    if (!data || (!matrix->scale && (type == ST_TERNARY || type == ST_Q8)))
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a matrix of %zu bytes", bytes);
    if (type == ST_TERNARY)
        fill_ternary(data, matrix);
    else
        fill_dense(data, bytes, type);
    return STERNA_OK;
}

/* A buffer with these contents. */
static sterna_status create(st_device *dev, const void *contents, size_t bytes, st_buf **buf,
                            sterna_error *error)
{
    sterna_status status =
        contents ? dev->backend->buf_create(dev, bytes, buf, error)
                 : st_fail(error, STERNA_E_MEMORY, "out of memory for a buffer of %zu bytes", bytes);
    if (status == STERNA_OK)
        dev->backend->write(dev, *buf, 0, contents, bytes);
    return status;
}

sterna_status st_fill_reals(st_device *dev, int64_t n, st_buf **buf, sterna_error *error)
{
    uint64_t state = 3;
    float *x = st_calloc((size_t)n, sizeof *x);
    for (int64_t i = 0; x && i < n; i++)
        x[i] = (float)(int32_t)(st_draw(&state) >> 32) * 0x1p-31f;
    sterna_status status = create(dev, x, (size_t)n * sizeof *x, buf, error);
    st_free(x);
    return status;
}

sterna_status st_fill_quant(st_device *dev, st_qact *q, sterna_error *error)
{
    uint64_t state = 4;
    st_qact_layout at = st_qact_planes(q);
    unsigned char *data = st_calloc(at.bytes, 1);
    int32_t sum_group = q->sum_group ? q->sum_group : q->cols;
    for (int64_t r = 0; data && r < q->max_row; r++) {
        int8_t *code = (int8_t *)data + (size_t)r * at.stride;
        int32_t *sum = (int32_t *)(void *)(data + at.sum_offset) + r * at.n_sum;
        float *scale = (float *)(void *)(data + at.scale_offset) + r * at.n_scale;
        for (int32_t k = 0; k < q->cols; k++) {
            code[k] = (int8_t)(st_draw_below(&state, 255) - 127);
            sum[k / sum_group] += code[k];
        }
        for (int32_t i = 0; i < at.n_scale; i++)
            scale[i] = SCALE;
    }
    sterna_status status = create(dev, data, at.bytes, &q->buf, error);
    st_free(data);
    return status;
}

sterna_status st_fill_integers(st_device *dev, const int32_t *values, int64_t n, st_buf **buf,
                               sterna_error *error)
{
    return create(dev, values, (size_t)n * sizeof *values, buf, error);
}
