#include "host/engine/sampler.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Known answers published with Random123 (kat_vectors, philox4x32 10). */
Test(sampler, philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                 {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                  {0xffffffff, 0xffffffff},
                  {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                 {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                  {0xa4093822, 0x299f31d0},
                  {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t out[4];
        st_philox(cases[i].counter, cases[i].key, out);
        cr_assert_arr_eq(out, cases[i].out, sizeof out, "case %zu", i);
    }
}

Test(sampler, uniform_fills_the_unit_interval)
{
    enum { DRAWS = 64000, BINS = 64 };
    int count[BINS] = {0};
    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = st_uniform(12345, i);
        cr_assert(u >= 0.0 && u < 1.0);
        count[(int)(u * BINS)]++;
    }
    double chi2 = 0.0;
    for (int b = 0; b < BINS; b++)
        chi2 += pow(count[b] - (double)DRAWS / BINS, 2) / ((double)DRAWS / BINS);
    cr_assert_lt(chi2, 103.4, "chi2 %g with 63 degrees of freedom", chi2); /* p = 0.001 */
    cr_assert_neq(st_uniform(1, 7), st_uniform(2, 7));
    cr_assert_neq(st_uniform(1, 7), st_uniform(UINT64_C(1) | UINT64_C(1) << 32, 7));
}

/* ---- rows of logits ---- */

enum { MAX_VOCAB = 2000 };

static st_topk_stats stats_of(const float *logits, int32_t n)
{
    float lane[ST_LANES] = {0}, max = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int32_t i = 0; i < n; i++)
        lane[i % ST_LANES] += st_exp(logits[i] - max);
    float sum = st_fold_lanes(lane);
    return (st_topk_stats){.max = max, .sum_exp = sum, .adjusted_max = max, .adjusted_sum_exp = sum};
}

static int by_rank(const void *a, const void *b)
{
    const st_candidate *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static void sorted(const float *logits, int32_t n, st_candidate *all)
{
    for (int32_t i = 0; i < n; i++)
        all[i] = (st_candidate){.token = i, .value = logits[i], .raw = logits[i]};
    qsort(all, (size_t)n, sizeof *all, by_rank);
}

/* The chain, one filter after the other, each on what the one before has left: probabilities of the tokens
 * in rank order. */
static int32_t chain(const st_candidate *all, int32_t n, const sterna_sampling *s, double *probability)
{
    if (s->temperature == 0.0f) {
        probability[0] = 1.0;
        return 1;
    }
    if (s->top_k > 0 && s->top_k < n)
        n = s->top_k;
    double total = 0.0, sum = 0.0;
    for (int32_t i = 0; i < n; i++)
        total += exp((double)all[i].value - (double)all[0].value);
    for (int32_t i = 0; s->top_p < 1.0f && i < n; i++) {
        sum += exp((double)all[i].value - (double)all[0].value);
        if (sum >= (double)s->top_p * total)
            n = i + 1;
    }
    for (int32_t i = 1; i < n; i++)
        if (exp((double)all[i].value - (double)all[0].value) < (double)s->min_p)
            n = i;
    total = 0.0;
    for (int32_t i = 0; i < n; i++)
        total += probability[i] = exp(((double)all[i].value - (double)all[0].value) / (double)s->temperature);
    for (int32_t i = 0; i < n; i++)
        probability[i] /= total;
    return n;
}

static void random_row(uint64_t *state, float *logits, int32_t n, float spread)
{
    for (int32_t i = 0; i < n; i++) {
        float u = tiny_uniform(state);
        logits[i] = spread * u * u * u;
        if (tiny_random(state) % 4 == 0) /* ties */
            logits[i] = rintf(logits[i]);
    }
}

static sterna_sampling random_sampling(uint64_t *state)
{
    static const float temperatures[] = {0.0f, 0.2f, 0.8f, 1.0f, 1.7f, 5.0f},
                       ps[] = {1.0f, 0.99f, 0.9f, 0.5f, 0.0f}, mins[] = {0.0f, 0.001f, 0.05f, 0.5f, 1.0f};
    static const int32_t ks[] = {0, 1, 3, 40, 200, 5000};
    return (sterna_sampling){.temperature = temperatures[tiny_random(state) % 6],
                             .top_k = ks[tiny_random(state) % 6],
                             .top_p = ps[tiny_random(state) % 5],
                             .min_p = mins[tiny_random(state) % 5],
                             .seed = tiny_random(state)};
}

/* Where the candidates decide they decide as the whole row does, which follows the chain. */
Test(sampler, candidates_and_rows_agree)
{
    static float logits[MAX_VOCAB];
    static st_candidate all[MAX_VOCAB], scratch[MAX_VOCAB];
    static double probability[MAX_VOCAB];
    static const int32_t sizes[] = {1, 2, 7, 64, 300, MAX_VOCAB};
    uint64_t state = 1;
    int decided = 0, deferred = 0;
    for (int round = 0; round < 3000; round++) {
        int32_t n = sizes[round % 6], n_candidate = n < 64 ? n : 64;
        random_row(&state, logits, n, (float)(1 + round % 20));
        sterna_sampling s = random_sampling(&state);
        st_topk_stats stats = stats_of(logits, n);
        sorted(logits, n, all);
        st_candidate row = st_sample_row(logits, n, &stats, &s, (uint64_t)round, scratch), few;
        if (st_sample(all, n_candidate, n, &stats, &s, (uint64_t)round, &few)) {
            cr_assert_eq(few.token, row.token, "round %d: %d from candidates, %d from the row", round,
                         few.token, row.token);
            decided++;
        } else {
            deferred++;
        }
        int32_t kept = chain(all, n, &s, probability), rank = 0;
        while (all[rank].token != row.token)
            rank++;
        /* The normaliser of topk is f32: a token more or less may pass where top_p meets it. */
        cr_assert_leq(rank, kept, "round %d: rank %d of %d kept", round, rank, kept);
    }
    cr_assert(decided > 1000 && deferred > 200, "%d decided, %d deferred", decided, deferred);
}

static void check_distribution(const float *logits, int32_t n, int32_t n_candidate, sterna_sampling s)
{
    enum { DRAWS = 20000 };
    st_candidate all[16], scratch[16], choice;
    double probability[16], chi2 = 0.0;
    int count[16] = {0};
    st_topk_stats stats = stats_of(logits, n);
    sorted(logits, n, all);
    int32_t kept = chain(all, n, &s, probability);
    for (uint64_t i = 0; i < DRAWS; i++) {
        if (!st_sample(all, n_candidate, n, &stats, &s, i, &choice))
            choice = st_sample_row(logits, n, &stats, &s, i, scratch);
        count[choice.token]++;
    }
    int seen = 0;
    for (int32_t r = 0; r < kept; r++) {
        double expected = probability[r] * DRAWS;
        chi2 += pow(count[all[r].token] - expected, 2) / expected;
        seen += count[all[r].token];
    }
    cr_expect_eq(seen, DRAWS, "%d draws of tokens that the filters remove", DRAWS - seen);
    cr_expect_lt(chi2, 35.0, "chi2 %g for %d tokens (T %g k %d p %g min %g)", chi2, kept,
                 (double)s.temperature, s.top_k, (double)s.top_p, (double)s.min_p);
}

Test(sampler, distributions)
{
    static const float logits[10] = {0.1f, 2.0f, -1.0f, 2.0f, 0.7f, 1.4f, -3.0f, 0.0f, 1.0f, -0.5f};
    static const sterna_sampling cases[] = {
        {.temperature = 1.0f, .top_p = 1.0f},
        {.temperature = 0.5f, .top_p = 1.0f},
        {.temperature = 3.0f, .top_p = 1.0f},
        {.temperature = 1.0f, .top_p = 1.0f, .top_k = 3},
        {.temperature = 1.0f, .top_p = 0.8f},
        {.temperature = 1.0f, .top_p = 1.0f, .min_p = 0.3f},
        {.temperature = 2.0f, .top_p = 0.9f, .top_k = 6, .min_p = 0.1f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int32_t n_candidate = 2; n_candidate <= 10; n_candidate += 4) {
            sterna_sampling s = cases[i];
            s.seed = 77 + i;
            check_distribution(logits, 10, n_candidate, s);
        }
}

Test(sampler, greedy_takes_the_lowest_id_of_equals)
{
    static const float logits[5] = {1.0f, 3.0f, 2.0f, 3.0f, 3.0f};
    st_candidate scratch[5];
    st_topk_stats stats = stats_of(logits, 5);
    sterna_sampling s = {.temperature = 0.0f, .top_p = 1.0f};
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(st_sample_row(logits, 5, &stats, &s, i, scratch).token, 1);
}

Test(sampler, refuses_what_is_not_a_number)
{
    sterna_error error;
    st_topk_stats good = {.max = 1, .sum_exp = 2, .adjusted_max = 1, .adjusted_sum_exp = 2}, bad;
    cr_assert_eq(st_sample_check(&good, &error), STERNA_OK);
    bad = good;
    bad.max = bad.adjusted_max = NAN;
    cr_assert_eq(st_sample_check(&bad, &error), STERNA_E_DEVICE);
    cr_assert(strstr(error.message, "largest logit is not finite"));
    bad = good;
    bad.max = bad.adjusted_max = INFINITY;
    cr_assert_eq(st_sample_check(&bad, &error), STERNA_E_DEVICE);
    bad = good;
    bad.sum_exp = NAN;
    cr_assert_eq(st_sample_check(&bad, &error), STERNA_E_DEVICE);
    cr_assert(strstr(error.message, "normaliser"));
    bad = good;
    bad.adjusted_sum_exp = 0.0f;
    cr_assert_eq(st_sample_check(&bad, &error), STERNA_E_DEVICE);
}

Test(sampler, logprob_is_the_logarithm_of_the_share)
{
    static const float logits[4] = {0.0f, 1.0f, 2.0f, 3.0f};
    st_topk_stats stats = stats_of(logits, 4);
    double total = exp(0.0) + exp(1.0) + exp(2.0) + exp(3.0), sum = 0.0;
    for (int i = 0; i < 4; i++) {
        cr_assert_float_eq((double)st_logprob(logits[i], &stats), log(exp((double)logits[i]) / total), 1e-6);
        sum += exp((double)st_logprob(logits[i], &stats));
    }
    cr_assert_float_eq(sum, 1.0, 1e-6);
}
