#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_TOKEN = 4, N_OUT = 4, MAX_ADJUST = 5 };

typedef struct pair {
    int32_t token;
    float value;
} pair;

/* NaN first, then descending, ties by ascending token. */
static int in_order(const void *a, const void *b)
{
    const pair *p = a, *q = b;
    int nan_p = p->value != p->value, nan_q = q->value != q->value;
    if (nan_p != nan_q)
        return nan_q - nan_p;
    if (!nan_p && p->value != q->value)
        return p->value > q->value ? -1 : 1;
    return p->token - q->token;
}

static void check_stats(const float *l, int32_t n, float max, float sum_exp)
{
    float top = l[0];
    double sum = 0;
    for (int32_t i = 1; i < n; i++)
        top = l[i] > top ? l[i] : top;
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)l[i] - (double)top);
    cr_assert_eq(max, top);
    cr_assert(fabs((double)sum_exp - sum) <= 2e-6 * sum, "%.9g, not %.9g", (double)sum_exp, sum);
}

static void check_row(const float *raw, const float *adjusted, int32_t n, int32_t k, int32_t want,
                      const st_candidate *got, const st_topk_stats *stats)
{
    pair *all = malloc((size_t)n * sizeof *all);
    cr_assert_not_null(all);
    for (int32_t i = 0; i < n; i++)
        all[i] = (pair){i, adjusted[i]};
    qsort(all, (size_t)n, sizeof *all, in_order);
    for (int32_t i = 0; i < k; i++) {
        cr_assert_eq(got[i].token, all[i].token, "candidate %d is %d, not %d", i, got[i].token, all[i].token);
        cr_assert_eq(st_bits(got[i].value), st_bits(adjusted[got[i].token]));
        cr_assert_eq(st_bits(got[i].raw), st_bits(raw[got[i].token]));
    }
    check_stats(raw, n, stats->max, stats->sum_exp);
    check_stats(adjusted, n, stats->adjusted_max, stats->adjusted_sum_exp);
    cr_assert_eq(stats->want, want < 0 ? 0 : raw[want]);
    cr_assert_eq(stats->want_adjusted, want < 0 ? 0 : adjusted[want]);
    free(all);
}

/* `levels` > 0 draws logits from that many values: many ties. */
static void check(int32_t n, int32_t k, int32_t n_adjust, uint32_t levels)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[N_TOKEN]){0, 1, 2, 3}, N_TOKEN, (const int32_t[N_OUT]){2, -1, 0, 3}, N_OUT);
    uint32_t state = (uint32_t)(n * 31 + k);
    float *logits = malloc((size_t)(N_OUT * n) * sizeof *logits),
          *adjusted = malloc((size_t)(N_OUT * n) * sizeof *logits);
    cr_assert(logits && adjusted);
    for (int32_t i = 0; i < N_OUT * n; i++) {
        logits[i] = levels ? (float)(case_random(&state) % levels) - 1 : case_uniform(&state, 12);
        adjusted[i] = logits[i];
    }
    st_adjustment adjust[N_OUT * MAX_ADJUST];
    memset(adjust, 0xff, sizeof adjust);
    int32_t counts[N_OUT], want[N_OUT] = {n - 1, 0, -1, n / 2};
    for (int32_t r = 0; r < N_OUT; r++) {
        counts[r] = n_adjust > r ? n_adjust - r : 0;
        for (int32_t i = 0; i < counts[r]; i++) {
            st_adjustment *a = &adjust[r * n_adjust + i];
            *a = (st_adjustment){.token = i * n / n_adjust,
                                 .positive = 0.5f,
                                 .negative = 2,
                                 .add = i == 2 ? -INFINITY : 1.5f * (float)i};
            float *l = &adjusted[r * n + a->token];
            *l = *l > 0 ? *l * 0.5f + a->add : *l * 2 + a->add;
        }
    }
    st_topk_args args = {.logits = case_input(&c, logits, (size_t)(N_OUT * n) * sizeof *logits),
                         .n_vocab = n,
                         .k = k,
                         .max_adjust = n_adjust,
                         .want = case_input(&c, want, sizeof want),
                         .candidates = case_output(&c, (size_t)(N_OUT * k) * sizeof(st_candidate)),
                         .stats = case_output(&c, N_OUT * sizeof(st_topk_stats))};
    if (n_adjust) {
        args.adjust = case_input(&c, adjust, (size_t)(N_OUT * n_adjust) * sizeof *adjust);
        args.n_adjust = case_input(&c, counts, sizeof counts);
    }
    CASE_RUN(&c, topk, &args);
    const st_candidate *got = case_data(&c, args.candidates);
    const st_topk_stats *stats = case_data(&c, args.stats);
    for (int32_t r = 0; r < N_OUT; r++)
        if (r == 1) {
            cr_assert(case_untouched(&got[r * k].value, 2));
            cr_assert(case_untouched(&stats[r].max, 6));
        } else {
            check_row(logits + r * n, adjusted + r * n, n, k, want[r], got + r * k, &stats[r]);
        }
    case_close(&c);
    free(logits);
    free(adjusted);
}

