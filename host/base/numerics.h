/* The float contract: the only functions that touch floats between ops, besides + - * max and compare.
 *
 * Everything here is defined as a fixed sequence of f32 operations, each rounded to nearest even and never
 * contracted (the project compiles with -ffp-contract=off), so that a mirror of it in CUDA or GLSL gives the
 * same bits. Division and square root of per-row scalars are the correctly rounded IEEE operations. NaN
 * results are one canonical quiet NaN. */
#ifndef ST_NUMERICS_H
#define ST_NUMERICS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define ST_LANES     256 /* R of the lane sum in norms, softmax denominators, float linears, the normaliser */
#define ST_LANES_QK  16  /* R of the lane sum in q.k products */
#define ST_K_BLOCK   1024 /* columns per block in group-scaled linears: K may be split at these borders */
#define ST_KV_PAGE   64   /* positions per KV page */
#define ST_PARTITION 256  /* key positions per attention partition */
#define ST_QUANT_EPS 1e-5f

static inline uint32_t st_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float st_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* ---- conversions ---- */
static inline float st_bf16_to_f32(uint16_t h)
{
    return st_float((uint32_t)h << 16);
}
float st_f16_to_f32(uint16_t h); /* exact */
uint16_t st_f32_to_f16(float x); /* nearest even; overflow to infinity; any NaN becomes 0x7e00 */

/* ---- functions of elements ----
 * Errors are measured maxima over all floats of the range, against double. The constants are here for the
 * mirrors. */
#define ST_EXP_LOW      (-40.0f)
#define ST_EXP_HIGH     88.0f
#define ST_ROUND_MAGIC  12582912.0f /* 1.5 * 2^23: x + it - it is rint(x) for |x| <= 2^22 */
#define ST_EXP_LOG2E    1.44269504f
#define ST_EXP_LN2_HIGH 0.693359375f
#define ST_EXP_LN2_LOW  (-2.12194440e-4f)
#define ST_EXP_C6       1.3841358e-3f
#define ST_EXP_C5       8.36805627e-3f
#define ST_EXP_C4       4.16682065e-2f
#define ST_EXP_C3       0.166665226f
#define ST_EXP_C2       0.49999994f
#define ST_RECIP_START  UINT32_C(0x7ef311c7)
#define ST_RECIP_TWO    1.99999619f

/* Monotone; within 1.06 ulp. 0 below -40; x above 88 counts as 88; NaN becomes the canonical one. */
float st_exp(float x);
/* 1/x by three Newton steps, for normal x in [2^-100, 2^100]: monotone, within 0.998 ulp. */
float st_recip(float x);
/* Of these every 509th float was measured. */
float st_sigmoid(float x); /* r = recip(1 + exp(-|x|)); x >= 0 ? r : exp(-|x|) * r. 2.8 ulp from -40 on */
float st_tanh(float x);    /* e = exp(-2|x|); (1 - e) * recip(1 + e) with the sign of x. Absolute 2^-23 */
float st_silu(float x);    /* x * sigmoid(x). 3.3 ulp from -40 on */
float st_gelu(float x);    /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the "tanh" form. 1.3e-7 |x| */
float st_relu2(float x);   /* m = x <= 0 ? 0 : x (NaN stays); m * m */

/* The gate functions of feed-forward blocks, and the ways to pair dimensions for rotary positions. */
typedef enum st_act { ST_ACT_SILU, ST_ACT_RELU2, ST_ACT_GELU } st_act;
typedef enum st_pairing { ST_PAIR_HALF, ST_PAIR_ADJACENT } st_pairing; /* (i, i + n_rot/2) or (2i, 2i + 1) */
float st_activate(st_act act, float x);

/* The R-lane sum of n values: lane j adds elements j, j+R, j+2R, ... in ascending order from +0; then for
 * s = R/2, R/4 ... 1: lane[j] += lane[j+s]. R is ST_LANES or ST_LANES_QK. These folds end such a sum. */
float st_fold_lanes(float lane[ST_LANES]);                  /* destroys lane */
float st_fold_lanes_qk(float lane[ST_LANES_QK]);            /* destroys lane */
float st_sum_squares(const float *x, int64_t n);            /* R = 256, of x[i] * x[i] */
float st_dot_qk(const float *a, const float *b, int64_t n); /* R = 16, of a[i] * b[i] */

/* 1 / sqrt(mean of squares + eps): the factor of an RMS norm; y[i] = (x[i] * factor) * weight[i]. */
float st_rms_factor(const float *x, int64_t n, float eps);

/* Quantiser of one group: a = max(absmax, 1e-5); q = rint(x * (127 / a)), ties to even; scale = a / 127.
 * The maximum is taken over the bit patterns of |x|, so that a NaN (or infinity) wins, makes the scale NaN
 * (or infinite) and shows in every output instead of vanishing; codes that are not in [-127, 127] become 0.
 */
typedef struct st_quantised {
    float scale;
    int32_t sum; /* of the codes */
} st_quantised;
st_quantised st_quantise(const float *x, int64_t n, int8_t *code);

/* In place: for each block of `block` (a power of two) consecutive elements, the Sylvester-Walsh-Hadamard
 * transform by butterflies of growing stride (a, b) -> (a + b, a - b), then a multiplication by (float)(1 /
 * sqrt(block)). n is a multiple of block. */
void st_hadamard(float *x, int64_t n, int32_t block);

#endif
