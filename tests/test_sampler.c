/* The choice of a token, against the chain as its definition says it, one filter after the other. */
#include "host/engine/sampler.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VOCAB = 3000, MAX_CHANGE = 40 };

/* ---- rows, and what topk makes of them ---- */

typedef struct row {
    int32_t n, n_adjust;
    float logits[MAX_VOCAB], adjusted[MAX_VOCAB];
    st_adjustment adjust[MAX_CHANGE];
    st_candidate all[MAX_VOCAB]; /* in rank */
    st_topk_stats stats;
} row;

static void normaliser(const float *logits, int32_t n, float *max, float *sum_exp)
{
    float lane[ST_LANES] = {0};
    *max = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        *max = logits[i] > *max ? logits[i] : *max;
    for (int32_t i = 0; i < n; i++)
        lane[i % ST_LANES] += st_exp(logits[i] - *max);
    *sum_exp = st_fold_lanes(lane);
}

static int by_rank(const void *a, const void *b)
{
    const st_candidate *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

/* Completes a row with logits and adjustments. */
static void finish_row(row *r)
{
    memcpy(r->adjusted, r->logits, sizeof r->logits);
    for (int32_t i = 0; i < r->n_adjust; i++) {
        const st_adjustment *a = &r->adjust[i];
        float l = r->logits[a->token], product = l > 0.0f ? l * a->positive : l * a->negative;
        r->adjusted[a->token] = product + a->add;
    }
    for (int32_t i = 0; i < r->n; i++)
        r->all[i] = (st_candidate){.token = i, .value = r->adjusted[i], .raw = r->logits[i]};
    qsort(r->all, (size_t)r->n, sizeof *r->all, by_rank);
    normaliser(r->logits, r->n, &r->stats.max, &r->stats.sum_exp);
    normaliser(r->adjusted, r->n, &r->stats.adjusted_max, &r->stats.adjusted_sum_exp);
}

static void given_row(row *r, const float *logits, int32_t n)
{
    r->n = n;
    r->n_adjust = 0;
    memcpy(r->logits, logits, (size_t)n * sizeof *logits);
    finish_row(r);
}

/* Rows with ties, with tokens at -inf, and adjusted ones of which some are banned. */
static void random_row(uint64_t *state, row *r, int32_t n, float spread)
{
    r->n = n;
    r->n_adjust = 0;
    for (int32_t i = 0; i < n; i++) {
        float u = tiny_uniform(state);
        r->logits[i] = spread * u * u * u;
        if (tiny_random(state) % 4 == 0)
            r->logits[i] = rintf(r->logits[i]);
        if (i > 0 && tiny_random(state) % 50 == 0)
            r->logits[i] = -INFINITY;
    }
    int32_t step = 1 + (int32_t)(tiny_random(state) % 40);
    if (tiny_random(state) % 2)
        for (int32_t t = (int32_t)(tiny_random(state) % 3); t < n && r->n_adjust < MAX_CHANGE; t += step) {
            float p = 1.0f + 0.3f * tiny_uniform(state);
            bool ban = tiny_random(state) % 5 == 0;
            r->adjust[r->n_adjust++] = (st_adjustment){t, ban ? 1.0f : 1.0f / p, ban ? 1.0f : p,
                                                       ban ? -INFINITY : 2.0f * tiny_uniform(state)};
        }
    finish_row(r);
}

static bool from_candidates(const row *r, int32_t n_candidate, const st_sampling *s, uint32_t sample,
                            uint64_t index, st_candidate *choice)
{
    return st_sample(r->all, n_candidate, r->n, &r->stats, s, sample, index, choice);
}

static st_candidate from_row(const row *r, const st_sampling *s, uint32_t sample, uint64_t index)
{
    static st_candidate scratch[MAX_VOCAB];
    return st_sample_row(r->logits, r->n, r->adjust, r->n_adjust, &r->stats, s, sample, index, scratch);
}

/* ---- the chain, by its definition ---- */

/* Decisions nearer than rounding (of doubles here, of topk's f32 normaliser in top_p) may fall either way. */
typedef struct chain {
    int32_t n;
    bool close;
    st_candidate left[MAX_VOCAB]; /* in the order of the draw */
    double probability[MAX_VOCAB];
} chain;

typedef struct typicality {
    double distance, probability;
    st_candidate c;
} typicality;

static int by_typicality(const void *a, const void *b)
{
    const typicality *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return by_rank(&x->c, &y->c);
}

static void shares(const st_candidate *c, int32_t n, double temperature, double *share)
{
    double total = 0.0;
    float best = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        best = c[i].value > best ? c[i].value : best;
    for (int32_t i = 0; i < n; i++)
        total += share[i] = exp(((double)c[i].value - (double)best) / temperature);
    for (int32_t i = 0; i < n; i++)
        share[i] /= total;
}

static void typical(chain *c, double typical_p)
{
    static typicality t[MAX_VOCAB];
    double entropy = 0.0, sum = 0.0;
    shares(c->left, c->n, 1.0, c->probability);
    for (int32_t i = 0; i < c->n; i++)
        if (c->probability[i] > 0.0)
            entropy -= c->probability[i] * log(c->probability[i]);
    for (int32_t i = 0; i < c->n; i++)
        t[i] = (typicality){fabs(-log(c->probability[i]) - entropy), c->probability[i], c->left[i]};
    qsort(t, (size_t)c->n, sizeof *t, by_typicality);
    int32_t kept = 0;
    do {
        sum += t[kept++].probability;
        c->close = c->close || fabs(sum - typical_p) < 1e-9;
    } while (sum < typical_p && kept < c->n);
    if (kept < c->n && t[kept].c.value != t[kept - 1].c.value &&
        fabs(t[kept].distance - t[kept - 1].distance) < 1e-9)
        c->close = true;
    for (int32_t i = 0; i < kept; i++)
        c->left[i] = t[i].c;
    c->n = kept;
    qsort(c->left, (size_t)kept, sizeof *c->left, by_rank);
}

static void likeliest(chain *c, double top_p)
{
    double sum = 0.0;
    shares(c->left, c->n, 1.0, c->probability);
    for (int32_t i = 0; i < c->n; i++) {
        sum += c->probability[i];
        c->close = c->close || fabs(sum - top_p) < 1e-5;
        if (sum >= top_p)
            c->n = i + 1;
    }
}

static void no_less_than(chain *c, double min_p)
{
    for (int32_t i = 1; i < c->n; i++) {
        double share = exp((double)c->left[i].value - (double)c->left[0].value);
        if (c->left[i].value != c->left[0].value && fabs(share - min_p) < 1e-12)
            c->close = true;
        if (share < min_p)
            c->n = i;
    }
}

static void filter(const row *r, const st_sampling *s, chain *c)
{
    bool limited = s->top_k > 0 && s->top_k < r->n;
    c->n = limited ? s->top_k : r->n;
    c->close = false;
    memcpy(c->left, r->all, sizeof r->all);
    if (s->temperature == 0.0f) {
        c->n = 1;
        c->probability[0] = 1.0;
        return;
    }
    if (s->typical_p < 1.0f)
        typical(c, (double)s->typical_p);
    if (s->top_p < 1.0f)
        likeliest(c, (double)s->top_p);
    no_less_than(c, (double)s->min_p);
    if (!limited && s->typical_p == 1.0f && s->top_p == 1.0f && s->min_p == 0.0f)
        for (int32_t i = 0; i < r->n; i++)
            c->left[i] = (st_candidate){.token = i, .value = r->adjusted[i], .raw = r->logits[i]};
    shares(c->left, c->n, (double)s->temperature, c->probability);
}

static int32_t drawn(chain *c, double uniform)
{
    double sum = 0.0;
    int32_t chosen = -1;
    for (int32_t i = 0; i < c->n; i++) {
        sum += c->probability[i];
        c->close = c->close || (i < c->n - 1 && c->probability[i] > 0.0 && fabs(sum - uniform) < 1e-9);
        if (chosen < 0 && sum > uniform)
            chosen = c->left[i].token;
    }
    c->close = c->close || chosen < 0;
    return chosen;
}

/* ---- agreement ---- */

static st_sampling random_sampling(uint64_t *state)
{
    static const float temperatures[] = {0.0f, 0x1p-149f, 0.2f, 0.8f, 1.0f, 1.7f, 5.0f, FLT_MAX},
                       ps[] = {1.0f, 1.0f, 0.99f, 0.9f, 0.5f, 0.0f},
                       typicals[] = {1.0f, 1.0f, 1.0f, 0.95f, 0.4f, 0.0f},
                       mins[] = {0.0f, 0.0f, 0.001f, 0.05f, 0.5f, 1.0f};
    static const int32_t ks[] = {0, 0, 1, 3, 40, 64, 200, 5000};
    return (st_sampling){.temperature = temperatures[tiny_random(state) % 8],
                         .top_k = ks[tiny_random(state) % 8],
                         .typical_p = typicals[tiny_random(state) % 6],
                         .top_p = ps[tiny_random(state) % 6],
                         .min_p = mins[tiny_random(state) % 6],
                         .repetition_penalty = 1.0f,
                         .seed = tiny_random(state)};
}

#define SETTINGS "T %g k %d typical %g p %g min %g"
#define SETTINGS_OF(s)                                                                                       \
    (double)(s).temperature, (s).top_k, (double)(s).typical_p, (double)(s).top_p, (double)(s).min_p

/* Where the candidates decide they decide as the whole row does, which does what the chain says. */
Test(sampler, candidates_rows_and_the_chain_agree)
{
    static row r;
    static chain c;
    static const int32_t sizes[] = {1, 2, 7, 64, 300, MAX_VOCAB};
    static const float spreads[] = {1.0f, 3.0f, 8.0f, 20.0f, 300.0f, 1e35f};
    uint64_t state = 1;
    int decided = 0, deferred = 0, close = 0, without = 0;
    for (int round = 0; round < 6000; round++) {
        int32_t n = sizes[round % 6], n_candidate = n < 64 ? n : 64;
        random_row(&state, &r, n, spreads[tiny_random(&state) % 6]);
        st_sampling s = random_sampling(&state);
        uint32_t sample = (uint32_t)(tiny_random(&state) % STERNA_MAX_SAMPLE);
        uint64_t index = tiny_random(&state);
        if (r.stats.adjusted_max == -INFINITY) {
            without++;
            continue;
        }
        cr_assert_eq(st_sample_check(&r.stats, NULL), STERNA_OK);
        st_candidate whole = from_row(&r, &s, sample, index), few;
        if (from_candidates(&r, n_candidate, &s, sample, index, &few)) {
            cr_assert(memcmp(&few, &whole, sizeof few) == 0,
                      "round %d: %d from candidates, %d from the row (" SETTINGS ")", round, few.token,
                      whole.token, SETTINGS_OF(s));
            decided++;
        } else {
            deferred++;
        }
        cr_assert_eq(whole.raw, r.logits[whole.token]);
        cr_assert_eq(whole.value, r.adjusted[whole.token]);
        filter(&r, &s, &c);
        int32_t expected = drawn(&c, st_uniform(s.seed, sample, index));
        close += c.close;
        if (!c.close)
            cr_assert_eq(whole.token, expected, "round %d: %d instead of %d, one of %d (" SETTINGS ")", round,
                         whole.token, expected, c.n, SETTINGS_OF(s));
    }
    cr_assert(decided > 3000 && deferred > 500, "%d decided, %d deferred", decided, deferred);
    cr_assert(close < 300 && without < 300, "%d too close to tell, %d without a token", close, without);
}

/* Every number of candidates from 1 to all gives the same, or nothing. */
Test(sampler, any_number_of_candidates_gives_the_same)
{
    static row r;
    uint64_t state = 9;
    for (int round = 0; round < 300; round++) {
        random_row(&state, &r, 100, (float)(1 + round % 12));
        st_sampling s = random_sampling(&state);
        if (r.stats.adjusted_max == -INFINITY)
            continue;
        st_candidate whole = from_row(&r, &s, 0, 0), few;
        bool had = false;
        for (int32_t n = 1; n <= 100; n++) {
            bool has = from_candidates(&r, n, &s, 0, 0, &few);
            cr_assert(!has || few.token == whole.token, "round %d, %d candidates", round, n);
            cr_assert(has || !had, "round %d: %d candidates do not do, but %d did", round, n, n - 1);
            had = has;
        }
    }
}

Test(sampler, candidates_decide_where_the_header_says)
{
    enum { VOCAB = 100, FEW = 10 };
    static row r;
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -0.1f * (float)i; /* the first ten have 63 % */
    given_row(&r, logits, VOCAB);
    static const struct {
        bool decided;
        st_sampling s;
    } cases[] = {
        {true, {.temperature = 0, .typical_p = 0.5f, .top_p = 1}},
        {false, {.temperature = 1, .typical_p = 1, .top_p = 1}},
        {false, {.temperature = 1, .typical_p = 1, .top_p = 1, .top_k = VOCAB}},
        {true, {.temperature = 1, .typical_p = 1, .top_p = 1, .top_k = FEW}},
        {false, {.temperature = 1, .typical_p = 1, .top_p = 1, .top_k = FEW + 1}},
        {true, {.temperature = 1, .typical_p = 0.9f, .top_p = 0.9f, .top_k = FEW}},
        {false, {.temperature = 1, .typical_p = 0.9f, .top_p = 1, .top_k = FEW + 1}},
        {false, {.temperature = 1, .typical_p = 0.9f, .top_p = 1}},
        {true, {.temperature = 1, .typical_p = 1, .top_p = 0.6f}},
        {false, {.temperature = 1, .typical_p = 1, .top_p = 0.7f}},
        {false, {.temperature = 1, .typical_p = 1, .top_p = 0.1f, .top_k = FEW + 1}},
        {true, {.temperature = 1, .typical_p = 1, .top_p = 1, .min_p = 0.41f}}, /* the tenth has 0.4066 */
        {false, {.temperature = 1, .typical_p = 1, .top_p = 1, .min_p = 0.4f}},
        {true, {.temperature = 1, .typical_p = 1, .top_p = 1, .min_p = 0.41f, .top_k = FEW + 1}},
        {true, {.temperature = 1, .typical_p = 1, .top_p = 0.9f, .min_p = 0.41f}},
        {true, {.temperature = 1, .typical_p = 1, .top_p = 0.6f, .min_p = 0.01f}},
    };
    st_candidate choice;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(from_candidates(&r, FEW, &cases[i].s, 0, 0, &choice), cases[i].decided,
                     "case %zu (" SETTINGS ")", i, SETTINGS_OF(cases[i].s));
}

/* ---- distributions ---- */

static void check_distribution(const row *r, int32_t n_candidate, const st_sampling *s)
{
    enum { DRAWS = 20000 };
    static chain c;
    st_candidate choice;
    int count[16] = {0}, seen = 0;
    double chi2 = 0.0;
    filter(r, s, &c);
    for (uint32_t i = 0; i < DRAWS; i++) { /* 8 samples */
        if (!from_candidates(r, n_candidate, s, i % 8, i / 8, &choice))
            choice = from_row(r, s, i % 8, i / 8);
        count[choice.token]++;
    }
    for (int32_t i = 0; i < c.n; i++) {
        double expected = c.probability[i] * DRAWS;
        if (expected > 0.0)
            chi2 += pow(count[c.left[i].token] - expected, 2) / expected;
        seen += count[c.left[i].token];
    }
    cr_expect_eq(seen, DRAWS, "%d draws of tokens that the filters remove (" SETTINGS ")", DRAWS - seen,
                 SETTINGS_OF(*s));
    /* p = 0.0001 for 9 degrees of freedom */
    cr_expect_lt(chi2, 33.7, "chi2 %g for %d tokens (" SETTINGS ")", chi2, c.n, SETTINGS_OF(*s));
}

static const float ten[10] = {0.1f, 2.0f, -1.0f, 2.0f, 0.7f, 1.4f, -3.0f, 0.0f, 1.0f, -0.5f};

Test(sampler, distributions)
{
    static row r;
    static const struct {
        int32_t n; /* tokens that remain of `ten` */
        st_sampling s;
    } cases[] = {
        {10, {.temperature = 1.0f, .typical_p = 1.0f, .top_p = 1.0f}},
        {10, {.temperature = 0.5f, .typical_p = 1.0f, .top_p = 1.0f}},
        {10, {.temperature = 3.0f, .typical_p = 1.0f, .top_p = 1.0f}},
        {3, {.temperature = 1.0f, .typical_p = 1.0f, .top_p = 1.0f, .top_k = 3}},
        {4, {.temperature = 1.0f, .typical_p = 1.0f, .top_p = 0.8f}},
        {5, {.temperature = 1.0f, .typical_p = 1.0f, .top_p = 1.0f, .min_p = 0.25f}},
        {4, {.temperature = 1.0f, .typical_p = 0.6f, .top_p = 1.0f}},
        {3, {.temperature = 1.0f, .typical_p = 0.3f, .top_p = 1.0f}},
        {1, {.temperature = 1.0f, .typical_p = 0.1f, .top_p = 1.0f}},
        {3, {.temperature = 1.5f, .typical_p = 0.3f, .top_p = 1.0f, .top_k = 9}},
        {4, {.temperature = 0.7f, .typical_p = 0.9f, .top_p = 0.8f}},
        {3, {.temperature = 1.0f, .typical_p = 0.9f, .top_p = 1.0f, .top_k = 8, .min_p = 0.5f}},
        {5, {.temperature = 2.0f, .typical_p = 1.0f, .top_p = 0.9f, .top_k = 6, .min_p = 0.1f}},
        {3, {.temperature = 2.0f, .typical_p = 0.95f, .top_p = 0.7f, .top_k = 6, .min_p = 0.1f}},
    };
    static chain c;
    given_row(&r, ten, 10);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        st_sampling s = cases[i].s;
        s.seed = 77 + i;
        filter(&r, &s, &c);
        cr_expect_eq(c.n, cases[i].n, "%d tokens are left, not %d (" SETTINGS ")", c.n, cases[i].n,
                     SETTINGS_OF(s));
        for (int32_t n_candidate = 2; n_candidate <= 10; n_candidate += 4)
            check_distribution(&r, n_candidate, &s);
    }
}

