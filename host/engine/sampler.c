#include "host/engine/sampler.h"

#include <math.h>
#include <string.h>

/* ---- weights ---- */

/* exp(x) for x <= 0, 0 below -708; relative error below 2^-51. */
static inline double exp_down(double x)
{
    double kept = x > -708.0 ? x : -708.0;
    double shifted = kept * 0x1.71547652b82fep0 + 0x1.8p52; /* log2 e; the integer is in the last bits */
    double n = shifted - 0x1.8p52;
    double r = (kept - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33; /* ln 2 in two parts */
    double p = 1.0 / 479001600.0;                                        /* Taylor, |r| <= ln 2 / 2 */
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return x > -708.0 ? p * power : 0.0;
}

/* Of a value relative to a larger one; `rate` is 1 / temperature. */
static inline double weight(float value, float top, double rate)
{
    return exp_down(((double)value - (double)top) * rate);
}

/* ---- tokens in order, as many as are asked for ----
 * The order is by ascending distance of (top - value) from `center`, ties by rank; with center 0 it is the
 * rank. `c` has three parts: the beginning is in order; then comes a heap of those within `reach`, its root
 * at the end, so that what is taken from it ends up where the ordered part ends; then the others, as they
 * came.
 */
typedef struct ranking {
    st_candidate *c; /* [n_all] */
    int32_t n_ordered, n_near, n_all;
    float top;
    double center, reach;
} ranking;

static ranking unordered(st_candidate *c, int32_t n, float top, double center)
{
    return (ranking){.c = c, .n_all = n, .top = top, .center = center};
}

static inline double distance(const ranking *r, const st_candidate *c)
{
    return fabs(((double)r->top - (double)c->value) - r->center);
}

static bool precedes(const ranking *r, const st_candidate *a, const st_candidate *b)
{
    double x = distance(r, a), y = distance(r, b);
    if (x != y)
        return x < y;
    return a->value != b->value ? a->value > b->value : a->token < b->token;
}

static void swap(st_candidate *a, st_candidate *b)
{
    st_candidate t = *a;
    *a = *b;
    *b = t;
}

/* Node i of the heap is root[-i]. */
static void sift_down(const ranking *r, int32_t n, int32_t at)
{
    st_candidate *root = &r->c[r->n_near - 1], moved = root[-at];
    for (int32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && precedes(r, &root[-child - 1], &root[-child]))
            child++;
        if (!precedes(r, &root[-child], &moved))
            break;
        root[-at] = root[-child];
    }
    root[-at] = moved;
}

/* A new heap, when the old one is used up, of the tokens within the next reach. Few tokens of 128 k are
 * within 4 of the best, and those behind them are rarely asked for. */
static void widen(ranking *r)
{
    r->reach = r->reach == 0.0 ? 4.0 : r->reach < 64.0 ? 2.0 * r->reach : (double)INFINITY;
    for (int32_t i = r->n_near; i < r->n_all; i++)
        if (!(distance(r, &r->c[i]) > r->reach))
            swap(&r->c[i], &r->c[r->n_near++]);
    int32_t n = r->n_near - r->n_ordered;
    for (int32_t i = n / 2; i-- > 0;)
        sift_down(r, n, i);
}

/* Puts the first n in order; false if there are not as many. */
static bool order(ranking *r, int32_t n)
{
    if (n > r->n_all)
        return false;
    while (r->n_ordered < n) {
        if (r->n_ordered == r->n_near) {
            widen(r);
            continue;
        }
        swap(&r->c[r->n_ordered++], &r->c[r->n_near - 1]);
        sift_down(r, r->n_near - r->n_ordered, 0);
    }
    return true;
}

/* ---- the chain ---- */

static bool limits_count(const st_sampling *s, int32_t n_vocab)
{
    return s->top_k > 0 && s->top_k < n_vocab;
}

static bool filters(const st_sampling *s, int32_t n_vocab)
{
    return limits_count(s, n_vocab) || s->typical_p < 1.0f || s->top_p < 1.0f || s->min_p > 0.0f;
}

