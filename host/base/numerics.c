#include "host/base/numerics.h"

#include <float.h>

#if FLT_EVAL_METHOD != 0
#error "the float contract needs f32 arithmetic without excess precision"
#endif

#define CANONICAL_NAN UINT32_C(0x7fc00000)

float st_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;
    if (exponent == 0x1f)
        return st_float(mantissa ? CANONICAL_NAN : sign | 0x7f800000);
    if (exponent == 0) { /* subnormal: mantissa * 2^-24, exact */
        float magnitude = (float)mantissa * 0x1p-24f;
        return st_float(sign | st_bits(magnitude));
    }
    return st_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t st_f32_to_f16(float x)
{
    uint32_t u = st_bits(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return 0x7e00;
    if (magnitude >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) {   /* below 2^-14: subnormal, in units of 2^-24 */
        if (magnitude < 0x33000000) /* below 2^-25: zero (2^-25 itself ties to even, zero, below) */
            return (uint16_t)sign;
        uint32_t shift = 126 - (magnitude >> 23); /* 14 ... 24 */
        uint32_t full = (magnitude & 0x7fffff) | 0x800000;
        uint32_t half = 1u << (shift - 1), kept = full >> shift, rest = full & ((1u << shift) - 1);
        kept += rest > half || (rest == half && (kept & 1));
        return (uint16_t)(sign | kept);
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1); /* nearest even at bit 13 */
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

/* exp(x) = 2^n * exp(r), n = rint(x / ln 2) by adding and subtracting 1.5 * 2^23, r = x - n ln 2 in two parts
 * (the first has 9 bits, so n times it is exact). exp(r) = 1 + (r + r * (r * q(r))): adding r and 1 last
 * keeps the error of q below the last bit and the result monotone; plain Horner ending in (p * r + 1) * r + 1
 * falls by one ulp at some 2,900 places. q is the polynomial of degree 4 with the least relative error in
 * exp. */
float st_exp(float x)
{
    if (x != x)
        return st_float(CANONICAL_NAN);
    if (x < ST_EXP_LOW)
        return 0.0f;
    x = x > ST_EXP_HIGH ? ST_EXP_HIGH : x;
    float shifted = x * ST_EXP_LOG2E + ST_ROUND_MAGIC;
    float n = shifted - ST_ROUND_MAGIC;
    float r = x - n * ST_EXP_LN2_HIGH;
    r = r - n * ST_EXP_LN2_LOW;
    float p = ST_EXP_C6;
    p = p * r + ST_EXP_C5;
    p = p * r + ST_EXP_C4;
    p = p * r + ST_EXP_C3;
    p = p * r + ST_EXP_C2;
    p = p * r;
    p = p * r + r;
    p = p + 1.0f;
    int32_t exponent = (int32_t)(st_bits(shifted) - st_bits(ST_ROUND_MAGIC)); /* -58 ... 127 */
    return p * st_float((uint32_t)(exponent + 127) << 23);
}

/* The start value is within 5.1 % for any normal x: the mantissa's reciprocal by straight lines, on the bits.
 * Each step squares the relative error. ST_RECIP_TWO is 2 - 2^-18, which leaves the second step just below
 * 1 / x, where x * y < 1 has one more bit; the third only adds the rest. */
float st_recip(float x)
{
    float y = st_float(ST_RECIP_START - st_bits(x));
    y = y * (2.0f - x * y);
    y = y * (ST_RECIP_TWO - x * y);
    return y + y * (1.0f - x * y);
}

float st_sigmoid(float x)
{
    float e = st_exp(-fabsf(x));
    float r = st_recip(1.0f + e);
    return x >= 0.0f ? r : e * r;
}

float st_tanh(float x)
{
    float e = st_exp(-2.0f * fabsf(x));
    float t = (1.0f - e) * st_recip(1.0f + e);
    return x >= 0.0f ? t : -t;
}

float st_silu(float x)
{
    return x * st_sigmoid(x);
}

float st_gelu(float x)
{
    float cube = x * x * x;
    float inner = 0.797884561f * (x + 0.044715f * cube);
    return 0.5f * x * (1.0f + st_tanh(inner));
}

float st_relu2(float x)
{
    float m = x <= 0.0f ? 0.0f : x;
    return m * m;
}

float st_activate(st_act act, float x)
{
    switch (act) {
    case ST_ACT_SILU:
        return st_silu(x);
    case ST_ACT_RELU2:
        return st_relu2(x);
    case ST_ACT_GELU:
        break;
    }
    return st_gelu(x);
}

float st_fold_lanes(float lane[ST_LANES])
{
    for (int s = ST_LANES / 2; s > 0; s /= 2)
        for (int j = 0; j < s; j++)
            lane[j] += lane[j + s];
    return lane[0];
}

float st_fold_lanes_qk(float lane[ST_LANES_QK])
{
    for (int s = ST_LANES_QK / 2; s > 0; s /= 2)
        for (int j = 0; j < s; j++)
            lane[j] += lane[j + s];
    return lane[0];
}

float st_sum_squares(const float *x, int64_t n)
{
    float lane[ST_LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        lane[i % ST_LANES] += x[i] * x[i];
    return st_fold_lanes(lane);
}

float st_dot_qk(const float *a, const float *b, int64_t n)
{
    float lane[ST_LANES_QK] = {0};
    for (int64_t i = 0; i < n; i++)
        lane[i % ST_LANES_QK] += a[i] * b[i];
    return st_fold_lanes_qk(lane);
}

float st_rms_factor(const float *x, int64_t n, float eps)
{
    float mean = st_sum_squares(x, n) / (float)n;
    return 1.0f / sqrtf(mean + eps);
}

st_quantised st_quantise(const float *x, int64_t n, int8_t *code)
{
    uint32_t top = st_bits(ST_QUANT_EPS);
    for (int64_t i = 0; i < n; i++) {
        uint32_t magnitude = st_bits(x[i]) & 0x7fffffff;
        top = magnitude > top ? magnitude : top;
    }
    float a = st_float(top), factor = 127.0f / a;
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) { /* not rintf: compilers make vectors of this */
        float q = x[i] * factor + ST_ROUND_MAGIC - ST_ROUND_MAGIC;
        int32_t c = (int32_t)(q >= -127.0f && q <= 127.0f ? q : 0.0f);
        code[i] = (int8_t)c;
        sum += c;
    }
    return (st_quantised){.scale = a / 127.0f, .sum = sum};
}

void st_hadamard(float *x, int64_t n, int32_t block)
{
    float norm = (float)(1.0 / sqrt((double)block));
    for (int64_t base = 0; base < n; base += block) {
        float *v = x + base;
        for (int32_t stride = 1; stride < block; stride *= 2)
            for (int32_t i = 0; i < block; i++)
                if (!(i & stride)) {
                    float a = v[i], b = v[i + stride];
                    v[i] = a + b;
                    v[i + stride] = a - b;
                }
        for (int32_t i = 0; i < block; i++)
            v[i] *= norm;
    }
}
