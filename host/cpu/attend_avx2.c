/* attend: eight positions at a time for the scores (K is stored transposed), eight dimensions at a time for
 * the sums of values. */
#if defined(__AVX2__)
#include "host/cpu/avx2.h"

typedef struct part {
    float max, sum;
    float o[ST_MAX_HEAD_DIM];
} part;

/* st_dot_qk of the query with eight consecutive positions; key points to dimension 0 of the first. */
ST_AVX2_INLINE __m256 dot(const float *q, const uint16_t *key, int32_t head_dim)
{
    __m256 lane[ST_LANES_QK];
    for (int32_t j = 0; j < ST_LANES_QK; j++) {
        lane[j] = _mm256_setzero_ps();
        for (int32_t d = j; d < head_dim; d += ST_LANES_QK)
            lane[j] = _mm256_add_ps(
                lane[j], _mm256_mul_ps(_mm256_set1_ps(q[d]), st_avx2_load_f16(key + (size_t)d * ST_KV_PAGE)));
    }
    for (int s = ST_LANES_QK / 2; s > 0; s /= 2)
        for (int j = 0; j < s; j++)
            lane[j] = _mm256_add_ps(lane[j], lane[j + s]);
    return lane[0];
}

static const uint16_t *block(const st_attend_args *a, const st_cpu_view *v, int32_t position)
{
    return st_cpu_kv_block(&a->kv, v->table[position / ST_KV_PAGE], a->layer, v->kv_head);
}

/* Scores of positions [first, end), all of one partition, at their place in s; -infinity for the others of
 * the eights that these lie in, whose keys are never looked at as numbers. Returns the maximum. */
static float scores(const st_attend_args *a, const st_cpu_view *v, int32_t first, int32_t end,
                    float s[ST_PARTITION])
{
    const __m256 scale = _mm256_set1_ps(a->scale), hidden = _mm256_set1_ps(-INFINITY);
    const __m256 cap = _mm256_set1_ps(a->softcap), inverse = _mm256_set1_ps(1.0f / a->softcap);
    const __m256i step = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i before = _mm256_set1_epi32(first), after = _mm256_set1_epi32(end);
    __m256 max = hidden;
    for (int32_t j = first / 8 * 8; j < end; j += 8) {
        __m256 x = _mm256_mul_ps(dot(v->query, block(a, v, j) + j % ST_KV_PAGE, a->head_dim), scale);
        if (a->softcap > 0.0f)
            x = _mm256_mul_ps(cap, st_avx2_tanh(_mm256_mul_ps(x, inverse)));
        __m256i at = _mm256_add_epi32(_mm256_set1_epi32(j), step);
        __m256i visible = _mm256_andnot_si256(_mm256_cmpgt_epi32(before, at), _mm256_cmpgt_epi32(after, at));
        x = _mm256_blendv_ps(hidden, x, _mm256_castsi256_ps(visible));
        max = _mm256_max_ps(x, max);
        _mm256_storeu_ps(s + j % ST_PARTITION, x);
    }
    float each[8], most = -INFINITY;
    _mm256_storeu_ps(each, max);
    for (int i = 0; i < 8; i++)
        most = each[i] > most ? each[i] : most;
    return most;
}

/* o = sum of p[j] * v[j] for n_vector * 8 dimensions from d on (n_vector is a constant where this is
 * inlined). */
ST_AVX2_INLINE void values(const st_attend_args *a, const st_cpu_view *v, int32_t first, int32_t end,
                           const float *p, int32_t d, const int n_vector, float *o)
{
    size_t dim = (size_t)a->head_dim;
    __m256 sum[8];
    for (int i = 0; i < n_vector; i++)
        sum[i] = _mm256_setzero_ps();
    for (int32_t j = first; j < end;) {
        int32_t stop = (int32_t)st_min(end, (j / ST_KV_PAGE + 1) * ST_KV_PAGE);
        const uint16_t *value = block(a, v, j) + (size_t)(ST_KV_PAGE + j % ST_KV_PAGE) * dim + d;
        for (; j < stop; j++, value += dim) {
            __m256 weight = _mm256_set1_ps(p[j % ST_PARTITION]);
            for (int i = 0; i < n_vector; i++)
                sum[i] = _mm256_add_ps(sum[i], _mm256_mul_ps(weight, st_avx2_load_f16(value + 8 * i)));
        }
    }
    for (int i = 0; i < n_vector; i++)
        _mm256_storeu_ps(o + d + 8 * i, sum[i]);
}

static void all_values(const st_attend_args *a, const st_cpu_view *v, int32_t first, int32_t end,
                       const float *p, float *o)
{
    int32_t d = 0;
    for (; d + 64 <= a->head_dim; d += 64)
        values(a, v, first, end, p, d, 8, o);
    for (; d + 8 <= a->head_dim; d += 8)
        values(a, v, first, end, p, d, 1, o);
    for (; d < a->head_dim; d++) {
        o[d] = 0.0f;
        for (int32_t j = first; j < end; j++) {
            size_t row = (size_t)(ST_KV_PAGE + j % ST_KV_PAGE);
            o[d] = o[d] +
                   p[j % ST_PARTITION] * st_f16_to_f32(block(a, v, j)[row * (size_t)a->head_dim + (size_t)d]);
        }
    }
}

static void partition(const st_attend_args *a, const st_cpu_view *v, int32_t first, int32_t end, part *out)
{
    float p[ST_PARTITION] = {0};
    out->max = scores(a, v, first, end, p);
    const __m256 max = _mm256_set1_ps(out->max);
    for (int32_t j = first % ST_PARTITION / 8 * 8; j <= (end - 1) % ST_PARTITION; j += 8)
        _mm256_storeu_ps(p + j, st_avx2_exp(_mm256_sub_ps(_mm256_loadu_ps(p + j), max)));
    out->sum = st_avx2_fold(p);
    all_values(a, v, first, end, p, out->o);
}

static void merge(part *all, const part *next, int32_t head_dim)
{
    float max = next->max > all->max ? next->max : all->max;
    float a = st_exp(all->max - max), b = st_exp(next->max - max);
    all->max = max;
    all->sum = all->sum * a + next->sum * b;
    for (int32_t d = 0; d < head_dim; d++)
        all->o[d] = all->o[d] * a + next->o[d] * b;
}

static void head(const st_attend_args *a, const st_cpu_view *v)
{
    part all, next;
    for (int32_t j = v->first; j < v->end;) {
        int32_t end = (int32_t)st_min(v->end, (j / ST_PARTITION + 1) * ST_PARTITION);
        partition(a, v, j, end, j == v->first ? &all : &next);
        if (j != v->first)
            merge(&all, &next, a->head_dim);
        j = end;
    }
    float inverse = 1.0f / all.sum;
    for (int32_t d = 0; d < a->head_dim; d++)
        v->dst[d] = all.o[d] * inverse;
}

void st_cpu_attend_avx2(st_cpu *cpu, const void *args)
{
    st_cpu_attend_loop(cpu, args, head);
}
#else
typedef int empty_translation_unit;
#endif
