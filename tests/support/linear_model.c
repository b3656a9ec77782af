#include "tests/support/linear_model.h"

#include <math.h>
#include <string.h>

float model_half(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31)
        magnitude = fraction ? (double)NAN : (double)INFINITY;
    return (float)(h >> 15 ? -magnitude : magnitude);
}

float model_bfloat(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float number(sterna_matrix_type type, const void *data, size_t index)
{
    if (type == STERNA_TYPE_F32)
        return ((const float *)data)[index];
    uint16_t h = ((const uint16_t *)data)[index];
    return type == STERNA_TYPE_F16 ? model_half(h) : model_bfloat(h);
}

/* ---- quantiser ---- */

static uint32_t magnitude(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffff;
}

static float quantise_group(const float *x, int32_t n, int8_t *codes)
{
    float a = 1e-5f;
    for (int32_t k = 0; k < n; k++)
        if (magnitude(x[k]) > magnitude(a))
            a = fabsf(x[k]);
    volatile float f = 127.0f / a;
    for (int32_t k = 0; k < n; k++) {
        volatile float product = x[k] * f;
        double q = rint((double)product); /* ties to even */
        codes[k] = q >= -127 && q <= 127 ? (int8_t)q : 0;
    }
    return a / 127.0f;
}

void model_quantise(const float *x, int32_t cols, int32_t act_group, int8_t *codes, float *scales)
{
    int32_t group = act_group ? act_group : cols;
    for (int32_t k = 0; k < cols; k += group)
        scales[k / group] = quantise_group(x + k, cols - k < group ? cols - k : group, codes + k);
}

/* ---- linear ---- */

static size_t row_bytes(const sterna_matrix *m)
{
    if (m->row_bytes)
        return m->row_bytes;
    switch (m->type) {
    case STERNA_TYPE_TERNARY:
        return ((size_t)m->cols + 63) / 64 * 16;
    case STERNA_TYPE_Q8:
        return (size_t)m->cols;
    case STERNA_TYPE_F32:
        return (size_t)m->cols * 4;
    default:
        return (size_t)m->cols * 2;
    }
}

static const void *row_of(const sterna_matrix *m, int32_t n)
{
    return (const unsigned char *)m->data + (size_t)n * row_bytes(m);
}

static int integer(const sterna_matrix *m, int32_t n, int32_t k)
{
    if (m->type == STERNA_TYPE_Q8)
        return ((const int8_t *)row_of(m, n))[k];
    return (((const unsigned char *)row_of(m, n))[k / 4] >> 2 * (k % 4) & 3) - 1;
}

static float scale_of(const sterna_matrix *m, int32_t n, int32_t k)
{
    int32_t per_row = m->group ? (m->cols + m->group - 1) / m->group : 1;
    return number(m->scale_type, m->scale,
                  (size_t)n * (size_t)per_row + (size_t)(m->group ? k / m->group : 0));
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static float act_scale(const model_row *row, int32_t k)
{
    return row->scales[row->act_group ? k / row->act_group : 0];
}

static float int8_product(const sterna_matrix *m, const model_row *row, int32_t n)
{
    int32_t group = m->group ? m->group : m->cols, act_group = row->act_group ? row->act_group : m->cols;
    int32_t segment = least(least(group, act_group), m->cols);
    volatile float y = 0, block = 0;
    for (int32_t k = 0; k < m->cols; k += segment) {
        int64_t isum = 0;
        for (int32_t i = k; i < least(k + segment, m->cols); i++)
            isum += integer(m, n, i) * row->codes[i];
        volatile float scale = scale_of(m, n, k) * act_scale(row, k), t = (float)isum;
        t = t * scale;
        if (segment == m->cols)
            return t;
        if (k > 0 && k % 1024 == 0) { /* a new block begins */
            y = y + block;
            block = 0;
        }
        block = block + t;
    }
    return y + block;
}

static float f32_product(const sterna_matrix *m, const float *x, int32_t n)
{
    volatile float lane[256] = {0};
    for (int32_t k = 0; k < m->cols; k++) {
        volatile float value;
        if (m->type == STERNA_TYPE_TERNARY || m->type == STERNA_TYPE_Q8)
            value = (float)integer(m, n, k) * scale_of(m, n, k);
        else
            value = number(m->type, row_of(m, n), (size_t)k);
        volatile float p = value * x[k];
        lane[k % 256] = lane[k % 256] + p;
    }
    for (int s = 128; s >= 1; s /= 2)
        for (int j = 0; j < s; j++)
            lane[j] = lane[j] + lane[j + s];
    return lane[0];
}

void model_linear(const sterna_matrix *m, const model_row *row, bool accumulate, float *y)
{
    for (int32_t n = 0; n < m->rows; n++) {
        volatile float v = row->x ? f32_product(m, row->x, n) : int8_product(m, row, n);
        if (m->out_scale != 1)
            v = v * m->out_scale;
        if (m->bias)
            v = v + m->bias[n];
        if (accumulate)
            v = v + y[n];
        for (int32_t i = 0; i < m->n_outlier; i++) {
            int32_t k = m->outlier_col[i];
            if (m->outlier_row[i] != n)
                continue;
            volatile float o = model_half(m->outlier_f16[i]);
            o = row->x ? o * row->x[k] : o * (float)row->codes[k];
            if (!row->x)
                o = o * act_scale(row, k);
            v = v + o;
        }
        y[n] = v;
    }
}
