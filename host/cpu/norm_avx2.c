#if defined(__AVX2__)
#include "host/cpu/avx2.h"

/* 64 of the 256 lanes at a time fit the registers; x stays in the first-level cache. */
float st_avx2_rms_factor(const float *x, int32_t n, float eps)
{
    float lane[ST_LANES];
    int32_t whole = n / 64 * 64;
    for (int32_t first = 0; first < ST_LANES; first += 64) {
        __m256 sum[8];
        for (int v = 0; v < 8; v++)
            sum[v] = _mm256_setzero_ps();
        for (int32_t i = first; i < whole; i += ST_LANES)
            for (int v = 0; v < 8; v++) {
                __m256 a = _mm256_loadu_ps(x + i + 8 * v);
                sum[v] = _mm256_add_ps(sum[v], _mm256_mul_ps(a, a));
            }
        for (int v = 0; v < 8; v++)
            _mm256_storeu_ps(lane + first + 8 * v, sum[v]);
    }
    for (int32_t i = whole; i < n; i++)
        lane[i % ST_LANES] += x[i] * x[i];
    float mean = st_avx2_fold(lane) / (float)n;
    return 1.0f / sqrtf(mean + eps);
}

void st_avx2_scale_row(const float *x, float factor, const float *w, int32_t n, float *y)
{
    const __m256 f = _mm256_set1_ps(factor);
    int32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i,
                         _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), f), _mm256_loadu_ps(w + i)));
    for (; i < n; i++)
        y[i] = x[i] * factor * w[i];
}

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_norm_args *a = args;
    int32_t from = st_cpu_source_row(cpu, a->rows, r), n = a->dim;
    if (from < 0)
        return;
    const float *x = (const float *)st_cpu_data(a->src) + (size_t)from * (size_t)n,
                *w = st_cpu_data(a->weight);
    float *dst = (float *)st_cpu_data(a->dst) + (size_t)r * (size_t)n;
    float factor = st_avx2_rms_factor(x, n, a->eps);
    if (!a->accumulate) {
        st_avx2_scale_row(x, factor, w, n, dst);
        return;
    }
    st_avx2_scale_row(x, factor, w, n, scratch);
    int32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_add_ps(_mm256_loadu_ps(dst + i), _mm256_loadu_ps(scratch + i)));
    for (; i < n; i++)
        dst[i] = dst[i] + scratch[i];
}

void st_cpu_norm_avx2(st_cpu *cpu, const void *args)
{
    const st_norm_args *a = args;
    st_cpu_rows(cpu, st_cpu_row_count(cpu, a->rows), a->dim, row, args);
}
#else
typedef int empty_translation_unit;
#endif
