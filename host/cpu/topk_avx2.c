#if defined(__AVX2__)
#include "host/cpu/avx2.h"

/* Running maximum of eight positions; NaN is remembered apart. */
typedef struct top {
    __m256 max, nan;
} top;

static inline top top_start(void)
{
    return (top){_mm256_set1_ps(-INFINITY), _mm256_setzero_ps()};
}

static inline void top_add(top *t, __m256 x)
{
    t->max = _mm256_max_ps(x, t->max); /* of NaN and a number: the second */
    t->nan = _mm256_or_ps(t->nan, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

/* `rest`: logits of an incomplete eight at the end. */
static float top_end(const top *t, const float *rest, int32_t n)
{
    float each[8], max = -INFINITY;
    _mm256_storeu_ps(each, t->max);
    bool nan = _mm256_movemask_ps(t->nan) != 0;
    for (int i = 0; i < 8; i++)
        max = each[i] > max ? each[i] : max;
    for (int32_t i = 0; i < n; i++) {
        nan = nan || rest[i] != rest[i];
        max = rest[i] > max ? rest[i] : max;
    }
    return st_cpu_topk_max(nan ? (float)NAN : max);
}

/* Offers those of eight candidates that may be among the k largest. */
static inline void offer(st_cpu_topk_row *r, int32_t first, const float *adjusted)
{
    st_cpu_selection *s = &r->best;
    if (s->n == s->k) {
        __m256 least = _mm256_set1_ps(s->best[s->k - 1].value);
        if (_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(adjusted), least, _CMP_NLE_UQ)) == 0)
            return;
    }
    for (int32_t i = 0; i < 8; i++)
        st_cpu_select(s, (st_candidate){first + i, adjusted[i], r->logits[first + i]});
}

/* The 256 adjusted logits from `first` on: the logits themselves where nothing is adjusted. */
static inline const float *adjusted_block(const st_cpu_topk_row *r, int32_t first, int32_t n, int32_t *at,
                                          float *copy)
{
    if (*at == r->n_adjust || r->adjust[*at].token >= first + n)
        return r->logits + first;
    *at = st_cpu_adjusted_block(r, first, n, *at, copy);
    return copy;
}

static void select_row(st_cpu_topk_row *r)
{
    top raw = top_start(), changed = top_start();
    float copy[ST_LANES], rest[8];
    const float *block = NULL;
    int32_t n = 0, i = 0;
    for (int32_t first = 0, at = 0; first < r->n_vocab; first += ST_LANES) {
        n = (int32_t)st_min(ST_LANES, r->n_vocab - first);
        block = adjusted_block(r, first, n, &at, copy);
        for (i = 0; i + 8 <= n; i += 8) {
            top_add(&raw, _mm256_loadu_ps(r->logits + first + i));
            top_add(&changed, _mm256_loadu_ps(block + i));
            offer(r, first + i, block + i);
        }
    }
    int32_t whole = r->n_vocab / 8 * 8;
    for (int32_t j = whole; j < r->n_vocab; j++) {
        rest[j - whole] = block[i + j - whole];
        st_cpu_select(&r->best, (st_candidate){j, rest[j - whole], r->logits[j]});
    }
    r->stats->max = top_end(&raw, r->logits + whole, r->n_vocab - whole);
    r->stats->adjusted_max = top_end(&changed, rest, r->n_vocab - whole);
}

static inline void add_exp(const float *x, int32_t n, float max, float lane[ST_LANES])
{
    const __m256 m = _mm256_set1_ps(max);
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 e = st_avx2_exp(_mm256_sub_ps(_mm256_loadu_ps(x + i), m));
        _mm256_storeu_ps(lane + i, _mm256_add_ps(_mm256_loadu_ps(lane + i), e));
    }
    for (; i < n; i++)
        lane[i] += st_exp(x[i] - max);
}

static void normalise_row(st_cpu_topk_row *r)
{
    float lane[ST_LANES] = {0}, adjusted_lane[ST_LANES] = {0}, copy[ST_LANES];
    for (int32_t first = 0, at = 0; first < r->n_vocab; first += ST_LANES) {
        int32_t n = (int32_t)st_min(ST_LANES, r->n_vocab - first);
        add_exp(r->logits + first, n, r->stats->max, lane);
        if (r->n_adjust > 0)
            add_exp(adjusted_block(r, first, n, &at, copy), n, r->stats->adjusted_max, adjusted_lane);
    }
    r->stats->sum_exp = st_avx2_fold(lane);
    r->stats->adjusted_sum_exp = r->n_adjust > 0 ? st_avx2_fold(adjusted_lane) : r->stats->sum_exp;
}

static void row(const st_cpu *cpu, const void *args, int32_t i, float *scratch)
{
    (void)scratch;
    st_cpu_topk_row r;
    if (!st_cpu_topk_row_open(cpu, args, i, &r))
        return;
    select_row(&r);
    normalise_row(&r);
}

void st_cpu_topk_avx2(st_cpu *cpu, const void *args)
{
    const st_topk_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_out, 4 * (int64_t)a->n_vocab, row, args);
}
#else
typedef int empty_translation_unit;
#endif
