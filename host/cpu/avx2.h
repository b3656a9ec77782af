/* What the AVX2 and VNNI kernels of TERNARY weights share. Only for *_avx2.c and *vnni.c. */
#ifndef ST_CPU_AVX2_H
#define ST_CPU_AVX2_H

#include "host/cpu/simd.h"

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

#endif
