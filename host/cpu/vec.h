/* Vectors of f32 in the widest registers that a file is compiled for: 16 lanes with AVX-512, 8 with AVX2 and
 * NEON. Kernels that are the same for all stand in <op>_vec.h and are written in these. Only for *_avx512.c,
 * *_avx2.c and *_neon.c.
 *
 * The functions of elements are those of host/base/numerics.c, the same operations in the same order: every
 * lane has the scalar function's bits. */
#ifndef ST_CPU_VEC_H
#define ST_CPU_VEC_H

#include "host/cpu/simd.h"

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 32")
#else
#define UNROLL
#endif

#if !ST_CPU_X86
#include "host/cpu/vec_neon.h"
#elif defined(__AVX512F__)
typedef __m512 vec;
typedef __m512i ivec;
typedef __mmask16 mask;

INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}
INLINE vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}
INLINE vec vec_load(const float *x)
{
    return _mm512_loadu_ps(x);
}
INLINE void vec_store(float *to, vec x)
{
    _mm512_storeu_ps(to, x);
}
INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
INLINE vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
} /* b if one is NaN */
INLINE vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
} /* b if one is NaN */
INLINE mask vec_is_nan(vec x)
{
    return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
}
INLINE mask vec_less(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
INLINE mask vec_at_most(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
INLINE mask vec_not_at_most(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ);
}
INLINE vec vec_select(mask m, vec yes, vec no)
{
    return _mm512_mask_mov_ps(no, m, yes);
}
INLINE vec vec_zero_if(mask m, vec x)
{
    return _mm512_maskz_mov_ps((mask)~m, x);
}
INLINE mask mask_or(mask a, mask b)
{
    return (mask)(a | b);
}
INLINE mask mask_none(void)
{
    return 0;
}
INLINE unsigned mask_bits(mask m)
{
    return m;
} /* bit i: lane i */

INLINE ivec vec_bits(vec x)
{
    return _mm512_castps_si512(x);
}
INLINE vec vec_of_bits(ivec x)
{
    return _mm512_castsi512_ps(x);
}
INLINE ivec ivec_zero(void)
{
    return _mm512_setzero_si512();
}
INLINE ivec ivec_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}
INLINE ivec ivec_load(const void *x)
{
    return _mm512_loadu_si512(x);
}
INLINE void ivec_store(void *to, ivec x)
{
    _mm512_storeu_si512(to, x);
}
INLINE ivec ivec_add(ivec a, ivec b)
{
    return _mm512_add_epi32(a, b);
}
INLINE ivec ivec_sub(ivec a, ivec b)
{
    return _mm512_sub_epi32(a, b);
}
INLINE ivec ivec_max(ivec a, ivec b)
{
    return _mm512_max_epi32(a, b);
}
INLINE ivec ivec_and(ivec a, ivec b)
{
    return _mm512_and_si512(a, b);
}
INLINE ivec ivec_or(ivec a, ivec b)
{
    return _mm512_or_si512(a, b);
}
INLINE ivec ivec_xor(ivec a, ivec b)
{
    return _mm512_xor_si512(a, b);
}
INLINE ivec ivec_left(ivec x, int n)
{
    return _mm512_slli_epi32(x, (unsigned)n);
}
INLINE ivec ivec_right(ivec x, int n)
{
    return _mm512_srli_epi32(x, (unsigned)n);
}
INLINE ivec ivec_right_signed(ivec x, int n)
{
    return _mm512_srai_epi32(x, (unsigned)n);
}
INLINE ivec ivec_right_each(ivec x, ivec n)
{
    return _mm512_srlv_epi32(x, n);
}
INLINE ivec ivec_lanes(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
INLINE mask ivec_greater(ivec a, ivec b)
{
    return _mm512_cmpgt_epi32_mask(a, b);
}
INLINE vec vec_of_ints(ivec x)
{
    return _mm512_cvtepi32_ps(x);
}
/* Nearest even; for |x| < 2^31. */
INLINE vec vec_round(vec x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE ivec ivec_of_whole(vec x)
{
    return _mm512_cvttps_epi32(x);
}
/* Element (index of the lane) mod 4 of a table of four. */
INLINE vec vec_pick4(vec table, ivec index)
{
    return _mm512_permutevar_ps(table, index);
}
INLINE vec vec_four(float a, float b, float c, float d)
{
    return _mm512_setr4_ps(a, b, c, d);
}

/* The first n (0 ... VEC) elements and zeros. */
INLINE vec vec_load_first(const float *x, int n)
{
    return _mm512_maskz_loadu_ps((mask)((1u << n) - 1), x);
}
INLINE void vec_store_first(float *to, vec x, int n)
{
    _mm512_mask_storeu_ps(to, (mask)((1u << n) - 1), x);
}
INLINE vec vec_load_f16(const uint16_t *x)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x));
}
INLINE vec vec_load_bf16(const uint16_t *x)
{
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)x);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
INLINE vec vec_set_f16(uint16_t x)
{
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)x));
}
INLINE vec vec_load_i8(const int8_t *x)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)x)));
}
/* st_f32_to_f16 */
INLINE void vec_store_f16(uint16_t *to, vec x)
{
    __m256i h = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    h = _mm256_mask_mov_epi16(h, vec_is_nan(x), _mm256_set1_epi16(0x7e00));
    _mm256_storeu_si256((__m256i *)(void *)to, h);
}
/* Of 2 VEC elements those of even and of odd index, and the way back. */
INLINE void vec_split(vec low, vec high, vec *even, vec *odd)
{
    const ivec first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(low, first, high);
    *odd = _mm512_permutex2var_ps(low, ivec_or(first, ivec_set(1)), high);
}
INLINE void vec_join(vec even, vec odd, vec *low, vec *high)
{
    const ivec first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *low = _mm512_permutex2var_ps(even, first, odd);
    *high = _mm512_permutex2var_ps(even, ivec_or(first, ivec_set(8)), odd);
}
/* The halves of a vector added: how the last levels of a fold begin. */
INLINE __m256 vec_fold_8(vec x)
{
    return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}
