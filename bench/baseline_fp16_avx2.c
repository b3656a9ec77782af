/* Products of FP16 weights with AVX2, fma and F16C. */
#include "bench/baseline.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

enum { WIDTH = 8, OUTS = 4 /* rows of W side by side */, TOKENS = 2 /* rows of x */ };

static __m256 half(const uint16_t *w)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w));
}

static float add_lanes(__m256 sum)
{
    __m128 low = _mm256_castps256_ps128(sum), high = _mm256_extractf128_ps(sum, 1);
    __m128 four = _mm_add_ps(low, high), two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* One row of x: OUTS rows of W, two sums for each. */
static void one_row(const uint16_t *w, const float *x, int32_t stride, float *y)
{
    __m256 sum[2 * OUTS];
    for (int i = 0; i < 2 * OUTS; i++)
        sum[i] = _mm256_setzero_ps();
    for (int32_t k = 0; k < stride; k += 2 * WIDTH)
        for (int i = 0; i < 2 * OUTS; i++) {
            int32_t at = k + i % 2 * WIDTH;
            sum[i] = _mm256_fmadd_ps(half(w + (size_t)(i / 2) * (size_t)stride + at), _mm256_loadu_ps(x + at),
                                     sum[i]);
        }
    for (int i = 0; i < OUTS; i++)
        y[i] = add_lanes(_mm256_add_ps(sum[2 * i], sum[2 * i + 1]));
}

/* n <= TOKENS rows of x, OUTS rows of converted W. */
static inline void block(const float *w, const float *x, int32_t stride, int n, float *y, int32_t stride_y)
{
    __m256 sum[TOKENS][OUTS];
    for (int t = 0; t < n; t++)
        for (int i = 0; i < OUTS; i++)
            sum[t][i] = _mm256_setzero_ps();
    for (int32_t k = 0; k < stride; k += WIDTH) {
        __m256 value[OUTS];
        for (int i = 0; i < OUTS; i++)
            value[i] = _mm256_loadu_ps(w + (size_t)i * (size_t)stride + k);
        for (int t = 0; t < n; t++) {
            __m256 input = _mm256_loadu_ps(x + (size_t)t * (size_t)stride + k);
            for (int i = 0; i < OUTS; i++)
                sum[t][i] = _mm256_fmadd_ps(value[i], input, sum[t][i]);
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
        _mm256_storeu_ps(scratch + i, half(w + i));
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
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const st_fp16_loops st_fp16_avx2 = {"avx2", supported, tile};
#else
const st_fp16_loops st_fp16_avx2 = {"avx2", NULL, NULL};
#endif
