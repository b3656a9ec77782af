#include "host/model/ternary_encode.h"

#include "host/base/numerics.h"

enum { TQ_BLOCK = 256, RUN = 128, Q8_BLOCK = 32 };

/* ---- codes ---- */

/* 128 codes -> 32 bytes with element l * 32 + m in bits 2 l of byte m, or counted from the top. */
static void put_run(const uint8_t *code, bool high_first, uint8_t *dst)
{
    for (int m = 0; m < 32; m++) {
        unsigned byte = 0;
        for (int l = 0; l < 4; l++)
            byte |= (unsigned)code[32 * l + m] << 2 * (high_first ? 3 - l : l);
        dst[m] = (uint8_t)byte;
    }
}

/* Five base-3 digits, the first most significant, as the byte ceil(256 q / 243). */
static uint8_t put_trits(const uint8_t *code, int count, int stride)
{
    unsigned q = 0;
    for (int n = 0; n < 5; n++)
        q = 3 * q + (n < count ? code[n * stride] : 0);
    return (uint8_t)((q * 256 + 242) / 243);
}

static void put_tq1_0(const uint8_t *code, uint8_t *dst)
{
    for (int m = 0; m < 32; m++)
        *dst++ = put_trits(code + m, 5, 32);
    for (int m = 0; m < 16; m++)
        *dst++ = put_trits(code + 160 + m, 5, 16);
    for (int m = 0; m < 4; m++)
        *dst++ = put_trits(code + 240 + m, 4, 4);
}

static void put_tq2_0(const uint8_t *code, uint8_t *dst)
{
    put_run(code, false, dst);
    put_run(code + RUN, false, dst + 32);
}

/* ---- whole matrices ---- */

static sterna_status encode_tq(const st_codes *c, bool tq1, uint8_t *dst, const char *name,
                               sterna_error *error)
{
    int32_t n_block = c->cols / TQ_BLOCK;
    size_t code_bytes = tq1 ? 52 : 64;
    for (int32_t row = 0; row < c->rows; row++) {
        for (int32_t b = 0; b < n_block; b++) {
            float scale = c->scale[c->group ? (size_t)row * (size_t)n_block + (size_t)b : (size_t)row];
            uint16_t half = st_f32_to_f16(scale);
            if (!isfinite(st_f16_to_f32(half)))
                return st_fail(error, STERNA_E_ARGUMENT, "tensor '%s': scale %g of row %d does not fit f16",
                               name, (double)scale, row);
            const uint8_t *code = c->code + (size_t)row * (size_t)c->cols + (size_t)b * TQ_BLOCK;
            (tq1 ? put_tq1_0 : put_tq2_0)(code, dst);
            memcpy(dst + code_bytes, &half, sizeof half);
            dst += code_bytes + sizeof half;
        }
    }
    return STERNA_OK;
}

static sterna_status encode_i2_s(const st_codes *c, uint8_t *dst, const char *name, sterna_error *error)
{
    size_t n = (size_t)c->rows * (size_t)c->cols;
    size_t n_scale = (size_t)c->rows * (c->group ? (size_t)st_ceil_div(c->cols, c->group) : 1);
    for (size_t i = 1; i < n_scale; i++)
        if (st_bits(c->scale[i]) != st_bits(c->scale[0]))
            return st_fail(
                error, STERNA_E_ARGUMENT,
                "tensor '%s': I2_S has one scale per tensor, but scale 0 is %g and scale %zu is %g", name,
                (double)c->scale[0], i, (double)c->scale[i]);
    if (!isfinite(c->scale[0]))
        return st_fail(error, STERNA_E_ARGUMENT, "tensor '%s': the scale is %g", name, (double)c->scale[0]);
    for (size_t i = 0; i < n; i += RUN, dst += RUN / 4)
        put_run(c->code + i, true, dst);
    memset(dst, 0, 32);
    memcpy(dst, c->scale, sizeof *c->scale);
    return STERNA_OK;
}

sterna_status st_ternary_encode(st_encoding encoding, const st_codes *codes, unsigned char *dst,
                                const char *name, sterna_error *error)
{
    const st_encoding_info *e = st_encoding_get(encoding);
    size_t n = (size_t)codes->rows * (size_t)codes->cols, bytes;
    if (!e->ternary)
        return st_fail(error, STERNA_E_ARGUMENT, "tensor '%s': %s is not a ternary encoding", name, e->name);
    if (!st_encoding_bytes(e, codes->cols, (int64_t)n, &bytes))
        return st_fail(error, STERNA_E_ARGUMENT,
                       "tensor '%s': %d rows of %d columns do not fill %s blocks of %u", name, codes->rows,
                       codes->cols, e->name, (unsigned)e->block);
    if (codes->group != 0 && codes->group != TQ_BLOCK)
        return st_fail(error, STERNA_E_ARGUMENT, "tensor '%s': scales of %d columns (allowed: 0 = row, %d)",
                       name, codes->group, TQ_BLOCK);
    unsigned highest = encoding == ST_ENC_TQ2_0 ? 3 : 2;
    for (size_t i = 0; i < n; i++)
        if (codes->code[i] > highest)
            return st_fail(error, STERNA_E_ARGUMENT,
                           "tensor '%s': code %u at element %zu, %s has codes up to %u", name, codes->code[i],
                           i, e->name, highest);
    if (encoding == ST_ENC_I2_S)
        return encode_i2_s(codes, dst, name, error);
    return encode_tq(codes, encoding == ST_ENC_TQ1_0, dst, name, error);
}

float st_ternarise(const float *x, int32_t n, uint8_t *code)
{
    float top = 0.0f;
    for (int32_t i = 0; i < n; i++)
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    float factor = top > 0.0f ? 1.0f / top : 0.0f;
    for (int32_t i = 0; i < n; i++) {
        float y = x[i] * factor;
        code[i] = (uint8_t)(1 + (y >= 0.5f) - (y <= -0.5f)); /* half away from zero, as lroundf */
    }
    return top;
}

void st_q8_0_encode(const float *x, int64_t n, unsigned char *dst)
{
    assert(n % Q8_BLOCK == 0);
    for (; n > 0; n -= Q8_BLOCK, x += Q8_BLOCK) {
        float top = 0.0f;
        for (int i = 0; i < Q8_BLOCK; i++)
            top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
        float scale = top / 127.0f, factor = scale > 0.0f ? 1.0f / scale : 0.0f;
        uint16_t half = st_f32_to_f16(scale);
        memcpy(dst, &half, sizeof half);
        dst += sizeof half;
        for (int i = 0; i < Q8_BLOCK; i++)
            *dst++ = (unsigned char)(int8_t)roundf(x[i] * factor);
    }
}
