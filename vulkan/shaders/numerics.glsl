/* The float contract: mirror of host/base/numerics.{h,c}, same names, same bits.
 *
 * Every float operation stands in a variable that is `precise`, which keeps drivers from contracting mul and
 * add to fma and from reassociating. Shaders are compiled with -O0: spirv-opt unrolls loops, and its copies of
 * a body lose the NoContraction that `precise` becomes. Division and square root, which Vulkan allows to be off by 2.5
 * ulp, the conversions from and to f16 and the rounding of large integers are done in integers. NaN is
 * recognised by its bits: comparisons with itself may be folded. */
#ifndef ST_NUMERICS_GLSL
#define ST_NUMERICS_GLSL

#define ST_LANES     256 /* R of the lane sum in norms, softmax denominators, float linears, the normaliser */
#define ST_LANES_QK  16  /* R of the lane sum in q.k products */
#define ST_K_BLOCK   1024
#define ST_KV_PAGE   64
#define ST_PARTITION 256

#define ST_ACT_SILU  0
#define ST_ACT_RELU2 1
#define ST_ACT_GELU  2

const uint ST_NAN = 0x7fc00000u;
const uint ST_INF = 0x7f800000u;

bool st_is_nan(float x)
{
    return (floatBitsToUint(x) & 0x7fffffffu) > ST_INF;
}

/* ---- single operations, for callers whose operands are expressions ---- */
float st_add(float a, float b)
{
    precise float y = a + b;
    return y;
}

float st_sub(float a, float b)
{
    precise float y = a - b;
    return y;
}

float st_mul(float a, float b)
{
    precise float y = a * b;
    return y;
}

/* ---- conversions ---- */

/* Nearest even for every int; up to 2^24 float() is exact. */
float st_i32_to_f32(int i)
{
    uint magnitude = uint(abs(i));
    int excess = max(findMSB(magnitude) - 23, 0);
    magnitude += ((1u << excess) >> 1) - (excess > 0 ? 1u - (magnitude >> excess & 1u) : 0u);
    precise float y = float(magnitude >> excess << excess);
    return i < 0 ? -y : y;
}

float st_bf16_to_f32(uint h)
{
    return uintBitsToFloat(h << 16);
}

/* Without branches, as weights are converted in loops. A subnormal half gets the exponent 2^-14, whose 1.0 is
 * then taken away: exact, and no subnormal float on the way. */
float st_f16_to_f32(uint h)
{
    uint shifted = (h & 0x7fffu) << 13, raised = shifted + 0x38000000u;
    precise float small = uintBitsToFloat(raised + 0x00800000u) - 6.103515625e-5;
    uint magnitude = shifted < 0x00800000u ? floatBitsToUint(small) : raised;
    magnitude = shifted < 0x0f800000u ? magnitude : ST_INF;
    uint bits = (h & 0x8000u) << 16 | magnitude;
    return uintBitsToFloat(shifted > 0x0f800000u ? ST_NAN : bits);
}

uint st_f32_to_f16(float x)
{
    uint u = floatBitsToUint(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > ST_INF)
        return 0x7e00u;
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return sign | 0x7c00u;
    if (magnitude < 0x38800000u) { /* below 2^-14: subnormal, in units of 2^-24 */
        if (magnitude < 0x33000000u)
            return sign;
        uint shift = 126u - (magnitude >> 23); /* 14 ... 24 */
        uint full = (magnitude & 0x7fffffu) | 0x800000u;
        uint one_half = 1u << (shift - 1u), kept = full >> shift, rest = full & ((1u << shift) - 1u);
        kept += rest > one_half || (rest == one_half && (kept & 1u) != 0u) ? 1u : 0u;
        return sign | kept;
    }
    uint rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u); /* nearest even at bit 13 */
    return sign | (rounded - 0x38000000u) >> 13;
}

/* ---- correctly rounded division and square root of per-row scalars ---- */

/* Magnitude of a finite float != 0 as mantissa in [2^23, 2^24) times 2^(exponent - 150). */
void st_split(uint magnitude, out uint mantissa, out int exponent)
{
    exponent = int(magnitude >> 23);
    mantissa = magnitude & 0x7fffffu;
    if (exponent == 0) {
        int shift = 23 - findMSB(mantissa);
        mantissa <<= shift;
        exponent = 1 - shift;
    } else
        mantissa |= 0x800000u;
}

/* The float nearest to (mantissa + a rest in (0, 1) if `rest`) * 2^(exponent - 150), where `half_up` says
 * whether the rest is above one half; mantissa in [2^23, 2^24). A rest of exactly one half cannot occur. */
uint st_join(uint mantissa, bool rest, bool half_up, int exponent)
{
    if (exponent >= 1) /* a carry out of the mantissa raises the exponent */
        return min((uint(exponent) << 23) + (mantissa - 0x800000u) + (half_up ? 1u : 0u), ST_INF);
    int shift = 1 - exponent;
    if (shift > 24)
        return 0u;
    uint kept = mantissa >> shift, low = mantissa & ((1u << shift) - 1u), one_half = 1u << (shift - 1);
    return kept + (low > one_half || (low == one_half && (rest || (kept & 1u) != 0u)) ? 1u : 0u);
}

