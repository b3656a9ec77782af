/* The loops of norm_quant and glu_norm_quant for vectors of any width. */
#ifndef ST_CPU_NORM_QUANT_VEC_H
#define ST_CPU_NORM_QUANT_VEC_H

#include "host/cpu/norm_vec.h"

/* ---- rotation ---- */

/* x with partners of a butterfly of this stride (below VEC, a constant where this is inlined) exchanged. */
#if !ST_CPU_X86
INLINE vec partners(vec x, const int stride)
{
    switch (stride) {
    case 1:
        return EACH_1(vec, vrev64q_f32, x);
    case 2:
        return (vec){vextq_f32(x.low, x.low, 2), vextq_f32(x.high, x.high, 2)};
    default:
        return (vec){x.high, x.low};
    }
}
#elif defined(__AVX512F__)
INLINE vec partners(vec x, const int stride)
{
    switch (stride) {
    case 1:
        return _mm512_permute_ps(x, 0xb1);
    case 2:
        return _mm512_permute_ps(x, 0x4e);
    case 4:
        return _mm512_shuffle_f32x4(x, x, 0xb1);
    default:
        return _mm512_shuffle_f32x4(x, x, 0x4e);
    }
}
#else
INLINE vec partners(vec x, const int stride)
{
    switch (stride) {
    case 1:
        return _mm256_permute_ps(x, 0xb1);
    case 2:
        return _mm256_permute_ps(x, 0x4e);
    default:
        return _mm256_permute2f128_ps(x, x, 1);
    }
}
#endif

/* All butterflies within a register. */
INLINE vec butterflies(vec x)
{
    UNROLL for (int stride = 1; stride < VEC; stride *= 2)
    {
        vec other = partners(x, stride);
        mask second = ivec_greater(ivec_and(ivec_lanes(), ivec_set(stride)), ivec_zero());
        x = vec_select(second, vec_sub(other, x), vec_add(x, other));
    }
    return x;
}

static void hadamard(float *x, int64_t n, int32_t block)
{
    if (block < VEC) {
        st_hadamard(x, n, block);
        return;
    }
    const vec norm = vec_set((float)(1.0 / sqrt((double)block)));
    for (float *v = x; v < x + n; v += block) {
        for (int32_t i = 0; i < block; i += VEC) {
            vec a = butterflies(vec_load(v + i));
            vec_store(v + i, block == VEC ? vec_mul(a, norm) : a);
        }
        for (int32_t stride = VEC; stride < block; stride *= 2)
            for (int32_t base = 0; base < block; base += 2 * stride)
                for (int32_t i = base; i < base + stride; i += VEC) {
                    vec a = vec_load(v + i), b = vec_load(v + i + stride);
                    vec sum = vec_add(a, b), difference = vec_sub(a, b);
                    bool last = 2 * stride == block;
                    vec_store(v + i, last ? vec_mul(sum, norm) : sum);
                    vec_store(v + i + stride, last ? vec_mul(difference, norm) : difference);
                }
    }
}

/* ---- quantiser ---- */

/* Largest bit pattern of |x|, at least that of ST_QUANT_EPS: patterns of non-negative floats are ordered. */
static uint32_t largest(const float *x, int32_t n)
{
    const ivec magnitude = ivec_set(INT32_MAX);
    ivec most[4];
    int32_t i = 0;
    most[0] = most[1] = most[2] = most[3] = ivec_set((int32_t)st_bits(ST_QUANT_EPS));
    for (; i + 4 * VEC <= n; i += 4 * VEC) {
        UNROLL for (int v = 0; v < 4; v++)
        {
            most[v] = ivec_max(most[v], ivec_and(ivec_load(x + i + VEC * v), magnitude));
        }
    }
    for (; i < n; i += VEC)
        most[0] =
            ivec_max(most[0], ivec_and(vec_bits(vec_load_first(x + i, (int)st_min(VEC, n - i))), magnitude));
    uint32_t part[VEC], top = 0;
    ivec_store(part, ivec_max(ivec_max(most[0], most[1]), ivec_max(most[2], most[3])));
    for (int j = 0; j < VEC; j++)
        top = part[j] > top ? part[j] : top;
    return top;
}

