/* The vectors of vec.h with NEON: pairs of registers. A pair has the lanes of an AVX2 register, and there are
 * as many pairs as AVX2 has registers, so that kernels keep their shapes. */
#ifndef ST_CPU_VEC_NEON_H
#define ST_CPU_VEC_NEON_H

#include "host/cpu/simd.h"

typedef struct vec {
    float32x4_t low, high;
} vec;
typedef struct ivec {
    int32x4_t low, high;
} ivec;
typedef struct mask {
    uint32x4_t low, high; /* all bits of a lane, or none */
} mask;

/* fn of both halves. */
#define EACH_1(type, fn, a)                                                                                  \
    (type)                                                                                                   \
    {                                                                                                        \
        fn((a).low), fn((a).high)                                                                            \
    }
#define EACH_2(type, fn, a, b)                                                                               \
    (type)                                                                                                   \
    {                                                                                                        \
        fn((a).low, (b).low), fn((a).high, (b).high)                                                         \
    }

INLINE vec vec_zero(void)
{
    return (vec){vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
}
INLINE vec vec_set(float x)
{
    return (vec){vdupq_n_f32(x), vdupq_n_f32(x)};
}
INLINE vec vec_load(const float *x)
{
    return (vec){vld1q_f32(x), vld1q_f32(x + 4)};
}
INLINE void vec_store(float *to, vec x)
{
    vst1q_f32(to, x.low);
    vst1q_f32(to + 4, x.high);
}
INLINE vec vec_add(vec a, vec b)
{
    return EACH_2(vec, vaddq_f32, a, b);
}
INLINE vec vec_sub(vec a, vec b)
{
    return EACH_2(vec, vsubq_f32, a, b);
}
INLINE vec vec_mul(vec a, vec b)
{
    return EACH_2(vec, vmulq_f32, a, b);
}
INLINE mask vec_is_nan(vec x)
{
    return (mask){vmvnq_u32(vceqq_f32(x.low, x.low)), vmvnq_u32(vceqq_f32(x.high, x.high))};
}
INLINE mask vec_less(vec a, vec b)
{
    return EACH_2(mask, vcltq_f32, a, b);
}
INLINE mask vec_at_most(vec a, vec b)
{
    return EACH_2(mask, vcleq_f32, a, b);
}
INLINE mask vec_not_at_most(vec a, vec b)
{
    return (mask){vmvnq_u32(vcleq_f32(a.low, b.low)), vmvnq_u32(vcleq_f32(a.high, b.high))};
}
INLINE vec vec_select(mask m, vec yes, vec no)
{
    return (vec){vbslq_f32(m.low, yes.low, no.low), vbslq_f32(m.high, yes.high, no.high)};
}
INLINE vec vec_min(vec a, vec b)
{
    return vec_select(vec_less(a, b), a, b);
} /* b if one is NaN */
INLINE vec vec_max(vec a, vec b)
{
    return vec_select(vec_less(b, a), a, b);
} /* b if one is NaN */
INLINE mask mask_or(mask a, mask b)
{
    return EACH_2(mask, vorrq_u32, a, b);
}
INLINE mask mask_none(void)
{
    return (mask){vdupq_n_u32(0), vdupq_n_u32(0)};
}
INLINE unsigned mask_bits(mask m)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    uint32x4_t bits = vld1q_u32(bit);
    return vaddvq_u32(vandq_u32(m.low, bits)) | vaddvq_u32(vandq_u32(m.high, bits)) << 4;
} /* bit i: lane i */