float st_div(float a, float b)
{
    uint ua = floatBitsToUint(a), ub = floatBitsToUint(b), sign = (ua ^ ub) & 0x80000000u;
    ua &= 0x7fffffffu;
    ub &= 0x7fffffffu;
    if (ua > ST_INF || ub > ST_INF || (ua == ST_INF && ub == ST_INF) || (ua == 0u && ub == 0u))
        return uintBitsToFloat(ST_NAN);
    if (ua == ST_INF || ub == 0u)
        return uintBitsToFloat(sign | ST_INF);
    if (ua == 0u || ub == ST_INF)
        return uintBitsToFloat(sign);
    uint ma, mb;
    int ea, eb;
    st_split(ua, ma, ea);
    st_split(ub, mb, eb);
    int exponent = ea - eb + 127;
    if (ma < mb) {
        ma <<= 1;
        exponent--;
    }
    /* 24 bits of ma / mb in [1, 2), 1 + 8 + 8 + 7 at a time: the remainder is below 2^24 */
    uint quotient = 1u, rest = ma - mb;
    for (int i = 0; i < 3; i++) {
        int bits = i < 2 ? 8 : 7;
        rest <<= bits;
        uint digit = rest / mb;
        rest -= digit * mb;
        quotient = quotient << bits | digit;
    }
    return uintBitsToFloat(sign | st_join(quotient, rest != 0u, 2u * rest > mb, exponent));
}

float st_sqrt(float x)
{
    uint u = floatBitsToUint(x);
    if (u == 0u || u == 0x80000000u || u == ST_INF)
        return x;
    if (u > ST_INF) /* NaN, or below 0 */
        return uintBitsToFloat(ST_NAN);
    uint mantissa;
    int exponent;
    st_split(u, mantissa, exponent);
    /* mantissa * 2^(exponent - 150) = square * 2^(2 e) with square = mantissa << 23 or 24: 24 digits */
    int even = exponent - 127;
    uint digits = (even & 1) != 0 ? mantissa << 1 : mantissa; /* square >> 23 */
    uint root = 0u, rest = 0u;
    for (int i = 0; i < 24; i++) {
        /* the two bits of the square that come next, from bit 47 down */
        int at = 46 - 2 * i - 23;
        uint two = at >= 0 ? digits >> at & 3u : at == -1 ? digits << 1 & 3u : 0u;
        rest = rest << 2 | two;
        uint trial = root << 2 | 1u;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1u;
        }
    }
    /* (root + 1/2)^2 = root^2 + root + 1/4 */
    return uintBitsToFloat(st_join(root, rest != 0u, rest > root, (even >> 1) + 127));
}

/* ---- functions of elements ---- */

float st_exp(float x)
{
    if (st_is_nan(x))
        return uintBitsToFloat(ST_NAN);
    if (x < -40.0)
        return 0.0;
    x = x > 88.0 ? 88.0 : x;
    precise float shifted = x * 1.44269504 + 12582912.0; /* 1.5 * 2^23 */
    precise float n = shifted - 12582912.0;
    precise float r = x - n * 0.693359375;
    r = r - n * -2.12194440e-4;
    precise float p = 1.3841358e-3;
    p = p * r + 8.36805627e-3;
    p = p * r + 4.16682065e-2;
    p = p * r + 0.166665226;
    p = p * r + 0.49999994;
    p = p * r;
    p = p * r + r;
    p = p + 1.0;
    uint exponent = floatBitsToUint(shifted) - 0x4b400000u; /* -58 ... 127 */
    p = p * uintBitsToFloat((exponent + 127u) << 23);
    return p;
}

float st_recip(float x)
{
    precise float y = uintBitsToFloat(0x7ef311c7u - floatBitsToUint(x));
    y = y * (2.0 - x * y);
    y = y * (1.99999619 - x * y);
    y = y + y * (1.0 - x * y);
    return y;
}

float st_sigmoid(float x)
{
    precise float e = st_exp(-abs(x));
    precise float r = st_recip(st_add(1.0, e));
    precise float low = e * r;
    return x >= 0.0 ? r : low;
}

float st_tanh(float x)
{
    precise float twice = -2.0 * abs(x);
    precise float e = st_exp(twice);
    precise float above = 1.0 - e;
    precise float below = 1.0 + e;
    precise float t = above * st_recip(below);
    return x >= 0.0 ? t : -t;
}

float st_silu(float x)
{
    precise float y = x * st_sigmoid(x);
    return y;
}

float st_gelu(float x)
{
    precise float cube = x * x * x;
    precise float inner = 0.797884561 * (x + 0.044715 * cube);
    precise float one = 1.0 + st_tanh(inner);
    precise float y = 0.5 * x * one;
    return y;
}

float st_relu2(float x)
{
    precise float m = !st_is_nan(x) && x <= 0.0 ? 0.0 : x;
    precise float y = m * m;
    return y;
}

float st_activate(uint act, float x)
{
    return act == ST_ACT_SILU ? st_silu(x) : act == ST_ACT_RELU2 ? st_relu2(x) : st_gelu(x);
}

/* ---- pieces of the norms and of the quantiser ---- */

/* 1 / sqrt(mean + eps) from the lane sum of squares of n values. */
float st_rms_factor(float sum_squares, uint n, float eps)
{
    precise float mean = st_div(sum_squares, float(n));
    return st_div(1.0, st_sqrt(st_add(mean, eps)));
}

/* The group's absmax as bits, the maximum being taken over bits (NaN wins). */
const uint ST_QUANT_EPS_BITS = 0x3727c5acu; /* 1e-5 */

float st_quant_factor(uint absmax_bits)
{
    return st_div(127.0, uintBitsToFloat(absmax_bits));
}

float st_quant_scale(uint absmax_bits)
{
    return st_div(uintBitsToFloat(absmax_bits), 127.0);
}

/* rint(x * factor), ties to even; codes outside of [-127, 127] become 0. */
int st_quant_code(float x, float factor)
{
    precise float q = x * factor;
    if ((floatBitsToUint(q) & 0x7fffffffu) >= 0x42ff0000u) /* 127.5, which rounds to 128, and NaN */
        return 0;
    precise float shifted = q + 12582912.0;
    return int(floatBitsToUint(shifted)) - 0x4b400000;
}

#endif
