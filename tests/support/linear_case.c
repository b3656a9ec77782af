#include "tests/support/linear_case.h"

#include "tests/support/op_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static void *memory(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p)
        abort();
    return p;
}

/* A finite number of this type, a few of them subnormal or zero; its bits go to `to`. */
static void put_number(sterna_matrix_type type, void *to, size_t index, uint32_t *state)
{
    uint32_t u = case_random(state);
    if (type == STERNA_TYPE_F32)
        ((float *)to)[index] = u % 31 == 0 ? 0.0f : case_uniform(state, 2.0f);
    else if (type == STERNA_TYPE_F16)
        ((uint16_t *)to)[index] = (uint16_t)((u & 0x83ff) | (u >> 16) % 20 << 10);
    else
        ((uint16_t *)to)[index] = (uint16_t)((u & 0x807f) | (110 + (u >> 16) % 20) << 7);
}

/* ---- the matrix ---- */

/* Up to six places, ascending. */
static void choose_outliers(sterna_matrix *m, uint32_t *state)
{
    int32_t *row = memory(6, sizeof *row), *col = memory(6, sizeof *col);
    uint16_t *f16 = memory(6, sizeof *f16);
    int64_t elements = (int64_t)m->rows * m->cols, at = -1;
    for (int i = 0; i < 6; i++) {
        at += 1 + case_random(state) % (uint32_t)(elements / 4 + 1);
        if (at >= elements)
            break;
        row[i] = (int32_t)(at / m->cols);
        col[i] = (int32_t)(at % m->cols);
        put_number(STERNA_TYPE_F16, f16, (size_t)i, state);
        m->n_outlier++;
    }
    m->outlier_row = row;
    m->outlier_col = col;
    m->outlier_f16 = f16;
}

static bool is_outlier(const sterna_matrix *m, int32_t n, int32_t k)
{
    for (int32_t i = 0; i < m->n_outlier; i++)
        if (m->outlier_row[i] == n && m->outlier_col[i] == k)
            return true;
    return false;
}

/* Random elements, packed by the library; then wider apart with rubbish between, if asked. */
static void make_ternary(sterna_matrix *m, const linear_spec *spec, uint32_t *state)
{
    size_t narrow = sterna_matrix_row_bytes(m->type, m->cols), rows = (size_t)m->rows;
    int8_t *values = memory(rows * (size_t)m->cols, 1);
    for (int32_t n = 0; n < m->rows; n++)
        for (int32_t k = 0; k < m->cols; k++) {
            int value = (int)(case_random(state) % (spec->four_levels ? 4 : 3)) - 1;
            bool zero = is_outlier(m, n, k) || n % 11 == 5; /* whole rows of zeros: -0 comes out */
            values[(size_t)n * (size_t)m->cols + (size_t)k] = (int8_t)(zero ? 0 : value);
        }
    size_t step = spec->wide_rows ? narrow + 32 : narrow;
    unsigned char *packed = memory(rows, narrow), *data = memory(rows, step);
    if (sterna_matrix_pack(values, m->rows, m->cols, packed, rows * narrow, NULL) != STERNA_OK)
        abort();
    memset(data, 0xff, rows * step);
    for (size_t n = 0; n < rows; n++)
        memcpy(data + n * step, packed + n * narrow, narrow);
    m->data = data;
    m->row_bytes = spec->wide_rows ? step : 0;
    free(values);
    free(packed);
}

static void make_other(sterna_matrix *m, const linear_spec *spec, uint32_t *state)
{
    size_t narrow = sterna_matrix_row_bytes(m->type, m->cols), step = narrow + (spec->wide_rows ? 8 : 0);
    unsigned char *data = memory((size_t)m->rows, step);
    memset(data, 0xff, (size_t)m->rows * step);
    for (int32_t n = 0; n < m->rows; n++)
        for (int32_t k = 0; k < m->cols; k++) {
            unsigned char *row = data + (size_t)n * step;
            if (m->type == STERNA_TYPE_Q8)
                ((int8_t *)row)[k] = (int8_t)case_random(state);
            else
                put_number(m->type, row, (size_t)k, state);
            if (is_outlier(m, n, k)) {
                size_t size = narrow / (size_t)m->cols;
                memset(row + (size_t)k * size, 0, size);
            }
        }
    m->data = data;
    m->row_bytes = spec->wide_rows ? step : 0;
}