Test(sampler, distributions_after_penalties_and_biases)
{
    static row r;
    static const int32_t token[] = {3, 1, 5, 3, 3};
    st_sampling s = {.temperature = 1.0f,
                     .typical_p = 1.0f,
                     .top_p = 1.0f,
                     .repetition_penalty = 1.3f,
                     .presence_penalty = 0.1f,
                     .frequency_penalty = 0.2f,
                     .penalty_last_n = 4,
                     .n_bias = 3,
                     .bias = {{1, 0.5f}, {4, -INFINITY}, {6, 4.0f}}};
    int32_t scratch[STERNA_MAX_PENALTY_LAST];
    st_adjustment adjust[ST_MAX_ADJUST];
    given_row(&r, ten, 10);
    r.n_adjust = st_adjustments(&s, token, 5, scratch, adjust);
    cr_assert_eq(r.n_adjust, 5);
    memcpy(r.adjust, adjust, 5 * sizeof *adjust);
    finish_row(&r);
    static const double expected[10] = {
        0.1, 2.0 / 1.3 + 0.2, -1.0, 2.0 / 1.3 - 0.5, -INFINITY, 1.4 / 1.3 - 0.3, 1.0, 0.0, 1.0, -0.5};
    for (int i = 0; i < 10; i++)
        cr_assert(r.adjusted[i] == (float)expected[i] || fabs((double)r.adjusted[i] - expected[i]) < 1e-6);
    for (int i = 0; i < 4; i++) {
        s.seed = (uint64_t)i;
        s.top_k = i == 1 ? 5 : 0;
        s.typical_p = i == 2 ? 0.7f : 1.0f;
        s.top_p = i == 3 ? 0.8f : 1.0f;
        check_distribution(&r, 6, &s);
    }
}

