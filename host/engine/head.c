#include "host/engine/head.h"

#include "host/base/numerics.h"

#include <stdatomic.h>

enum { ROWS_AT_ONCE = 64 }; /* that a thread quantises: some 0.2 ms of 2560 columns */

typedef struct quantisation {
    const st_matrix *from;
    int8_t *code;        /* [rows][cols] */
    float *scale;        /* [rows] */
    atomic_bool failed;  /* no memory for a row */
    _Atomic int32_t bad; /* the first row that is not finite; `rows` if there is none */
} quantisation;

/* st_f16_to_f32 without branches, so that compilers make vectors of it: this is most of the time of loading a
 * head. A NaN keeps its bits. */
static float from_half(uint16_t h)
{
    uint32_t sign = (h & 0x8000u) << 16, rest = h & 0x7fffu;
    uint32_t normal = (rest << 13) + ((rest < 0x7c00 ? 112u : 224u) << 23);
    uint32_t subnormal = st_bits((float)(int32_t)rest * 0x1p-24f);
    return st_float(sign | (rest < 0x400 ? subnormal : normal));
}

static void q8_values(const st_matrix *m, int64_t row, float *to)
{
    int32_t group = m->group ? m->group : m->cols;
    for (int32_t k = 0; k < m->cols; k += group) {
        const int8_t *code = st_matrix_q8(m, row, k);
        float scale = st_matrix_scale(m, row, k / group);
        for (int32_t i = 0, n = (int32_t)st_min(group, m->cols - k); i < n; i++)
            to[k + i] = (float)code[i] * scale;
    }
}

static void values_of(const st_matrix *m, int64_t row, float *to)
{
    if (m->type == ST_Q8) {
        q8_values(m, row, to);
        return;
    }
    const uint16_t *half = (const void *)((const unsigned char *)m->data + (size_t)row * m->row_bytes);
    for (int32_t k = 0; m->type == ST_F16 && k < m->cols; k++)
        to[k] = from_half(half[k]);
    for (int32_t k = 0; m->type != ST_F16 && k < m->cols; k++)
        to[k] = st_matrix_value(m, row, k);
}

static void quantise_rows(void *context, int64_t first, int64_t count)
{
    quantisation *q = context;
    size_t cols = (size_t)q->from->cols;
    float *value = st_alloc(cols * sizeof *value);
    if (!value) {
        q->failed = true;
        return;
    }
    for (int64_t row = first; row < first + count; row++) {
        values_of(q->from, row, value);
        q->scale[row] = st_quantise(value, (int64_t)cols, q->code + (size_t)row * cols).scale;
        int32_t bad = q->bad;
        if (!isfinite(q->scale[row]))
            while (row < bad && !atomic_compare_exchange_weak(&q->bad, &bad, (int32_t)row))
                ;
    }
    st_free(value);
}

sterna_status st_head_quantise(st_decoded *from, st_pool *pool, st_decoded *to, sterna_error *error)
{
    const st_matrix *m = &from->matrix;
    assert(m->type != ST_TERNARY);
    size_t codes = st_align_up((size_t)m->rows * (size_t)m->cols, 64),
           scales = (size_t)m->rows * sizeof(float);
    *to = (st_decoded){.memory = st_alloc(codes + scales), .out_scale = from->out_scale};
    if (!to->memory)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for an int8 head of %d x %d", m->rows, m->cols);
    quantisation q = {
        .from = m, .code = to->memory, .scale = (void *)((char *)to->memory + codes), .bad = m->rows};
    st_pool_loop_once(pool, m->rows, ROWS_AT_ONCE, quantise_rows, &q);
    if (q.failed || q.bad < m->rows) {
        int32_t bad = q.bad;
        st_free(to->memory);
        return q.failed
                   ? st_fail(error, STERNA_E_MEMORY, "out of memory for a row of %d values", m->cols)
                   : st_fail(error, STERNA_E_FORMAT,
                             "row %d of the head has a value that is not finite: int8 cannot hold it", bad);
    }
    to->matrix = (st_matrix){.type = ST_Q8,
                             .scale_type = ST_F32,
                             .rows = m->rows,
                             .cols = m->cols,
                             .row_bytes = (size_t)m->cols,
                             .data = q.code,
                             .scale = q.scale};
    to->bias = from->bias;
    from->bias = NULL;
    return STERNA_OK;
}
