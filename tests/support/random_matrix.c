#include "tests/support/random_matrix.h"

#include "host/base/numerics.h"
#include "tests/support/op_case.h"

#include <stdlib.h>
#include <string.h>

static void put(st_type type, void *to, size_t index, double value)
{
    float f = (float)value;
    uint32_t u = st_bits(f);
    if (type == ST_F32)
        ((float *)to)[index] = f;
    else if (type == ST_BF16)
        ((uint16_t *)to)[index] = (uint16_t)(u >> 16);
    else if (f == 0.0f)
        ((uint16_t *)to)[index] = (uint16_t)(u >> 16);
    else /* normal halves only: rebias the exponent from 127 to 15 */
        ((uint16_t *)to)[index] =
            (uint16_t)((u >> 16 & 0x8000) | (((u >> 23 & 0xff) - 112) << 10) | (u >> 13 & 0x3ff));
}

static double get(st_type type, const void *from, size_t index)
{
    if (type == ST_F32)
        return ((const float *)from)[index];
    uint16_t h = ((const uint16_t *)from)[index];
    if (type == ST_BF16)
        return st_float((uint32_t)h << 16);
    double magnitude = (h & 0x7c00) ? ldexp(1024 + (h & 0x3ff), (h >> 10 & 31) - 25) : ldexp(h & 0x3ff, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void fill_row(random_matrix *r, int32_t row, bool code3, uint32_t *state)
{
    unsigned char *data = r->data + (size_t)row * r->m.row_bytes;
    size_t used = st_row_bytes(r->m.type, r->m.cols);
    memset(data, 0xff, r->m.row_bytes);
    if (r->m.type == ST_TERNARY)
        memset(data, ST_TERNARY_ZERO_BYTE, used);
    for (int32_t k = 0; k < r->m.cols; k++) {
        uint32_t u = case_random(state);
        if (r->m.type == ST_TERNARY) {
            unsigned code = u % (code3 ? 4 : 3);
            data[k / 4] = (unsigned char)((data[k / 4] & ~(3u << (k % 4 * 2))) | code << (k % 4 * 2));
        } else if (r->m.type == ST_Q8) {
            ((int8_t *)data)[k] = (int8_t)((int)(u % 31) - 15);
        } else {
            put(r->m.type, data, (size_t)k, ((double)(u % 17) - 8) / 8);
        }
    }
}

random_matrix random_matrix_create(st_type type, int32_t rows, int32_t cols, int32_t group,
                                   st_type scale_type, bool code3, uint32_t seed)
{
    random_matrix r = {.m = {.type = type, .rows = rows, .cols = cols, .has_code3 = code3}};
    uint32_t state = seed;
    r.m.row_bytes = st_row_bytes(type, cols) + 16;
    r.data = malloc((size_t)rows * r.m.row_bytes);
    if (!r.data)
        abort();
    for (int32_t n = 0; n < rows; n++)
        fill_row(&r, n, code3, &state);
    r.m.data = r.data;
    if (type == ST_TERNARY || type == ST_Q8) {
        r.m.group = group;
        r.m.scale_type = scale_type;
        size_t n_scale = (size_t)rows * (size_t)st_matrix_groups(&r.m);
        r.scale = malloc(n_scale * sizeof(float));
        if (!r.scale)
            abort();
        for (size_t i = 0; i < n_scale; i++) {
            uint32_t u = case_random(&state);
            put(scale_type, r.scale, i, ldexp(u & 8 ? -1 : 1, (int)(u % 7) - 3));
        }
        r.m.scale = r.scale;
    }
    return r;
}

void random_matrix_free(random_matrix *r)
{
    free(r->data);
    free(r->scale);
    memset(r, 0, sizeof *r);
}

int random_matrix_integer(const random_matrix *r, int32_t row, int32_t col)
{
    const unsigned char *data = r->data + (size_t)row * r->m.row_bytes;
    return r->m.type == ST_Q8 ? ((const int8_t *)data)[col] : (data[col / 4] >> (col % 4 * 2) & 3) - 1;
}

double random_matrix_scale(const random_matrix *r, int32_t row, int32_t col)
{
    size_t groups = r->m.group ? (size_t)((r->m.cols + r->m.group - 1) / r->m.group) : 1;
    size_t at = (size_t)row * groups + (r->m.group ? (size_t)(col / r->m.group) : 0);
    return get(r->m.scale_type, r->scale, at);
}

double random_matrix_value(const random_matrix *r, int32_t row, int32_t col)
{
    if (r->m.type == ST_TERNARY || r->m.type == ST_Q8)
        return random_matrix_integer(r, row, col) * random_matrix_scale(r, row, col);
    return get(r->m.type, r->data + (size_t)row * r->m.row_bytes, (size_t)col);
}