static void make_matrix(sterna_matrix *m, const linear_spec *spec, uint32_t *state)
{
    sterna_matrix_defaults(m);
    m->type = spec->type;
    m->rows = spec->rows;
    m->cols = spec->cols;
    m->out_scale = spec->out_scale ? 1.3f : 1.0f;
    if (spec->outliers)
        choose_outliers(m, state);
    if (spec->type == STERNA_TYPE_TERNARY)
        make_ternary(m, spec, state);
    else
        make_other(m, spec, state);
    m->four_levels = spec->four_levels && spec->type == STERNA_TYPE_TERNARY;
    if (spec->type == STERNA_TYPE_TERNARY || spec->type == STERNA_TYPE_Q8) {
        m->group = spec->group;
        m->scale_type = spec->scale_type;
        size_t n = (size_t)spec->rows * (spec->group ? (size_t)((spec->cols - 1) / spec->group + 1) : 1);
        void *scale = memory(n, sizeof(float));
        for (size_t i = 0; i < n; i++)
            put_number(spec->scale_type, scale, i, state);
        m->scale = scale;
    }
    if (spec->bias) {
        float *bias = memory((size_t)spec->rows, sizeof *bias);
        for (int32_t n = 0; n < spec->rows; n++)
            bias[n] = case_uniform(state, 50.0f);
        m->bias = bias;
    }
}

/* ---- the case ---- */

static void expect(linear_case *c, sterna_input input)
{
    size_t n = (size_t)c->m.rows, k = (size_t)c->m.cols, n_scale = (size_t)c->n_scale;
    int8_t *codes = memory(k, 1);
    float *scales = memory(n_scale, sizeof *scales);
    c->want[input] = memory((size_t)c->n_tok * n, sizeof(float));
    memcpy(c->want[input], c->old, (size_t)c->n_tok * n * sizeof(float));
    for (size_t t = 0; t < (size_t)c->n_tok; t++) {
        model_row row = {
            .codes = c->codes + t * k, .scales = c->scales + t * n_scale, .act_group = c->act_group};
        if (input == STERNA_INPUT_F32)
            row.x = c->x + t * k;
        if (input == STERNA_INPUT_QUANTISE) {
            model_quantise(c->x + t * k, c->m.cols, c->act_group, codes, scales);
            row.codes = codes;
            row.scales = scales;
        }
        model_linear(&c->m, &row, c->accumulate, c->want[input] + t * n);
    }
    free(codes);
    free(scales);
}