INLINE ivec vec_bits(vec x)
{
    return EACH_1(ivec, vreinterpretq_s32_f32, x);
}
INLINE vec vec_of_bits(ivec x)
{
    return EACH_1(vec, vreinterpretq_f32_s32, x);
}
INLINE vec vec_zero_if(mask m, vec x)
{
    return (vec){vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x.low), m.low)),
                 vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x.high), m.high))};
}
INLINE ivec ivec_set(int32_t x)
{
    return (ivec){vdupq_n_s32(x), vdupq_n_s32(x)};
}
INLINE ivec ivec_zero(void)
{
    return ivec_set(0);
}
INLINE ivec ivec_load(const void *x)
{
    return (ivec){vreinterpretq_s32_u8(vld1q_u8(x)), vreinterpretq_s32_u8(vld1q_u8((const uint8_t *)x + 16))};
}
INLINE void ivec_store(void *to, ivec x)
{
    vst1q_u8(to, vreinterpretq_u8_s32(x.low));
    vst1q_u8((uint8_t *)to + 16, vreinterpretq_u8_s32(x.high));
}
INLINE ivec ivec_add(ivec a, ivec b)
{
    return EACH_2(ivec, vaddq_s32, a, b);
}
INLINE ivec ivec_sub(ivec a, ivec b)
{
    return EACH_2(ivec, vsubq_s32, a, b);
}
INLINE ivec ivec_max(ivec a, ivec b)
{
    return EACH_2(ivec, vmaxq_s32, a, b);
}
INLINE ivec ivec_and(ivec a, ivec b)
{
    return EACH_2(ivec, vandq_s32, a, b);
}
INLINE ivec ivec_or(ivec a, ivec b)
{
    return EACH_2(ivec, vorrq_s32, a, b);
}
INLINE ivec ivec_xor(ivec a, ivec b)
{
    return EACH_2(ivec, veorq_s32, a, b);
}
/* Shifts to the right are shifts to the left by a negative number. */
INLINE ivec ivec_left(ivec x, int n)
{
    return EACH_2(ivec, vshlq_s32, x, ivec_set(n));
}
INLINE ivec ivec_right_signed(ivec x, int n)
{
    return EACH_2(ivec, vshlq_s32, x, ivec_set(-n));
}
INLINE int32x4_t half_right(int32x4_t x, int32x4_t n)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), vnegq_s32(n)));
}
INLINE ivec ivec_right_each(ivec x, ivec n)
{
    return EACH_2(ivec, half_right, x, n);
}
INLINE ivec ivec_right(ivec x, int n)
{
    return ivec_right_each(x, ivec_set(n));
}
INLINE ivec ivec_lanes(void)
{
    static const int32_t lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    return ivec_load(lane);
}
INLINE mask ivec_greater(ivec a, ivec b)
{
    return EACH_2(mask, vcgtq_s32, a, b);
}
INLINE vec vec_of_ints(ivec x)
{
    return EACH_1(vec, vcvtq_f32_s32, x);
}
/* Nearest even. */
INLINE vec vec_round(vec x)
{
    return EACH_1(vec, vrndnq_f32, x);
}
INLINE ivec ivec_of_whole(vec x)
{
    return EACH_1(ivec, vcvtq_s32_f32, x);
}
/* Element (index of the lane) mod 4 of a table of four: bytes 4 i ... 4 i + 3 of its register. */
INLINE float32x4_t half_pick4(float32x4_t table, int32x4_t index)
{
    uint32x4_t i = vandq_u32(vreinterpretq_u32_s32(index), vdupq_n_u32(3));
    uint32x4_t at = vaddq_u32(vmulq_u32(i, vdupq_n_u32(0x04040404)), vdupq_n_u32(0x03020100));
    return vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(table), vreinterpretq_u8_u32(at)));
}
INLINE vec vec_pick4(vec table, ivec index)
{
    return EACH_2(vec, half_pick4, table, index);
}
INLINE vec vec_four(float a, float b, float c, float d)
{
    const float four[4] = {a, b, c, d};
    return (vec){vld1q_f32(four), vld1q_f32(four)};
}

/* The first n (0 ... VEC) elements and zeros. */
INLINE vec vec_load_first(const float *x, int n)
{
    float some[8] = {0};
    if (n == 8)
        return vec_load(x);
    for (int i = 0; i < n; i++)
        some[i] = x[i];
    return vec_load(some);
}
INLINE void vec_store_first(float *to, vec x, int n)
{
    float some[8];
    if (n == 8) {
        vec_store(to, x);
        return;
    }
    vec_store(some, x);
    for (int i = 0; i < n; i++)
        to[i] = some[i];
}
INLINE vec vec_load_f16(const uint16_t *x)
{
    return (vec){vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x))),
                 vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x + 4)))};
}
INLINE vec vec_load_bf16(const uint16_t *x)
{
    return (vec){vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x), 16)),
                 vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x + 4), 16))};
}
INLINE vec vec_set_f16(uint16_t x)
{
    float32x4_t four = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(x)));
    return (vec){four, four};
}
INLINE vec vec_load_i8(const int8_t *x)
{
    int16x8_t wide = vmovl_s8(vld1_s8(x));
    return (vec){vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvtq_f32_s32(vmovl_high_s16(wide))};
}
/* st_f32_to_f16 */
INLINE uint16x4_t half_to_f16(float32x4_t x)
{
    uint16x4_t number = vmovn_u32(vceqq_f32(x, x));
    return vbsl_u16(number, vreinterpret_u16_f16(vcvt_f16_f32(x)), vdup_n_u16(0x7e00));
}
INLINE void vec_store_f16(uint16_t *to, vec x)
{
    vst1_u16(to, half_to_f16(x.low));
    vst1_u16(to + 4, half_to_f16(x.high));
}
/* Of 2 VEC elements those of even and of odd index, and the way back. */
INLINE void vec_split(vec low, vec high, vec *even, vec *odd)
{
    *even = (vec){vuzp1q_f32(low.low, low.high), vuzp1q_f32(high.low, high.high)};
    *odd = (vec){vuzp2q_f32(low.low, low.high), vuzp2q_f32(high.low, high.high)};
}
INLINE void vec_join(vec even, vec odd, vec *low, vec *high)
{
    *low = (vec){vzip1q_f32(even.low, odd.low), vzip2q_f32(even.low, odd.low)};
    *high = (vec){vzip1q_f32(even.high, odd.high), vzip2q_f32(even.high, odd.high)};
}
/* The last levels of st_fold_lanes and st_fold_lanes_qk: the lanes of one vector. */
INLINE float vec_sum(vec v)
{
    float32x4_t four = vaddq_f32(v.low, v.high);
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

#endif