/* Leaves the typical ones of all tokens of r; returns the sum of their weights. */
static double keep_typical(ranking *r, double typical_p)
{
    double total = 0.0, moment = 0.0, sum = 0.0;
    for (int32_t i = 0; i < r->n_all; i++) {
        double w = weight(r->c[i].value, r->top, 1.0);
        total += w;
        if (w > 0.0) /* else the distance may be infinite */
            moment += w * ((double)r->top - (double)r->c[i].value);
    }
    ranking typical = unordered(r->c, r->n_all, r->top, moment / total);
    int32_t n = 0;
    do {
        order(&typical, n + 1);
        sum += weight(r->c[n++].value, r->top, 1.0);
    } while (sum < typical_p * total && n < r->n_all);
    *r = unordered(r->c, n, r->top, 0.0);
    return sum;
}

/* How many tokens the filters keep: these are the first of r then, in rank. -1 if r has not enough of them.
 * `whole`: r has all tokens of the row, in ascending order. */
static int32_t filter(ranking *r, bool whole, int32_t n_vocab, const st_topk_stats *stats,
                      const st_sampling *s)
{
    bool limited = limits_count(s, n_vocab);
    int32_t most = limited ? s->top_k : n_vocab;
    double mass = (double)stats->adjusted_sum_exp;
    if (s->typical_p < 1.0f) {
        if (limited ? !order(r, most) : !whole)
            return -1;
        r->n_all = most;
        mass = keep_typical(r, (double)s->typical_p);
        most = r->n_all;
    } else if (limited && s->top_p < 1.0f) {
        if (!order(r, most))
            return -1;
        mass = 0.0;
        for (int32_t i = 0; i < most; i++)
            mass += weight(r->c[i].value, r->top, 1.0);
    }
    order(r, 1);
    float best = r->c[0].value;
    double sum = 0.0, enough = (double)s->top_p * mass / weight(best, r->top, 1.0);
    for (int32_t i = 0; i < most; i++) {
        if (!order(r, i + 1))
            return -1;
        double w = weight(r->c[i].value, best, 1.0);
        if (i > 0 && w < (double)s->min_p)
            return i;
        sum += w;
        if (s->top_p < 1.0f && sum >= enough)
            return i + 1;
    }
    return most;
}

static st_candidate draw(const st_candidate *c, int32_t n, double rate, double uniform)
{
    double total = 0.0, sum = 0.0;
    for (int32_t i = 0; i < n; i++)
        total += weight(c[i].value, c[0].value, rate);
    /* The same numbers in the same order: the sum passes uniform * total before the last at the latest. */
    int32_t at = 0;
    while ((sum += weight(c[at].value, c[0].value, rate)) <= uniform * total)
        at++;
    assert(at < n);
    return c[at];
}

bool st_sample(const st_candidate *candidate, int32_t n_candidate, int32_t n_vocab,
               const st_topk_stats *stats, const st_sampling *sampling, uint32_t sample, uint64_t index,
               st_candidate *choice)
{
    assert(n_candidate >= 1 && n_candidate <= ST_MAX_TOPK);
    if (sampling->temperature == 0.0f) {
        *choice = candidate[0];
        return true;
    }
    if (!filters(sampling, n_vocab))
        return false;
    st_candidate own[ST_MAX_TOPK];
    memcpy(own, candidate, (size_t)n_candidate * sizeof *own);
    ranking r = unordered(own, n_candidate, stats->adjusted_max, 0.0);
    r.n_ordered = r.n_near = n_candidate;
    int32_t kept = filter(&r, false, n_vocab, stats, sampling);
    if (kept < 0)
        return false;
    *choice = draw(own, kept, 1.0 / (double)sampling->temperature, st_uniform(sampling->seed, sample, index));
    return true;
}

/* ---- the whole row ---- */

enum { BLOCK = 1024 }; /* tokens whose weights are computed together */

typedef struct row {
    const float *logits; /* [n_vocab] raw */
    int32_t n_vocab;
    const st_adjustment *adjust;
    int32_t n_adjust;
    float top; /* largest adjusted logit */
} row;

/* The n adjusted logits from token `first` on; `at` is the first adjustment there, and then the next. */
static void adjusted_block(const row *r, int32_t first, int32_t n, int32_t *at, float *value)
{
    memcpy(value, r->logits + first, (size_t)n * sizeof *value);
    for (; *at < r->n_adjust && r->adjust[*at].token < first + n; ++*at) {
        float *x = &value[r->adjust[*at].token - first];
        *x = st_adjusted(&r->adjust[*at], *x);
    }
}

