/* Mirrors of host/base/numerics.c on eight floats, and what else the AVX2 variants share. The same operations
 * in the same order as there: every lane has the scalar function's bits. Only for *_avx2.c. */
#ifndef ST_CPU_AVX2_H
#define ST_CPU_AVX2_H

#include "host/cpu/cpu.h"

#include <immintrin.h>

/* For functions whose loops must be unrolled by constant arguments, or their sums go through memory. */
#if defined(__GNUC__)
#define ST_AVX2_INLINE static inline __attribute__((always_inline))
#else
#define ST_AVX2_INLINE static inline
#endif

static inline __m256 st_avx2_exp(__m256 x)
{
    __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(ST_EXP_LOW), _CMP_LT_OQ);
    const __m256 magic = _mm256_set1_ps(ST_EXP_MAGIC), one = _mm256_set1_ps(1.0f);
    x = _mm256_min_ps(_mm256_set1_ps(ST_EXP_HIGH), x);
    __m256 shifted = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(ST_EXP_LOG2E)), magic);
    __m256 n = _mm256_sub_ps(shifted, magic);
    __m256 r = _mm256_sub_ps(x, _mm256_mul_ps(n, _mm256_set1_ps(ST_EXP_LN2_HIGH)));
    r = _mm256_sub_ps(r, _mm256_mul_ps(n, _mm256_set1_ps(ST_EXP_LN2_LOW)));
    __m256 p = _mm256_set1_ps(ST_EXP_C6);
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(ST_EXP_C5));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(ST_EXP_C4));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(ST_EXP_C3));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(ST_EXP_C2));
    p = _mm256_mul_ps(p, r);
    p = _mm256_add_ps(_mm256_mul_ps(p, r), r);
    p = _mm256_add_ps(p, one);
    __m256i exponent = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_castps_si256(magic));
    exponent = _mm256_slli_epi32(_mm256_add_epi32(exponent, _mm256_set1_epi32(127)), 23);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(exponent));
    p = _mm256_andnot_ps(low, p);
    return _mm256_blendv_ps(p, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)), nan);
}

static inline __m256 st_avx2_recip(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 y = _mm256_castsi256_ps(
        _mm256_sub_epi32(_mm256_set1_epi32((int32_t)ST_RECIP_START), _mm256_castps_si256(x)));
    y = _mm256_mul_ps(y, _mm256_sub_ps(_mm256_set1_ps(2.0f), _mm256_mul_ps(x, y)));
    y = _mm256_mul_ps(y, _mm256_sub_ps(_mm256_set1_ps(ST_RECIP_TWO), _mm256_mul_ps(x, y)));
    return _mm256_add_ps(y, _mm256_mul_ps(y, _mm256_sub_ps(one, _mm256_mul_ps(x, y))));
}

static inline __m256 st_avx2_abs(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

static inline __m256 st_avx2_not_negative(__m256 x)
{
    return _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ);
}

static inline __m256 st_avx2_silu(__m256 x)
{
    __m256 e = st_avx2_exp(_mm256_or_ps(_mm256_set1_ps(-0.0f), x)); /* of -|x| */
    __m256 r = st_avx2_recip(_mm256_add_ps(_mm256_set1_ps(1.0f), e));
    return _mm256_mul_ps(x, _mm256_blendv_ps(_mm256_mul_ps(e, r), r, st_avx2_not_negative(x)));
}

static inline __m256 st_avx2_tanh(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 e = st_avx2_exp(_mm256_mul_ps(_mm256_set1_ps(-2.0f), st_avx2_abs(x)));
    __m256 t = _mm256_mul_ps(_mm256_sub_ps(one, e), st_avx2_recip(_mm256_add_ps(one, e)));
    return _mm256_blendv_ps(_mm256_xor_ps(t, _mm256_set1_ps(-0.0f)), t, st_avx2_not_negative(x));
}

static inline __m256 st_avx2_gelu(__m256 x)
{
    __m256 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), x);
    __m256 inner = _mm256_add_ps(x, _mm256_mul_ps(_mm256_set1_ps(0.044715f), cube));
    inner = _mm256_mul_ps(_mm256_set1_ps(0.797884561f), inner);
    __m256 t = _mm256_add_ps(_mm256_set1_ps(1.0f), st_avx2_tanh(inner));
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(0.5f), x), t);
}

static inline __m256 st_avx2_relu2(__m256 x)
{
    __m256 m = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LE_OQ), x);
    return _mm256_mul_ps(m, m);
}

/* Eight f16 as f32. */
static inline __m256 st_avx2_load_f16(const uint16_t *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
}

static inline __m256 st_avx2_load_bf16(const uint16_t *x)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* st_fold_lanes that leaves the lanes as they are. */
static inline float st_avx2_fold(const float lane[ST_LANES])
{
    __m256 v[16];
    for (int i = 0; i < 16; i++)
        v[i] = _mm256_add_ps(_mm256_loadu_ps(lane + 8 * i), _mm256_loadu_ps(lane + 8 * i + 128));
    for (int s = 8; s > 0; s /= 2)
        for (int i = 0; i < s; i++)
            v[i] = _mm256_add_ps(v[i], v[i + s]);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v[0]), _mm256_extractf128_ps(v[0], 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* Scales of rows 8 half ... 8 half + 7 of a tile. */
static inline __m256 st_avx2_scales(const st_cpu_weight *w, int32_t tile, int32_t group, int half)
{
    size_t at = ((size_t)tile * (size_t)w->n_group + (size_t)group) * ST_CPU_TILE + 8 * (size_t)half;
    if (w->scale_type == ST_F32)
        return _mm256_loadu_ps((const float *)w->scale + at);
    const uint16_t *stored = (const uint16_t *)w->scale + at;
    return w->scale_type == ST_F16 ? st_avx2_load_f16(stored) : st_avx2_load_bf16(stored);
}

static inline __m256i st_avx2_load(const void *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

/* st_rms_factor (norm_avx2.c). */
float st_avx2_rms_factor(const float *x, int32_t n, float eps);
/* y = (x * factor) * w; y may be x. */
void st_avx2_scale_row(const float *x, float factor, const float *w, int32_t n, float *y);

#endif