#else
typedef __m256 vec;
typedef __m256i ivec;
typedef __m256 mask;

INLINE vec vec_zero(void)
{
    return _mm256_setzero_ps();
}
INLINE vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}
INLINE vec vec_load(const float *x)
{
    return _mm256_loadu_ps(x);
}
INLINE void vec_store(float *to, vec x)
{
    _mm256_storeu_ps(to, x);
}
INLINE vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}
INLINE vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
} /* b if one is NaN */
INLINE vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
} /* b if one is NaN */
INLINE mask vec_is_nan(vec x)
{
    return _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
}
INLINE mask vec_less(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
INLINE mask vec_at_most(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
INLINE mask vec_not_at_most(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_NLE_UQ);
}
INLINE vec vec_select(mask m, vec yes, vec no)
{
    return _mm256_blendv_ps(no, yes, m);
}
INLINE vec vec_zero_if(mask m, vec x)
{
    return _mm256_andnot_ps(m, x);
}
INLINE mask mask_or(mask a, mask b)
{
    return _mm256_or_ps(a, b);
}
INLINE mask mask_none(void)
{
    return _mm256_setzero_ps();
}
INLINE unsigned mask_bits(mask m)
{
    return (unsigned)_mm256_movemask_ps(m);
} /* bit i: lane i */

INLINE ivec vec_bits(vec x)
{
    return _mm256_castps_si256(x);
}
INLINE vec vec_of_bits(ivec x)
{
    return _mm256_castsi256_ps(x);
}
INLINE ivec ivec_zero(void)
{
    return _mm256_setzero_si256();
}
INLINE ivec ivec_set(int32_t x)
{
    return _mm256_set1_epi32(x);
}
INLINE ivec ivec_load(const void *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}
INLINE void ivec_store(void *to, ivec x)
{
    _mm256_storeu_si256((__m256i *)to, x);
}
INLINE ivec ivec_add(ivec a, ivec b)
{
    return _mm256_add_epi32(a, b);
}
INLINE ivec ivec_sub(ivec a, ivec b)
{
    return _mm256_sub_epi32(a, b);
}
INLINE ivec ivec_max(ivec a, ivec b)
{
    return _mm256_max_epi32(a, b);
}
INLINE ivec ivec_and(ivec a, ivec b)
{
    return _mm256_and_si256(a, b);
}
INLINE ivec ivec_or(ivec a, ivec b)
{
    return _mm256_or_si256(a, b);
}
INLINE ivec ivec_xor(ivec a, ivec b)
{
    return _mm256_xor_si256(a, b);
}
INLINE ivec ivec_left(ivec x, int n)
{
    return _mm256_slli_epi32(x, n);
}
INLINE ivec ivec_right(ivec x, int n)
{
    return _mm256_srli_epi32(x, n);
}
INLINE ivec ivec_right_signed(ivec x, int n)
{
    return _mm256_srai_epi32(x, n);
}
INLINE ivec ivec_right_each(ivec x, ivec n)
{
    return _mm256_srlv_epi32(x, n);
}
INLINE ivec ivec_lanes(void)
{
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}
INLINE mask ivec_greater(ivec a, ivec b)
{
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
}
INLINE vec vec_of_ints(ivec x)
{
    return _mm256_cvtepi32_ps(x);
}
/* Nearest even; for |x| < 2^31. */
INLINE vec vec_round(vec x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE ivec ivec_of_whole(vec x)
{
    return _mm256_cvttps_epi32(x);
}
/* Element (index of the lane) mod 4 of a table of four. */
INLINE vec vec_pick4(vec table, ivec index)
{
    return _mm256_permutevar_ps(table, index);
}
INLINE vec vec_four(float a, float b, float c, float d)
{
    return _mm256_setr_ps(a, b, c, d, a, b, c, d);
}

/* The first n (0 ... VEC) elements and zeros. */
INLINE vec vec_load_first(const float *x, int n)
{
    return _mm256_maskload_ps(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), ivec_lanes()));
}
INLINE void vec_store_first(float *to, vec x, int n)
{
    _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), ivec_lanes()), x);
}
INLINE vec vec_load_f16(const uint16_t *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
}
INLINE vec vec_load_bf16(const uint16_t *x)
{
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)x);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
INLINE vec vec_set_f16(uint16_t x)
{
    return _mm256_cvtph_ps(_mm_set1_epi16((short)x));
}
INLINE vec vec_load_i8(const int8_t *x)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x)));
}
/* st_f32_to_f16 */
INLINE void vec_store_f16(uint16_t *to, vec x)
{
    __m128i h = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256i nan = _mm256_castps_si256(vec_is_nan(x));
    __m128i nan16 = _mm_packs_epi32(_mm256_castsi256_si128(nan), _mm256_extracti128_si256(nan, 1));
    _mm_storeu_si128((__m128i *)(void *)to, _mm_blendv_epi8(h, _mm_set1_epi16(0x7e00), nan16));
}
/* Of 2 VEC elements those of even and of odd index, and the way back. */
INLINE void vec_split(vec low, vec high, vec *even, vec *odd)
{
    vec x = _mm256_permute2f128_ps(low, high, 0x20), y = _mm256_permute2f128_ps(low, high, 0x31);
    *even = _mm256_shuffle_ps(x, y, 0x88);
    *odd = _mm256_shuffle_ps(x, y, 0xdd);
}
INLINE void vec_join(vec even, vec odd, vec *low, vec *high)
{
    vec x = _mm256_unpacklo_ps(even, odd), y = _mm256_unpackhi_ps(even, odd);
    *low = _mm256_permute2f128_ps(x, y, 0x20);
    *high = _mm256_permute2f128_ps(x, y, 0x31);
}
/* The halves of a vector added: how the last levels of a fold begin. */
INLINE __m256 vec_fold_8(vec x)
{
    return x;
}
#endif

