/* linear: Q8 x int8. |w| is unsigned and the activation takes the sign of w, so that vpmaddubsw applies: a
 * pair is at most 2 * 128 * 127 < 2^15. */
#if defined(__AVX2__)
#include "host/cpu/avx2.h"

/* Sum of n products (rounded up to 32, where both sides are padded with zeros, or n is a multiple). */
static inline int32_t dot(const int8_t *w, const int8_t *q, int32_t n)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (int32_t k = 0; k < n; k += 32) {
        __m256i a = st_avx2_load(w + k), b = st_avx2_load(q + k);
        __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}

static float output(const st_cpu_linear *l, int32_t r, int32_t t)
{
    const st_cpu_weight *w = l->weight;
    const int8_t *row = (const int8_t *)w->data + (size_t)r * w->row_bytes;
    const int8_t *q = l->q.code + (size_t)t * l->q.stride;
    const float *scale_a = l->q.scale + (size_t)t * (size_t)l->q.n_scale;
    if (l->n_segment == 1)
        return (float)dot(row, q, w->base.cols) * (st_cpu_weight_scale(w, r, 0) * scale_a[0]);
    float y = 0.0f, block = 0.0f;
    for (int32_t s = 0; s < l->n_segment; s++) {
        int32_t from = s * l->segment, n = (int32_t)st_min(l->segment, w->base.cols - from);
        float scale = st_cpu_weight_scale(w, r, s / l->per_weight) * scale_a[s / l->per_act];
        block = block + (float)dot(row + from, q + from, n) * scale;
        if ((from + l->segment) % ST_K_BLOCK == 0 || s + 1 == l->n_segment) {
            y = y + block;
            block = 0.0f;
        }
    }
    return y;
}

static void rows(void *context, int64_t first, int64_t count)
{
    const st_cpu_linear *l = context;
    for (int32_t r = (int32_t)first; r < first + count; r++)
        for (int32_t t = 0; t < l->n_row; t++) {
            float y = output(l, r, t);
            st_cpu_linear_store(l, t, r, 1, &y);
        }
}

bool st_cpu_linear_q8_avx2_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    const st_linear_args *a = args;
    return a->quant && a->weight->type == ST_Q8;
}

void st_cpu_linear_q8_avx2(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    st_cpu_linear_loop(cpu, &l, l.weight->base.rows, rows, &l);
}
#else
typedef int empty_translation_unit;
#endif