/* ---- the borders ---- */

static int32_t pick(const row *r, const st_sampling *s, uint64_t index)
{
    st_candidate whole = from_row(r, s, 0, index), few;
    if (from_candidates(r, r->n < 4 ? r->n : 4, s, 0, index, &few))
        cr_assert_eq(few.token, whole.token);
    return whole.token;
}

/* The lowest id of equals, unless all equals are kept. */
Test(sampler, strictest_settings_leave_the_likeliest)
{
    static row r;
    static const float logits[6] = {-INFINITY, 1.0f, 3.0f, 2.99f, -1.0f, 3.0f};
    given_row(&r, logits, 6);
    static const st_sampling one[] = {
        {.temperature = 0.0f, .typical_p = 0.1f, .top_p = 1.0f, .top_k = 5},
        {.temperature = 9.0f, .typical_p = 1.0f, .top_p = 0.0f},
        {.temperature = 9.0f, .typical_p = 1.0f, .top_p = 1.0f, .top_k = 1},
        {.temperature = 9.0f, .typical_p = 0.0f, .top_p = 0.0f, .top_k = 1, .min_p = 1.0f},
    };
    static const st_sampling equals[] = {
        {.temperature = 9.0f, .typical_p = 1.0f, .top_p = 1.0f, .min_p = 1.0f},
        {.temperature = 0x1p-149f, .typical_p = 1.0f, .top_p = 1.0f},
        {.temperature = 0x1p-149f, .typical_p = 1.0f, .top_p = 0.9999f},
        {.temperature = FLT_MAX, .typical_p = 1.0f, .top_p = 1.0f, .top_k = 2},
    };
    for (uint64_t i = 0; i < 200; i++)
        for (size_t k = 0; k < sizeof one / sizeof one[0]; k++)
            cr_assert_eq(pick(&r, &one[k], i), 2, "case %zu", k);
    for (size_t k = 0; k < sizeof equals / sizeof equals[0]; k++) {
        int count[6] = {0};
        for (uint64_t i = 0; i < 200; i++)
            count[pick(&r, &equals[k], i)]++;
        cr_assert(count[2] > 60 && count[5] > 60 && count[2] + count[5] == 200, "case %zu: %d and %d", k,
                  count[2], count[5]);
    }
}