enum { VEC = sizeof(vec) / sizeof(float), LANE_VECS = ST_LANES / VEC };

/* 16-bit elements x[0 ... n - 1], n < VEC, which nothing needs to follow in memory. */
INLINE vec vec_load_first_16(const uint16_t *x, int n, st_type type)
{
    uint16_t some[VEC] = {0};
    for (int i = 0; i < n; i++)
        some[i] = x[i];
    return type == ST_F16 ? vec_load_f16(some) : vec_load_bf16(some);
}

#if ST_CPU_X86
/* The last levels of st_fold_lanes and st_fold_lanes_qk: the lanes of one vector. */
INLINE float vec_sum(vec v)
{
    __m256 w = vec_fold_8(v);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
#endif

/* The largest lane; never NaN unless all are. */
INLINE float vec_largest(vec x)
{
    float each[VEC], most;
    vec_store(each, x);
    most = each[0];
    for (int i = 1; i < VEC; i++)
        most = each[i] > most ? each[i] : most;
    return most;
}

/* st_fold_lanes of lanes in memory, which stay as they are. */
INLINE float fold_lanes(const float lane[ST_LANES])
{
    vec v[LANE_VECS / 2];
    UNROLL for (int i = 0; i < LANE_VECS / 2; i++)
    {
        v[i] = vec_add(vec_load(lane + VEC * i), vec_load(lane + VEC * i + ST_LANES / 2));
    }
    UNROLL for (int s = LANE_VECS / 4; s > 0; s /= 2)
    {
        UNROLL for (int i = 0; i < s; i++)
        {
            v[i] = vec_add(v[i], v[i + s]);
        }
    }
    return vec_sum(v[0]);
}

INLINE vec vec_abs(vec x)
{
    return vec_of_bits(ivec_and(vec_bits(x), ivec_set(INT32_MAX)));
}

INLINE vec vec_negative(vec x)
{
    return vec_of_bits(ivec_xor(vec_bits(x), ivec_set(INT32_MIN)));
}

INLINE vec vec_exp(vec x)
{
    mask nan = vec_is_nan(x), low = vec_less(x, vec_set(ST_EXP_LOW));
    const vec magic = vec_set(ST_ROUND_MAGIC);
    x = vec_min(vec_set(ST_EXP_HIGH), x);
    vec shifted = vec_add(vec_mul(x, vec_set(ST_EXP_LOG2E)), magic);
    vec n = vec_sub(shifted, magic);
    vec r = vec_sub(x, vec_mul(n, vec_set(ST_EXP_LN2_HIGH)));
    r = vec_sub(r, vec_mul(n, vec_set(ST_EXP_LN2_LOW)));
    vec p = vec_set(ST_EXP_C6);
    p = vec_add(vec_mul(p, r), vec_set(ST_EXP_C5));
    p = vec_add(vec_mul(p, r), vec_set(ST_EXP_C4));
    p = vec_add(vec_mul(p, r), vec_set(ST_EXP_C3));
    p = vec_add(vec_mul(p, r), vec_set(ST_EXP_C2));
    p = vec_mul(p, r);
    p = vec_add(vec_mul(p, r), r);
    p = vec_add(p, vec_set(1.0f));
    ivec exponent = ivec_sub(vec_bits(shifted), vec_bits(magic));
    exponent = ivec_left(ivec_add(exponent, ivec_set(127)), 23);
    p = vec_zero_if(low, vec_mul(p, vec_of_bits(exponent)));
    return vec_select(nan, vec_of_bits(ivec_set(0x7fc00000)), p);
}

INLINE vec vec_recip(vec x)
{
    vec y = vec_of_bits(ivec_sub(ivec_set((int32_t)ST_RECIP_START), vec_bits(x)));
    y = vec_mul(y, vec_sub(vec_set(2.0f), vec_mul(x, y)));
    y = vec_mul(y, vec_sub(vec_set(ST_RECIP_TWO), vec_mul(x, y)));
    return vec_add(y, vec_mul(y, vec_sub(vec_set(1.0f), vec_mul(x, y))));
}

INLINE vec vec_silu(vec x)
{
    vec e = vec_exp(vec_of_bits(ivec_or(vec_bits(x), ivec_set(INT32_MIN)))); /* of -|x| */
    vec r = vec_recip(vec_add(vec_set(1.0f), e));
    return vec_mul(x, vec_select(vec_at_most(vec_zero(), x), r, vec_mul(e, r)));
}

INLINE vec vec_tanh(vec x)
{
    const vec one = vec_set(1.0f);
    vec e = vec_exp(vec_mul(vec_set(-2.0f), vec_abs(x)));
    vec t = vec_mul(vec_sub(one, e), vec_recip(vec_add(one, e)));
    return vec_select(vec_at_most(vec_zero(), x), t, vec_negative(t));
}

INLINE vec vec_gelu(vec x)
{
    vec cube = vec_mul(vec_mul(x, x), x);
    vec inner = vec_mul(vec_set(0.797884561f), vec_add(x, vec_mul(vec_set(0.044715f), cube)));
    return vec_mul(vec_mul(vec_set(0.5f), x), vec_add(vec_set(1.0f), vec_tanh(inner)));
}

INLINE vec vec_relu2(vec x)
{
    vec m = vec_zero_if(vec_at_most(x, vec_zero()), x);
    return vec_mul(m, m);
}

#endif
