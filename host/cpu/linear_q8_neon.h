/* What linear_q8_neon.c and linear_q8_neondot.c share; they define half_dot. Both factors are signed. */
#ifndef ST_CPU_LINEAR_Q8_NEON_H
#define ST_CPU_LINEAR_Q8_NEON_H

#include "host/cpu/vec.h"

static inline int32x4_t half_dot(int32x4_t sum, int8x16_t w, int8x16_t act);

INLINE ivec weights(ivec w)
{
    return w;
}

INLINE ivec dot(ivec sum, ivec w, ivec same, ivec act)
{
    (void)same;
    return (ivec){
        half_dot(sum.low, vreinterpretq_s8_s32(w.low), vreinterpretq_s8_s32(act.low)),
        half_dot(sum.high, vreinterpretq_s8_s32(w.high), vreinterpretq_s8_s32(act.high)),
    };
}

INLINE ivec plain_sum(ivec isum, int32_t sum)
{
    (void)sum;
    return isum;
}

#include "host/cpu/linear_q8_vec.h"

#endif