/* Of what typical_p left, the likeliest counts for min_p and temperature, not the likeliest of the row. */
Test(sampler, typical_may_remove_the_likeliest)
{
    static row r;
    float logits[400];
    for (int i = 0; i < 400; i++) /* 32 %, 199 of 0.21 %, 200 of 0.13 %; H = 4.7 */
        logits[i] = i == 123 ? 5.0f : i % 2 ? 0.0f : -0.5f;
    given_row(&r, logits, 400);
    st_sampling s = {.temperature = 0x1p-149f, .typical_p = 0.2f, .top_p = 1.0f, .min_p = 0.9f};
    int count[400] = {0}, different = 0;
    for (uint64_t i = 0; i < 2000; i++)
        different += count[pick(&r, &s, i)]++ == 0;
    for (int i = 0; i < 400; i++)
        cr_assert(count[i] == 0 || (i % 2 == 1 && i != 123 && i < 200), "token %d", i);
    cr_assert_eq(different, 94); /* of 0.21 % up to 20 % */
}

/* Half of two equal tokens is one token. */
Test(sampler, a_mass_that_is_just_reached_is_reached)
{
    static row r;
    static const float logits[3] = {1.0f, -INFINITY, 1.0f};
    static const st_sampling cases[] = {
        {.temperature = 1.0f, .typical_p = 1.0f, .top_p = 0.5f},
        {.temperature = 1.0f, .typical_p = 1.0f, .top_p = 0.5f, .top_k = 2},
        {.temperature = 1.0f, .typical_p = 0.5f, .top_p = 1.0f},
        {.temperature = 1.0f, .typical_p = 0.5f, .top_p = 1.0f, .top_k = 2},
    };
    given_row(&r, logits, 3);
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
        for (uint64_t i = 0; i < 50; i++)
            cr_assert_eq(pick(&r, &cases[k], i), 0, "case %zu", k);
}

