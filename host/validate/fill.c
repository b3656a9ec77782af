/* Contents of cases: random numbers and the fills of activations and weights. */
#include "host/validate/suite.h"

const char *const st_fill_names[ST_FILL_COUNT] = {"uniform",     "zero",   "plus", "minus",
                                                  "alternating", "single", "limit"};

uint32_t st_mix(int i, int salt)
{
    uint64_t x = ((uint64_t)(uint32_t)i << 8 | (uint32_t)salt) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(x >> 32);
}

/* splitmix64 */
uint64_t st_random(st_case *c)
{
    uint64_t x = c->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

int32_t st_random_below(st_case *c, int32_t n)
{
    return (int32_t)(st_random(c) % (uint64_t)n);
}

float st_random_real(st_case *c)
{
    return (float)(int32_t)(st_random(c) >> 40) * 0x1p-23f - 1.0f;
}

/* Element `col` of a row whose single non-zero element, for SINGLE, is `single`. */
static float element(st_case *c, st_fill fill, int64_t col, int64_t single)
{
    switch (fill) {
    case ST_FILL_ZERO:
        return col & 1 ? -0.0f : 0.0f;
    case ST_FILL_PLUS:
        return 3.0f;
    case ST_FILL_MINUS:
        return -3.0f;
    case ST_FILL_ALTERNATING:
        return col & 1 ? -1.5f : 1.5f; /* with one of 127: codes and ties */
    case ST_FILL_SINGLE:
        return col == single ? st_random_real(c) * 100.0f : 0.0f;
    case ST_FILL_LIMIT: /* magnitudes 2^-60 ... 2^50 */
        return st_random_real(c) * st_float((uint32_t)(67 + st_random_below(c, 111)) << 23);
    default:
        break;
    }
    return st_random_real(c) * 2.0f;
}

float *st_fill_floats(st_case *c, st_fill fill, int64_t rows, int64_t cols)
{
    float *x = st_case_alloc(c, (size_t)(rows * cols) * sizeof *x);
    for (int64_t r = 0; r < rows; r++) {
        int64_t single = st_random_below(c, (int32_t)cols);
        for (int64_t k = 0; k < cols; k++)
            x[r * cols + k] = element(c, fill, k, single);
    }
    return x;
}

int32_t *st_fill_signs(st_case *c, int32_t n)
{
    int32_t *bits = st_case_alloc(c, (size_t)n * sizeof *bits);
    for (int32_t i = 0; i < n; i++)
        bits[i] = (int32_t)st_bits(st_random(c) & 1 ? 1.0f : -1.0f);
    return bits;
}

/* -1 ... +1, or +2 where code 3 is allowed. */
static int ternary_value(st_case *c, st_fill fill, bool code3, int64_t row, int64_t col, int64_t single)
{
    int top = code3 ? 2 : 1;
    switch (fill) {
    case ST_FILL_ZERO:
        return 0;
    case ST_FILL_PLUS:
    case ST_FILL_MINUS:
        return row & 1 ? -1 : top;
    case ST_FILL_ALTERNATING:
        return (row + col) & 1 ? -1 : top;
    case ST_FILL_SINGLE:
        return col == single ? top : 0;
    case ST_FILL_LIMIT:
        return st_random(c) & 1 ? top : -1;
    default:
        break;
    }
    return st_random_below(c, 2 + top) - 1;
}

static void fill_ternary(st_case *c, st_fill fill, st_matrix *m, unsigned char *data)
{
    memset(data, ST_TERNARY_ZERO_BYTE, (size_t)m->rows * m->row_bytes);
    for (int64_t r = 0; r < m->rows; r++) {
        int64_t single = st_random_below(c, m->cols);
        for (int64_t k = 0; k < m->cols; k++) {
            int code = ternary_value(c, fill, m->has_code3, r, k, single) + 1;
            unsigned char *byte = &data[(size_t)r * m->row_bytes + (size_t)(k >> 2)];
            *byte = (unsigned char)((*byte & ~(3 << 2 * (k & 3))) | code << 2 * (k & 3));
        }
    }
}

/* A finite f16 or bf16 of moderate size, or (LIMIT) of any exponent. */
static uint16_t half(st_case *c, st_type type, st_fill fill, float x)
{
    if (type == ST_BF16)
        return (uint16_t)(st_bits(x) >> 16);
    if (fill == ST_FILL_LIMIT) {
        uint16_t any = (uint16_t)st_random(c);
        return (any & 0x7c00) == 0x7c00 ? (uint16_t)(any & 0x83ff) : any;
    }
    return st_f32_to_f16(x);
}

static void fill_dense(st_case *c, st_fill fill, const st_matrix *m, unsigned char *data)
{
    for (int64_t r = 0; r < m->rows; r++) {
        int64_t single = st_random_below(c, m->cols);
        for (int64_t k = 0; k < m->cols; k++) {
            size_t at = (size_t)(r * m->cols + k);
            float x = element(c, fill, k, single);
            if (m->type == ST_F32) {
                memcpy(data + 4 * at, &x, 4);
            } else if (m->type == ST_Q8) {
                float q =
                    fill == ST_FILL_UNIFORM || fill == ST_FILL_LIMIT ? st_random_real(c) * 128.0f : x * 42.0f;
                ((int8_t *)data)[at] = (int8_t)(q < -128.0f ? -128.0f : q > 127.0f ? 127.0f : q);
            } else {
                uint16_t h = half(c, m->type, fill, x);
                memcpy(data + 2 * at, &h, 2);
            }
        }
    }
}

static const void *fill_scales(st_case *c, st_fill fill, const st_matrix *m)
{
    size_t n = (size_t)m->rows * (size_t)st_matrix_groups(m);
    unsigned char *scale = st_case_alloc(c, n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        float x = 0.01f + fabsf(st_random_real(c));
        if (fill == ST_FILL_LIMIT)
            x = x * st_float((uint32_t)(107 + st_random_below(c, 41)) << 23); /* 2^-20 ... 2^20 */
        if (i % 7 == 3)
            x = -x; /* legal: some makers store negative scales */
        uint16_t h = m->scale_type == ST_F16 ? st_f32_to_f16(x) : (uint16_t)(st_bits(x) >> 16);
        if ((h & 0x7c00) == 0x7c00 && m->scale_type == ST_F16)
            h = 0x7bff;
        if (m->scale_type == ST_F32)
            memcpy(scale + 4 * i, &x, 4);
        else
            memcpy(scale + 2 * i, &h, 2);
    }
    return scale;
}

static void fill_outliers(st_case *c)
{
    int32_t max = (int32_t)st_min(40, (int64_t)c->n * c->k), count = 0;
    int32_t *row = st_case_alloc(c, (size_t)max * sizeof *row),
            *col = st_case_alloc(c, (size_t)max * sizeof *col);
    uint16_t *value = st_case_alloc(c, (size_t)max * sizeof *value);
    int64_t at = -1, step = (int64_t)c->n * c->k / max;
    for (; count < max; count++) { /* ascending, now and then several in a row */
        at += count % 3 == 0 ? 1 : 1 + st_random_below(c, (int32_t)st_max(1, st_min(step, 1 << 20)));
        if (at >= (int64_t)c->n * c->k)
            break;
        row[count] = (int32_t)(at / c->k);
        col[count] = (int32_t)(at % c->k);
        value[count] = st_f32_to_f16(st_random_real(c) * 50.0f);
    }
    c->outliers = (st_outliers){count, row, col, value};
}

/* The same Q8 matrix in blocks, at an odd address. */
static void to_blocks(st_case *c, st_matrix *m)
{
    st_matrix rows = *m;
    size_t n_block = (size_t)(m->cols / ST_BLOCK_COLS);
    unsigned char *to = (unsigned char *)st_case_alloc(c, 1 + (size_t)m->rows * n_block * ST_BLOCK_BYTES) + 1;
    m->blocks = true;
    m->row_bytes = n_block * ST_BLOCK_BYTES;
    m->data = to;
    m->scale = NULL;
    for (int32_t r = 0; r < m->rows; r++)
        for (int32_t k = 0; k < m->cols; k += ST_BLOCK_COLS, to += ST_BLOCK_BYTES) {
            memcpy(to, st_matrix_scale_at(&rows, r, k / ST_BLOCK_COLS), 2);
            memcpy(to + 2, st_matrix_q8(&rows, r, k), ST_BLOCK_COLS);
        }
}

void st_fill_weight(st_case *c, st_fill fill, const st_weight_spec *spec)
{
    int32_t first = spec->two_parts && c->n > 1 ? 1 + st_random_below(c, c->n - 1) : c->n;
    c->n_part = first < c->n ? 2 : 1;
    for (int i = 0; i < c->n_part; i++) {
        st_matrix *m = &c->part[i];
        *m = (st_matrix){.type = spec->type,
                         .scale_type = spec->group ? spec->scale_type : ST_F32,
                         .rows = i ? c->n - first : first,
                         .cols = c->k,
                         .group = spec->group,
                         .has_code3 = spec->code3,
                         .lasting = spec->lasting,
                         .row_bytes = st_row_bytes(spec->type, c->k)};
        unsigned char *data = st_case_alloc(c, (size_t)m->rows * m->row_bytes);
        m->data = data;
        if (spec->type == ST_TERNARY)
            fill_ternary(c, fill, m, data);
        else
            fill_dense(c, fill, m, data);
        if (spec->type == ST_TERNARY || spec->type == ST_Q8)
            m->scale = fill_scales(c, fill, m);
        if (spec->blocks && c->k % ST_BLOCK_COLS == 0)
            to_blocks(c, m);
    }
    c->bias = spec->bias ? st_fill_floats(c, ST_FILL_UNIFORM, 1, c->n) : NULL;
    c->out_scale = spec->out_scale ? 0.3f : 1.0f;
    if (spec->outliers)
        fill_outliers(c);
}

st_weight_spec st_pick_weight(int i, st_type type, st_type scale_type, int32_t *k)
{
    static const int32_t groups[] = {0, 128, 0, 32, 64, 0, 256};
    bool scaled = type == ST_TERNARY || type == ST_Q8, blocks = type == ST_Q8 && ST_ONE_IN(2, i, 46);
    if (blocks)
        *k = (int32_t)st_align_up((size_t)*k, ST_BLOCK_COLS);
    return (st_weight_spec){.type = type,
                            .scale_type = blocks ? ST_F16 : scale_type,
                            .group = blocks   ? ST_BLOCK_COLS
                                     : scaled ? ST_PICK(groups, i, 40)
                                              : 0,
                            .code3 = type == ST_TERNARY && ST_ONE_IN(4, i, 41),
                            .blocks = blocks,
                            .lasting = !ST_ONE_IN(3, i, 47),
                            .two_parts = ST_ONE_IN(4, i, 42),
                            .bias = ST_ONE_IN(3, i, 43),
                            .outliers = ST_ONE_IN(4, i, 44),
                            .out_scale = ST_ONE_IN(3, i, 45)};
}

/* The largest power of two up to `wanted` that divides k; 0 if that is 1. */
static int32_t block_of(int32_t k, int32_t wanted)
{
    int32_t block = 1;
    while (2 * block <= wanted && k % (2 * block) == 0)
        block *= 2;
    return block > 1 ? block : 0;
}

st_quant_spec st_pick_quant(int i, int32_t k)
{
    static const int32_t groups[][2] = {{0, 0},     {0, 128}, {32, 32},  {64, 64},  {0, 32},  {128, 128},
                                        {256, 256}, {0, 64},  {128, 32}, {256, 64}, {0, 256}, {64, 32}};
    static const int32_t blocks[] = {0, 0, 128, 0, 4096, 2, 0, 32, 512, 8, 16};
    int32_t block = block_of(k, ST_PICK(blocks, i, 51));
    return (st_quant_spec){.act_group = ST_PICK(groups, i, 50)[0],
                           .sum_group = ST_PICK(groups, i, 50)[1],
                           .block = block,
                           .sign = block && ST_ONE_IN(2, i, 52)};
}

static int8_t code_of(st_case *c, st_fill fill, int32_t col, int32_t single)
{
    switch (fill) {
    case ST_FILL_ZERO:
        return 0;
    case ST_FILL_PLUS:
        return 127;
    case ST_FILL_MINUS:
        return -127;
    case ST_FILL_ALTERNATING:
        return col & 1 ? -127 : 127;
    case ST_FILL_SINGLE:
        return col == single ? -127 : 0;
    case ST_FILL_LIMIT:
        return st_random(c) & 1 ? 127 : -127;
    default:
        break;
    }
    return (int8_t)(st_random_below(c, 255) - 127);
}

void *st_fill_qact(st_case *c, st_fill fill, const st_qact *q)
{
    st_qact_layout at = st_qact_planes(q);
    unsigned char *data = st_case_alloc(c, at.bytes);
    memset(data, 0, at.bytes);
    int32_t sum_group = q->sum_group ? q->sum_group : q->cols;
    for (int32_t r = 0; r < q->max_row; r++) {
        int8_t *code = (int8_t *)data + (size_t)r * at.stride;
        int32_t *sum = (int32_t *)(void *)(data + at.sum_offset) + (size_t)r * (size_t)at.n_sum;
        float *scale = (float *)(void *)(data + at.scale_offset) + (size_t)r * (size_t)at.n_scale;
        int32_t single = st_random_below(c, q->cols);
        for (int32_t k = 0; k < q->cols; k++) {
            code[k] = code_of(c, fill, k, single);
            sum[k / sum_group] += code[k];
        }
        for (int32_t i = 0; i < at.n_scale; i++)
            scale[i] = (0.001f + fabsf(st_random_real(c))) * (fill == ST_FILL_LIMIT ? 1e9f : 0.05f);
    }
    return data;
}
