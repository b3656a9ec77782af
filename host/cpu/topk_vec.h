/* topk for vectors of any width. */
#ifndef ST_CPU_TOPK_VEC_H
#define ST_CPU_TOPK_VEC_H

#include "host/cpu/vec.h"

#include <limits.h>

/* Running maximum; NaN is remembered apart. */
typedef struct top {
    vec max;
    mask nan;
} top;

INLINE top top_start(void)
{
    return (top){vec_set(-INFINITY), mask_none()};
}

INLINE void top_add(top *t, vec x)
{
    t->max = vec_max(x, t->max); /* of NaN and a number: the second */
    t->nan = mask_or(t->nan, vec_is_nan(x));
}

/* `rest`: logits of an incomplete vector at the end. */
static float top_end(const top *t, const float *rest, int32_t n)
{
    float max = vec_largest(t->max);
    bool nan = mask_bits(t->nan) != 0;
    for (int32_t i = 0; i < n; i++) {
        nan = nan || rest[i] != rest[i];
        max = rest[i] > max ? rest[i] : max;
    }
    return st_cpu_topk_max(nan ? (float)NAN : max);
}

/* Offers those of a vector of candidates that may be among the k largest. */
INLINE void offer(st_cpu_topk_row *r, int32_t first, const float *adjusted)
{
    st_cpu_selection *s = &r->best;
    unsigned may = UINT_MAX;
    if (s->n == s->k)
        may = mask_bits(vec_not_at_most(vec_load(adjusted), vec_set(s->best[s->k - 1].value)));
    if (may == 0)
        return;
    for (int32_t i = 0; i < VEC; i++)
        if (may >> i & 1)
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
    float copy[ST_LANES], rest[VEC];
    const float *block = NULL;
    int32_t n = 0, i = 0;
    for (int32_t first = 0, at = 0; first < r->n_vocab; first += ST_LANES) {
        n = (int32_t)st_min(ST_LANES, r->n_vocab - first);
        block = adjusted_block(r, first, n, &at, copy);
        for (i = 0; i + VEC <= n; i += VEC) {
            top_add(&raw, vec_load(r->logits + first + i));
            top_add(&changed, vec_load(block + i));
            offer(r, first + i, block + i);
        }
    }
    int32_t whole = r->n_vocab / VEC * VEC;
    for (int32_t j = whole; j < r->n_vocab; j++) {
        rest[j - whole] = block[i + j - whole];
        st_cpu_select(&r->best, (st_candidate){j, rest[j - whole], r->logits[j]});
    }
    r->stats->max = top_end(&raw, r->logits + whole, r->n_vocab - whole);
    r->stats->adjusted_max = top_end(&changed, rest, r->n_vocab - whole);
}

static inline void add_exp(const float *x, int32_t n, float max, float lane[ST_LANES])
{
    const vec m = vec_set(max);
    int32_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        vec e = vec_exp(vec_sub(vec_load(x + i), m));
        vec_store(lane + i, vec_add(vec_load(lane + i), e));
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
    r->stats->sum_exp = fold_lanes(lane);
    r->stats->adjusted_sum_exp = r->n_adjust > 0 ? fold_lanes(adjusted_lane) : r->stats->sum_exp;
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

static void run(st_cpu *cpu, const void *args)
{
    const st_topk_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_out, ST_CPU_WORK_TOPK * (int64_t)a->n_vocab, row, args);
}

#endif