static void candidates_of(const row *r, st_candidate *c)
{
    for (int32_t i = 0; i < r->n_vocab; i++)
        c[i] = (st_candidate){.token = i, .value = r->logits[i], .raw = r->logits[i]};
    for (int32_t i = 0; i < r->n_adjust; i++) {
        st_candidate *changed = &c[r->adjust[i].token];
        changed->value = st_adjusted(&r->adjust[i], changed->raw);
    }
}

/* The draw without filters. Sums at the beginnings of blocks are kept, so that only the block where the sum
 * passes uniform * total is added again. */
static st_candidate draw_any(const row *r, double rate, double uniform)
{
    double before[ST_MAX_ROWS / BLOCK + 1], w[BLOCK], sum = 0.0;
    float value[BLOCK];
    int32_t n_block = 0, at = 0;
    for (int32_t first = 0; first < r->n_vocab; first += BLOCK) {
        int32_t n = (int32_t)st_min(BLOCK, r->n_vocab - first);
        adjusted_block(r, first, n, &at, value);
        for (int32_t i = 0; i < n; i++)
            w[i] = weight(value[i], r->top, rate);
        before[n_block++] = sum;
        for (int32_t i = 0; i < n; i++)
            sum += w[i];
    }
    double target = uniform * sum; /* less than the sum */
    while (before[n_block - 1] > target)
        n_block--;
    int32_t first = (n_block - 1) * BLOCK, i = 0;
    int32_t n = (int32_t)st_min(BLOCK, r->n_vocab - first);
    for (at = 0; at < r->n_adjust && r->adjust[at].token < first;)
        at++;
    adjusted_block(r, first, n, &at, value);
    sum = before[n_block - 1];
    while ((sum += weight(value[i], r->top, rate)) <= target)
        i++;
    assert(i < n);
    return (st_candidate){.token = first + i, .value = value[i], .raw = r->logits[first + i]};
}

st_candidate st_sample_row(const float *logits, int32_t n_vocab, const st_adjustment *adjust,
                           int32_t n_adjust, const st_topk_stats *stats, const st_sampling *sampling,
                           uint32_t sample, uint64_t index, st_candidate *scratch)
{
    assert(n_vocab >= 1 && n_vocab <= ST_MAX_ROWS);
    const row whole = {logits, n_vocab, adjust, n_adjust, stats->adjusted_max};
    double temperature = (double)sampling->temperature;
    double uniform = st_uniform(sampling->seed, sample, index);
    if (temperature > 0.0 && !filters(sampling, n_vocab))
        return draw_any(&whole, 1.0 / temperature, uniform);
    candidates_of(&whole, scratch);
    ranking r = unordered(scratch, n_vocab, whole.top, 0.0);
    if (temperature == 0.0) {
        order(&r, 1);
        return scratch[0];
    }
    int32_t kept = filter(&r, true, n_vocab, stats, sampling);
    assert(kept > 0);
    return draw(scratch, kept, 1.0 / temperature, uniform);
}

/* ---- log-probabilities ---- */

float st_logprob(float raw, const st_topk_stats *stats)
{
    return (float)((double)raw - (double)stats->max - log((double)stats->sum_exp));
}

bool st_top_logprobs(const st_candidate *candidate, int32_t n_candidate, int32_t n_adjust,
                     const st_topk_stats *stats, int32_t n, sterna_logprob *top)
{
    if (n_adjust > 0 || n > n_candidate)
        return false;
    for (int32_t i = 0; i < n; i++)
        top[i] = (sterna_logprob){candidate[i].token, st_logprob(candidate[i].raw, stats)};
    return true;
}

void st_top_logprobs_row(const float *logits, int32_t n_vocab, const st_topk_stats *stats, int32_t n,
                         sterna_logprob *top)
{
    assert(n >= 0 && n <= STERNA_MAX_LOGPROB && n <= n_vocab);
    st_candidate best[STERNA_MAX_LOGPROB];
    int32_t count = 0;
    for (int32_t token = 0; n > 0 && token < n_vocab; token++) {
        float raw = logits[token];
        if (count == n && raw <= best[n - 1].raw) /* of equals the first stays */
            continue;
        int32_t at = count < n ? count++ : n - 1;
        for (; at > 0 && raw > best[at - 1].raw; at--)
            best[at] = best[at - 1];
        best[at] = (st_candidate){.token = token, .raw = raw};
    }
    for (int32_t i = 0; i < n; i++)
        top[i] = (sterna_logprob){best[i].token, st_logprob(best[i].raw, stats)};
}
