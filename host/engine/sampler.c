#include "host/engine/sampler.h"

#include <math.h>

void st_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = UINT64_C(0xD2511F53) * c0, b = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double st_uniform(uint64_t seed, uint64_t index)
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), 0, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t word[4];
    st_philox(counter, key, word);
    uint64_t bits = (uint64_t)word[1] << 32 | word[0];
    return (double)(bits >> 11) * 0x1p-53;
}

sterna_status st_sample_check(const st_topk_stats *stats, sterna_error *error)
{
    if (!isfinite(stats->max) || !isfinite(stats->adjusted_max))
        return st_fail(error, STERNA_E_DEVICE, "the largest logit is not finite (%g, adjusted %g)",
                       (double)stats->max, (double)stats->adjusted_max);
    if (!isfinite(stats->sum_exp) || !isfinite(stats->adjusted_sum_exp) || stats->sum_exp <= 0.0f ||
        stats->adjusted_sum_exp <= 0.0f)
        return st_fail(error, STERNA_E_DEVICE,
                       "the normaliser of the logits is not finite and positive (%g, adjusted %g)",
                       (double)stats->sum_exp, (double)stats->adjusted_sum_exp);
    return STERNA_OK;
}

float st_logprob(float raw, const st_topk_stats *stats)
{
    return (float)((double)raw - (double)stats->max - log((double)stats->sum_exp));
}

/* Weight of a value relative to the largest. */
static double weight(float value, float top, double temperature)
{
    return exp(((double)value - (double)top) / temperature);
}

static bool limits_count(const sterna_sampling *s, int32_t n_vocab)
{
    return s->top_k > 0 && s->top_k < n_vocab;
}

static bool filters(const sterna_sampling *s, int32_t n_vocab)
{
    return limits_count(s, n_vocab) || s->top_p < 1.0f || s->min_p > 0.0f;
}

/* How many tokens the filters keep, given the n largest in descending order; -1 if that takes more. */
static int32_t count_kept(const st_candidate *c, int32_t n, int32_t n_vocab, const st_topk_stats *stats,
                          const sterna_sampling *s)
{
    int32_t most = limits_count(s, n_vocab) ? s->top_k : n_vocab;
    int32_t seen = n < most ? n : most;
    double total = (double)stats->adjusted_sum_exp;
    if (s->top_p < 1.0f && most < n_vocab) {
        if (seen < most)
            return -1;
        total = 0.0;
        for (int32_t i = 0; i < most; i++)
            total += weight(c[i].value, c[0].value, 1.0);
    }
    double sum = 0.0;
    for (int32_t i = 0; i < seen; i++) {
        double w = weight(c[i].value, c[0].value, 1.0);
        if (i > 0 && w < (double)s->min_p)
            return i;
        sum += w;
        if (s->top_p < 1.0f && sum >= (double)s->top_p * total)
            return i + 1;
    }
    return seen == most ? seen : -1;
}

/* Index of the drawn token among the first n, where all weights add up to `total`; -1 if it lies behind. */
static int32_t draw(const st_candidate *c, int32_t n, double total, double temperature, double uniform)
{
    double target = uniform * total, sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        sum += weight(c[i].value, c[0].value, temperature);
        if (sum > target)
            return i;
    }
    return -1;
}

bool st_sample(const st_candidate *candidate, int32_t n_candidate, int32_t n_vocab,
               const st_topk_stats *stats, const sterna_sampling *sampling, uint64_t index,
               st_candidate *choice)
{
    double temperature = (double)sampling->temperature;
    if (temperature == 0.0) {
        *choice = candidate[0];
        return true;
    }
    if (!filters(sampling, n_vocab))
        return false; /* the total is over the whole row */
    int32_t kept = count_kept(candidate, n_candidate, n_vocab, stats, sampling);
    if (kept < 0)
        return false;
    double total = 0.0;
    for (int32_t i = 0; i < kept; i++)
        total += weight(candidate[i].value, candidate[0].value, temperature);
    /* The same numbers in the same order: the sum passes uniform * total before the last at the latest. */
    int32_t at = draw(candidate, kept, total, temperature, st_uniform(sampling->seed, index));
    assert(at >= 0);
    *choice = candidate[at];
    return true;
}

/* ---- the whole row: a heap gives the tokens in order, as many as it takes ---- */

static bool precedes(const st_candidate *a, const st_candidate *b)
{
    return a->value != b->value ? a->value > b->value : a->token < b->token;
}

static void sift_down(st_candidate *heap, int32_t n, int32_t at)
{
    st_candidate moved = heap[at];
    for (int32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && precedes(&heap[child + 1], &heap[child]))
            child++;
        if (!precedes(&heap[child], &moved))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void swap(st_candidate *a, st_candidate *b)
{
    st_candidate t = *a;
    *a = *b;
    *b = t;
}

/* Brings the n largest of `all` to its beginning, in descending order. */
static void sort_largest(st_candidate *all, int32_t n_all, int32_t n)
{
    for (int32_t i = n_all / 2; i-- > 0;)
        sift_down(all, n_all, i);
    for (int32_t left = n_all; left > n_all - n; left--) { /* the largest goes to the end of what is left */
        swap(&all[0], &all[left - 1]);
        sift_down(all, left - 1, 0);
    }
    for (int32_t i = 0, j = n_all - 1; i < j; i++, j--)
        swap(&all[i], &all[j]);
}

st_candidate st_sample_row(const float *logits, int32_t n_vocab, const st_topk_stats *stats,
                           const sterna_sampling *sampling, uint64_t index, st_candidate *scratch)
{
    double temperature = (double)sampling->temperature;
    bool unfiltered = temperature > 0.0 && !filters(sampling, n_vocab);
    double total = 0.0; /* of the unfiltered row, by ascending id */
    for (int32_t i = 0; i < n_vocab; i++) {
        scratch[i] = (st_candidate){.token = i, .value = logits[i], .raw = logits[i]};
        if (unfiltered)
            total += weight(logits[i], stats->adjusted_max, temperature);
    }
    /* Most of the mass is in few tokens: sort 256 of them, and four times more whenever these do not do. */
    st_candidate choice;
    for (int64_t n = st_min(256, n_vocab);; n = st_min(4 * n, n_vocab)) {
        sort_largest(scratch, n_vocab, (int32_t)n);
        if (!unfiltered) {
            if (st_sample(scratch, (int32_t)n, n_vocab, stats, sampling, index, &choice))
                return choice;
            continue;
        }
        int32_t at = draw(scratch, (int32_t)n, total, temperature, st_uniform(sampling->seed, index));
        if (at >= 0)
            return scratch[at];
        if (n == n_vocab)
            return scratch[n_vocab - 1]; /* added in another order, the weights fell short of the target */
    }
}
