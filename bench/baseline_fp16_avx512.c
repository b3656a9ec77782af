/* Products of FP16 weights with AVX-512 and fma. */
#include "bench/baseline.h"

#if defined(__AVX512F__) && defined(__FMA__)
#include <immintrin.h>

enum { WIDTH = 16, OUTS = 4 /* rows of W side by side */, TOKENS = 4 /* rows of x */ };

static __m512 half(const uint16_t *w)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)w));
}

static float add_lanes(__m512 sum)
{
    return _mm512_reduce_add_ps(sum);
}

/* One row of x: OUTS rows of W, two sums for each. */
static void one_row(const uint16_t *w, const float *x, int32_t stride, float *y)
{
    __m512 sum[2 * OUTS];
    for (int i = 0; i < 2 * OUTS; i++)
        sum[i] = _mm512_setzero_ps();
    for (int32_t k = 0; k < stride; k += 2 * WIDTH)
        for (int i = 0; i < 2 * OUTS; i++) {
            int32_t at = k + i % 2 * WIDTH;
            sum[i] = _mm512_fmadd_ps(half(w + (size_t)(i / 2) * (size_t)stride + at), _mm512_loadu_ps(x + at),
                                     sum[i]);
        }
    for (int i = 0; i < OUTS; i++)
        y[i] = add_lanes(_mm512_add_ps(sum[2 * i], sum[2 * i + 1]));
}

/* n <= TOKENS rows of x, OUTS rows of converted W. */
static inline void block(const float *w, const float *x, int32_t stride, int n, float *y, int32_t stride_y)
{
    __m512 sum[TOKENS][OUTS];
    for (int t = 0; t < n; t++)
        for (int i = 0; i < OUTS; i++)
            sum[t][i] = _mm512_setzero_ps();
    for (int32_t k = 0; k < stride; k += WIDTH) {
        __m512 value[OUTS];
        for (int i = 0; i < OUTS; i++)
            value[i] = _mm512_loadu_ps(w + (size_t)i * (size_t)stride + k);
        for (int t = 0; t < n; t++) {
            __m512 input = _mm512_loadu_ps(x + (size_t)t * (size_t)stride + k);
            for (int i = 0; i < OUTS; i++)
                sum[t][i] = _mm512_fmadd_ps(value[i], input, sum[t][i]);
        }
    }
    for (int t = 0; t < n; t++)
        for (int i = 0; i < OUTS; i++)
            y[(size_t)t * (size_t)stride_y + (size_t)i] = add_lanes(sum[t][i]);
}

static void tile(const uint16_t *w, const float *x, int32_t stride, int32_t rows, float *scratch, float *y,
                 int32_t stride_y)
{
    size_t s = (size_t)stride;
    for (int i = 0; i < ST_FP16_TILE && rows == 1; i += OUTS)
        one_row(w + (size_t)i * s, x, stride, y + i);
    if (rows == 1)
        return;
    for (size_t i = 0; i < ST_FP16_TILE * s; i += WIDTH)
        _mm512_storeu_ps(scratch + i, half(w + i));
    int32_t t = 0;
    for (; t + TOKENS <= rows; t += TOKENS)
        for (int i = 0; i < ST_FP16_TILE; i += OUTS)
            block(scratch + (size_t)i * s, x + (size_t)t * s, stride, TOKENS,
                  y + (size_t)t * (size_t)stride_y + i, stride_y);
    for (; t < rows; t++)
        for (int i = 0; i < ST_FP16_TILE; i += OUTS)
            block(scratch + (size_t)i * s, x + (size_t)t * s, stride, 1, y + (size_t)t * (size_t)stride_y + i,
                  stride_y);
}

static bool supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
}

const st_fp16_loops st_fp16_avx512 = {"avx512", supported, tile};
#else
const st_fp16_loops st_fp16_avx512 = {"avx512", NULL, NULL};
#endif