Test(topk, against_sorting)
{
    const int32_t sizes[] = {5, 17, 256, 1000, 5003};
    for (int s = 0; s < 5; s++)
        for (int32_t n_adjust = 0; n_adjust <= MAX_ADJUST; n_adjust += 5)
            for (uint32_t levels = 0; levels <= 6; levels += 3) {
                check(sizes[s], 1, n_adjust, levels);
                check(sizes[s], sizes[s] < ST_MAX_TOPK ? sizes[s] : ST_MAX_TOPK, n_adjust, levels);
                check(sizes[s], 4, n_adjust, levels);
            }
}

/* One row without adjustments. */
static st_topk_stats run_row(const float *logits, int32_t n, int32_t k, st_candidate *best)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, (const int32_t[]){0}, 1);
    const int32_t want = 0;
    st_topk_args args = {.logits = case_input(&c, logits, (size_t)n * sizeof *logits),
                         .n_vocab = n,
                         .k = k,
                         .want = case_input(&c, &want, sizeof want),
                         .candidates = case_output(&c, (size_t)k * sizeof *best),
                         .stats = case_output(&c, sizeof(st_topk_stats))};
    CASE_RUN(&c, topk, &args);
    memcpy(best, case_data(&c, args.candidates), (size_t)k * sizeof *best);
    st_topk_stats stats = *(const st_topk_stats *)case_data(&c, args.stats);
    case_close(&c);
    return stats;
}

Test(topk, nan_comes_first_and_shows)
{
    const float logits[6] = {1, NAN, INFINITY, -INFINITY, -NAN, 3};
    const int32_t want[6] = {1, 4, 2, 5, 0, 3};
    st_candidate best[6];
    st_topk_stats stats = run_row(logits, 6, 6, best);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(best[i].token, want[i], "candidate %d is %d", i, best[i].token);
    cr_assert(isnan(stats.max) && isnan(stats.sum_exp) && isnan(stats.adjusted_max));
    cr_assert_eq(stats.want, 1);
    run_row(logits, 6, 1, best);
    cr_assert_eq(best[0].token, 1);
}

Test(topk, zeros_are_equal)
{
    const float logits[4] = {-1, -0.0f, 0.0f, -0.0f};
    st_candidate best[3];
    st_topk_stats stats = run_row(logits, 4, 3, best);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(best[i].token, i + 1);
    cr_assert_eq(st_bits(best[0].value), 0x80000000); /* the value is as computed */
    cr_assert_eq(st_bits(stats.max), 0);              /* the maximum is never -0 */
}

/* 1 for token 0 and 0.69 * 2^-24 for two others, too little for 1 + p alone, but not if their lanes meet
 * first. */
Test(topk, the_normaliser_is_a_lane_sum)
{
    float logits[1024];
    for (int i = 0; i < 1024; i++)
        logits[i] = -60;
    logits[0] = 17, logits[513] = 0, logits[1 + 256] = 0; /* both in lane 1 */
    st_candidate best;
    cr_assert_eq(run_row(logits, 1024, 1, &best).sum_exp, 1 + 0x1p-23f);
    logits[513] = -60, logits[257] = -60, logits[128] = 0, logits[384] = 0; /* both in lane 128, not lane 0 */
    cr_assert_eq(run_row(logits, 1024, 1, &best).sum_exp, 1 + 0x1p-23f);
    logits[128] = -60, logits[384] = -60, logits[257] = 0,
    logits[512] = 0; /* lane 0 drops this one, and lane 1 alone is lost too */
    cr_assert_eq(run_row(logits, 1024, 1, &best).sum_exp, 1);
}

/* l * factor is rounded before `add`; the factor is chosen by the sign of l, and 0 counts as negative. */
Test(topk, adjustment_by_hand)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, (const int32_t[]){0}, 1);
    const float u = 1 + 0x1p-23f, logits[4] = {u, -u, 0, 5};
    const st_adjustment adjust[3] = {
        {0, u, 100, -(1 + 0x1p-22f)}, {1, 100, u, 1 + 0x1p-22f}, {2, 100, 1, -7}};
    const int32_t count = 3, want = 2;
    st_topk_args args = {.logits = case_input(&c, logits, sizeof logits),
                         .n_vocab = 4,
                         .k = 4,
                         .max_adjust = 3,
                         .adjust = case_input(&c, adjust, sizeof adjust),
                         .n_adjust = case_input(&c, &count, sizeof count),
                         .want = case_input(&c, &want, sizeof want),
                         .candidates = case_output(&c, 4 * sizeof(st_candidate)),
                         .stats = case_output(&c, sizeof(st_topk_stats))};
    CASE_RUN(&c, topk, &args);
    const st_candidate *best = case_data(&c, args.candidates);
    const st_topk_stats *stats = case_data(&c, args.stats);
    cr_assert_eq(best[0].token, 3);
    cr_assert(best[1].token == 0 && best[1].value == 0 && best[1].raw == u); /* an fma would leave 2^-46 */
    cr_assert(best[2].token == 1 && best[2].value == 0 && best[2].raw == -u);
    cr_assert(best[3].token == 2 && best[3].value == -7 && best[3].raw == 0);
    cr_assert(stats->want == 0 && stats->want_adjusted == -7);
    cr_assert(stats->max == 5 && stats->adjusted_max == 5);
    case_close(&c);
}
