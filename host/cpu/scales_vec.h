/* Scales of weights where cpu.h has them: beside tiles, and in blocks. */
#ifndef ST_CPU_SCALES_VEC_H
#define ST_CPU_SCALES_VEC_H

#include "host/cpu/vec.h"

#include <string.h>

/* Columns first ... first + VEC - 1 of a block of Q8, which holds them all. */
INLINE vec block_values(const unsigned char *block, size_t first)
{
    uint16_t scale;
    memcpy(&scale, block, sizeof scale);
    return vec_mul(vec_load_i8((const int8_t *)block + sizeof scale + first), vec_set_f16(scale));
}

/* Scales of rows VEC * part ... of a tile of 16. */
INLINE vec tile_scales(const st_cpu_weight *w, int32_t tile, int32_t group, int part)
{
    size_t at = ((size_t)tile * (size_t)w->n_group + (size_t)group) * ST_CPU_TILE + (size_t)(VEC * part);
    if (w->scale_type == ST_F32)
        return vec_load((const float *)w->scale + at);
    const uint16_t *stored = (const uint16_t *)w->scale + at;
    return w->scale_type == ST_F16 ? vec_load_f16(stored) : vec_load_bf16(stored);
}

#endif