/* Codes as i32; what is not in [-127, 127] becomes 0. */
INLINE ivec codes(vec x, vec factor)
{
    vec q = vec_round(vec_mul(x, factor));
    return ivec_of_whole(vec_select(vec_at_most(vec_abs(q), vec_set(127.0f)), q, vec_zero()));
}

#if !ST_CPU_X86
INLINE int8x8_t narrow(ivec x)
{
    return vmovn_s16(vcombine_s16(vmovn_s32(x.low), vmovn_s32(x.high)));
}

INLINE void store_codes(int8_t *to, ivec a, ivec b, ivec c, ivec d)
{
    vst1q_s8(to, vcombine_s8(narrow(a), narrow(b)));
    vst1q_s8(to + 16, vcombine_s8(narrow(c), narrow(d)));
}

INLINE int32x4_t half_sum_bytes(int32x4_t x)
{
    return vreinterpretq_s32_u64(vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_s32(x)))));
}

INLINE ivec sum_bytes(ivec unsigned_bytes)
{
    return EACH_1(ivec, half_sum_bytes, unsigned_bytes);
}

INLINE ivec spread_byte(char x)
{
    return ivec_set((int32_t)(0x01010101u * (unsigned char)x));
}
#elif defined(__AVX512F__)
INLINE void store_codes(int8_t *to, ivec a, ivec b, ivec c, ivec d)
{
    const ivec order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    ivec all = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    ivec_store(to, _mm512_permutexvar_epi32(order, all));
}

INLINE ivec sum_bytes(ivec unsigned_bytes)
{
    return _mm512_sad_epu8(unsigned_bytes, ivec_zero());
}

INLINE ivec spread_byte(char x)
{
    return _mm512_set1_epi8(x);
}
#else
INLINE void store_codes(int8_t *to, ivec a, ivec b, ivec c, ivec d)
{
    const ivec order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    ivec all = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    ivec_store(to, _mm256_permutevar8x32_epi32(all, order));
}

INLINE ivec sum_bytes(ivec unsigned_bytes)
{
    return _mm256_sad_epu8(unsigned_bytes, ivec_zero());
}

INLINE ivec spread_byte(char x)
{
    return _mm256_set1_epi8(x);
}
#endif

/* st_quantise without the sum. Returns the scale. */
static float quantise(const float *x, int32_t n, int8_t *code)
{
    float a = st_float(largest(x, n)), factor = 127.0f / a;
    const vec f = vec_set(factor);
    int32_t i = 0;
    for (; i + 4 * VEC <= n; i += 4 * VEC)
        store_codes(code + i, codes(vec_load(x + i), f), codes(vec_load(x + i + VEC), f),
                    codes(vec_load(x + i + 2 * VEC), f), codes(vec_load(x + i + 3 * VEC), f));
    for (; i < n; i++) {
        float q = rintf(x[i] * factor);
        code[i] = q >= -127.0f && q <= 127.0f ? (int8_t)q : 0;
    }
    return a / 127.0f;
}

/* 128 is added to each code to make it unsigned, since vpsadbw adds unsigned bytes. */
static int32_t sum_codes(const int8_t *code, int32_t n)
{
    ivec total =
        ivec_zero(); /* eight bytes each; sums stay far below 2^31, so that their upper halves are 0 */
    int32_t i = 0, sum = 0, part[VEC];
    for (; i + 4 * VEC <= n; i += 4 * VEC)
        total = ivec_add(total, sum_bytes(ivec_xor(ivec_load(code + i), spread_byte(-128))));
    ivec_store(part, total);
    for (int j = 0; j < VEC; j += 2)
        sum += part[j];
    sum -= 128 * i;
    for (; i < n; i++)
        sum += code[i];
    return sum;
}

/* ---- norm ---- */

static void normalise(const float *x, const float *weight, int32_t n, float eps, float *y)
{
    scale_row(x, rms_factor(x, n, eps), weight, n, y);
}

static const st_cpu_quant_loops quant_loops = {normalise, hadamard, quantise, sum_codes};

#endif