Test(sampler, hot_rows_are_flat)
{
    static row r;
    static const float logits[4] = {100.0f, -INFINITY, -100.0f, 0.0f};
    given_row(&r, logits, 4);
    st_sampling s = {.temperature = FLT_MAX, .typical_p = 1.0f, .top_p = 1.0f};
    int count[4] = {0};
    for (uint64_t i = 0; i < 3000; i++)
        count[pick(&r, &s, i)]++;
    cr_assert(count[0] > 900 && count[2] > 900 && count[3] > 900 && count[1] == 0);
}

Test(sampler, a_vocabulary_of_one)
{
    static row r;
    static const float logits[1] = {-7.0f};
    given_row(&r, logits, 1);
    uint64_t state = 3;
    for (uint64_t i = 0; i < 500; i++) {
        st_sampling s = random_sampling(&state);
        cr_assert_eq(pick(&r, &s, i), 0);
    }
}

Test(sampler, what_is_not_banned_remains)
{
    static row r;
    given_row(&r, ten, 10);
    for (int32_t t = 0; t < 10; t++)
        if (t != 6) /* the least likely */
            r.adjust[r.n_adjust++] = (st_adjustment){t, 1.0f, 1.0f, -INFINITY};
    finish_row(&r);
    uint64_t state = 4;
    for (uint64_t i = 0; i < 500; i++) {
        st_sampling s = random_sampling(&state);
        cr_assert_eq(pick(&r, &s, i), 6, SETTINGS, SETTINGS_OF(s));
    }
    r.n_adjust = 10;
    for (int32_t t = 0; t < 10; t++)
        r.adjust[t] = (st_adjustment){t, 1.0f, 1.0f, -INFINITY};
    finish_row(&r);
    sterna_error error;
    cr_assert_eq(st_sample_check(&r.stats, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message,
                     "no token is left: penalties and biases make every logit -inf (the largest was 2)");
}

/* ---- log-probabilities ---- */

Test(sampler, logprob_is_the_logarithm_of_the_share)
{
    static row r;
    static const float logits[4] = {0.0f, 1.0f, 2.0f, 3.0f};
    given_row(&r, logits, 4);
    double total = exp(0.0) + exp(1.0) + exp(2.0) + exp(3.0), sum = 0.0;
    for (int i = 0; i < 4; i++) {
        double logprob = (double)st_logprob(logits[i], &r.stats);
        cr_assert_float_eq(logprob, log(exp((double)logits[i]) / total), 1e-6);
        sum += exp(logprob);
    }
    cr_assert_float_eq(sum, 1.0, 1e-6);
    cr_assert_eq(st_logprob(-INFINITY, &r.stats), -INFINITY);
}

Test(sampler, likeliest_tokens_from_candidates_and_rows)
{
    static row r;
    sterna_logprob few[STERNA_MAX_LOGPROB], whole[STERNA_MAX_LOGPROB];
    static const int32_t sizes[] = {1, 2, 5, 20, 21, 1000};
    uint64_t state = 8;
    for (int round = 0; round < 600; round++) {
        int32_t n_vocab = sizes[round % 6];
        random_row(&state, &r, n_vocab, 5.0f);
        int32_t n = (int32_t)(tiny_random(&state) % (uint64_t)(1 + (n_vocab < 20 ? n_vocab : 20)));
        st_top_logprobs_row(r.logits, n_vocab, &r.stats, n, whole);
        r.n_adjust = 0;
        finish_row(&r); /* raw logits in rank */
        for (int32_t i = 0; i < n; i++)
            cr_assert(whole[i].token == r.all[i].token &&
                          whole[i].logprob == st_logprob(r.all[i].raw, &r.stats),
                      "round %d: number %d of %d is token %d", round, i, n, whole[i].token);
        int32_t n_candidate = n_vocab < 15 ? n_vocab : 15;
        bool enough = st_top_logprobs(r.all, n_candidate, 0, &r.stats, n, few);
        cr_assert_eq(enough, n <= n_candidate);
        for (int32_t i = 0; enough && i < n; i++)
            cr_assert(few[i].token == whole[i].token && few[i].logprob == whole[i].logprob);
        cr_assert_not(st_top_logprobs(r.all, n_candidate, 1, &r.stats, n, few));
    }
}
