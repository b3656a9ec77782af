/* The vectors of linear_ternary.h for linear_neon.c and linear_neondot.c, which differ in the dot product:
 * pairs of registers, with the lanes of one of AVX2. */
#ifndef ST_CPU_LINEAR_NEON_H
#define ST_CPU_LINEAR_NEON_H

#include "host/cpu/simd.h"

/* 12 pairs of sums, 2 of codes, a broadcast and a mask: 32 registers are 16 pairs. Codes are multiplied as
 * signed bytes: 16 times a code is at most 48, 64 times one would be negative. */
#define ST_LINEAR_ROWS    6
#define ST_LINEAR_CLASSES 2

typedef struct vec {
    int32x4_t low, high;
} vec;
typedef struct real {
    float32x4_t low, high;
} real;

static inline vec vec_zero(void)
{
    return (vec){vdupq_n_s32(0), vdupq_n_s32(0)};
}

static inline vec vec_load(const void *x)
{
    const uint8_t *byte = x;
    return (vec){vreinterpretq_s32_u8(vld1q_u8(byte)), vreinterpretq_s32_u8(vld1q_u8(byte + 16))};
}

static inline void vec_store(void *to, vec x)
{
    uint8_t *byte = to;
    vst1q_u8(byte, vreinterpretq_u8_s32(x.low));
    vst1q_u8(byte + 16, vreinterpretq_u8_s32(x.high));
}

/* 4 bytes in every lane. */
static inline vec vec_spread(const void *x)
{
    int32_t word;
    memcpy(&word, x, sizeof word);
    return (vec){vdupq_n_s32(word), vdupq_n_s32(word)};
}

static inline vec vec_spread_byte(char x)
{
    int32x4_t bytes = vreinterpretq_s32_u8(vdupq_n_u8((uint8_t)x));
    return (vec){bytes, bytes};
}

static inline vec vec_and(vec a, vec b)
{
    return (vec){vandq_s32(a.low, b.low), vandq_s32(a.high, b.high)};
}

static inline vec vec_add(vec a, vec b)
{
    return (vec){vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)};
}

static inline vec vec_sub(vec a, vec b)
{
    return (vec){vsubq_s32(a.low, b.low), vsubq_s32(a.high, b.high)};
}

/* Of bits: a shift to the left by a negative number. */
static inline int32x4_t half_shift_right(int32x4_t x, int n)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), vdupq_n_s32(-n)));
}

static inline vec vec_shift_right(vec x, int n)
{
    return (vec){half_shift_right(x.low, n), half_shift_right(x.high, n)};
}

/* x / 2^n, which is exact. */
static inline vec vec_halve(vec x, int n)
{
    return (vec){vshlq_s32(x.low, vdupq_n_s32(-n)), vshlq_s32(x.high, vdupq_n_s32(-n))};
}

static inline int32x4_t half_dot(int32x4_t sum, int8x16_t code, int8x16_t act);

static inline vec vec_dot(vec sum, vec code, vec act)
{
    return (vec){
        half_dot(sum.low, vreinterpretq_s8_s32(code.low), vreinterpretq_s8_s32(act.low)),
        half_dot(sum.high, vreinterpretq_s8_s32(code.high), vreinterpretq_s8_s32(act.high)),
    };
}

static inline real real_zero(void)
{
    return (real){vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
}

static inline real real_load(const float *x)
{
    return (real){vld1q_f32(x), vld1q_f32(x + 4)};
}

static inline void real_store(float *to, real x)
{
    vst1q_f32(to, x.low);
    vst1q_f32(to + 4, x.high);
}

static inline real real_spread(float x)
{
    return (real){vdupq_n_f32(x), vdupq_n_f32(x)};
}

static inline real real_from(vec x)
{
    return (real){vcvtq_f32_s32(x.low), vcvtq_f32_s32(x.high)};
}

static inline real real_add(real a, real b)
{
    return (real){vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}

static inline real real_mul(real a, real b)
{
    return (real){vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}

static inline float32x4_t half_scales(const uint16_t *stored, st_type type)
{
    uint16x4_t half = vld1_u16(stored);
    return type == ST_F16 ? vcvt_f32_f16(vreinterpret_f16_u16(half))
                          : vreinterpretq_f32_u32(vshll_n_u16(half, 16));
}

/* Scales of half the rows of a tile. */
static inline real real_scales(const st_cpu_weight *w, int32_t tile, int32_t group, int part)
{
    size_t at = ((size_t)tile * (size_t)w->n_group + (size_t)group) * ST_CPU_TILE + 8 * (size_t)part;
    if (w->scale_type == ST_F32)
        return real_load((const float *)w->scale + at);
    const uint16_t *stored = (const uint16_t *)w->scale + at;
    return (real){half_scales(stored, w->scale_type), half_scales(stored + 4, w->scale_type)};
}

#include "host/cpu/linear_ternary.h"

#endif