linear_case linear_case_create(const linear_spec *spec, uint32_t seed)
{
    linear_case c = {.act_group = spec->act_group, .n_tok = spec->n_tok, .accumulate = spec->accumulate};
    uint32_t state = seed * 7919 + 1;
    make_matrix(&c.m, spec, &state);
    size_t rows = (size_t)spec->n_tok, k = (size_t)spec->cols, n = (size_t)spec->rows;
    c.n_scale = spec->act_group ? (spec->cols - 1) / spec->act_group + 1 : 1;
    c.x = memory(rows * k, sizeof *c.x);
    c.codes = memory(rows * k, 1);
    c.scales = memory(rows * (size_t)c.n_scale, sizeof *c.scales);
    c.old = memory(rows * n, sizeof *c.old);
    for (size_t i = 0; i < rows * k; i++) {
        c.x[i] = case_uniform(&state, i % 29 == 0 ? 40.0f : 1.0f);
        c.codes[i] = (int8_t)((int)(case_random(&state) % 255) - 127);
    }
    if (rows > 1)
        memset(c.x + k, 0, k * sizeof *c.x); /* a row of zeros: the quantiser's 1e-5 */
    for (size_t i = 0; i < rows * (size_t)c.n_scale; i++)
        c.scales[i] = case_uniform(&state, 0.1f);
    for (size_t i = 0; i < rows * n; i++)
        c.old[i] = case_uniform(&state, 300.0f);
    bool int8 = spec->type == STERNA_TYPE_TERNARY || spec->type == STERNA_TYPE_Q8;
    for (int input = 0; input < CASE_INPUTS; input++)
        if ((c.takes[input] = int8 || input == STERNA_INPUT_F32))
            expect(&c, (sterna_input)input);
    snprintf(c.name, sizeof c.name,
             "type %d, %d x %d by %d rows, group %d of type %d, act_group %d%s%s%s%s%s%s", (int)spec->type,
             spec->rows, spec->cols, spec->n_tok, spec->group, (int)spec->scale_type, spec->act_group,
             c.m.four_levels ? ", four levels" : "", spec->bias ? ", bias" : "",
             spec->accumulate ? ", accumulate" : "", spec->out_scale ? ", out_scale" : "",
             spec->outliers ? ", outliers" : "", spec->wide_rows ? ", wide rows" : "");
    return c;
}

void linear_case_free(linear_case *c)
{
    void *all[] = {(void *)(uintptr_t)c->m.data,
                   (void *)(uintptr_t)c->m.scale,
                   (void *)(uintptr_t)c->m.bias,
                   (void *)(uintptr_t)c->m.outlier_row,
                   (void *)(uintptr_t)c->m.outlier_col,
                   (void *)(uintptr_t)c->m.outlier_f16,
                   c->x,
                   c->codes,
                   c->scales,
                   c->old,
                   c->want[0],
                   c->want[1],
                   c->want[2]};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

/* ---- parameters ---- */

linear_spec linear_spec_of(int i)
{
    static const int32_t groups[] = {0, 32, 64, 128, 256};
    static const int32_t rows[] = {1, 2, 3, 7, 8, 13, 15, 16, 17, 31, 33, 48, 65, 127, 128, 129};
    static const int32_t cols[] = {1,   2,   3,   13,  15,  16,  17,  31,  32,  33,   64,   65,   127, 128,
                                   129, 191, 255, 256, 257, 384, 509, 511, 513, 1021, 1024, 1025, 2051};
    static const int32_t toks[] = {1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65}; /* decoding sees one or two most */
    static const sterna_matrix_type scales[] = {STERNA_TYPE_F32, STERNA_TYPE_F16, STERNA_TYPE_BF16};
    static const sterna_matrix_type types[] = {STERNA_TYPE_TERNARY, STERNA_TYPE_Q8,      STERNA_TYPE_TERNARY,
                                               STERNA_TYPE_F32,     STERNA_TYPE_TERNARY, STERNA_TYPE_Q8,
                                               STERNA_TYPE_F16,     STERNA_TYPE_TERNARY, STERNA_TYPE_BF16};
    uint32_t state = (uint32_t)i + 77, bits = 0;
    for (int j = 0; j < 3; j++)
        bits = case_random(&state);
    linear_spec s = {.type = types[i % 9],
                     .group = groups[i % 5],
                     .act_group = groups[i / 5 % 5],
                     .scale_type = STERNA_TYPE_F32,
                     .rows = rows[case_random(&state) % COUNT(rows)],
                     .cols = cols[case_random(&state) % COUNT(cols)],
                     .n_tok = toks[case_random(&state) % COUNT(toks)],
                     .four_levels = bits >> 8 & 1,
                     .bias = bits >> 9 & 1,
                     .accumulate = bits >> 10 & 1,
                     .out_scale = bits >> 11 & 1,
                     .outliers = bits >> 12 & 1,
                     .wide_rows = bits >> 13 & 1};
    if (s.group)
        s.scale_type = scales[case_random(&state) % COUNT(scales)];
    if (s.n_tok == 65 && s.rows > 33)
        s.rows = 17;
    return s;
}
