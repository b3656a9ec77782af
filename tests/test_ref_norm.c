#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_TOKEN = 3 };

/* Expected y of one row, in double. */
static void expect(const float *x, const float *weight, int dim, double eps, double *y)
{
    double squares = 0;
    for (int i = 0; i < dim; i++)
        squares += (double)x[i] * (double)x[i];
    for (int i = 0; i < dim; i++)
        y[i] = (double)x[i] / sqrt(squares / dim + eps) * (double)weight[i];
}

static void check(int dim, bool accumulate, st_rows rows, float range, float eps)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[N_TOKEN]){4, -1, 9}, N_TOKEN, (const int32_t[N_TOKEN]){2, -1, 0}, N_TOKEN);
    uint32_t state = (uint32_t)dim;
    size_t bytes = (size_t)dim * N_TOKEN * sizeof(float);
    float *x = malloc(bytes), *weight = malloc((size_t)dim * sizeof *weight);
    double *want = malloc((size_t)dim * sizeof *want);
    cr_assert(x && weight && want);
    for (int i = 0; i < dim * N_TOKEN; i++)
        x[i] = case_uniform(&state, range);
    for (int i = 0; i < dim; i++)
        weight[i] = case_uniform(&state, 2);
    st_norm_args args = {.src = case_input(&c, x, bytes),
                         .dst = case_output(&c, bytes),
                         .weight = case_input(&c, weight, (size_t)dim * sizeof *weight),
                         .dim = dim,
                         .eps = eps,
                         .accumulate = accumulate,
                         .rows = rows};
    float *y = case_data(&c, args.dst);
    for (int i = 0; accumulate && i < dim * N_TOKEN; i++)
        y[i] = 0.5f;
    CASE_RUN(&c, norm, &args);
    for (int r = 0; r < N_TOKEN; r++) {
        if (r == 1) {
            cr_assert(accumulate ? y[dim] == 0.5f : case_untouched(y + dim, dim));
            continue;
        }
        expect(x + (rows == ST_ROWS_OUT ? 2 - r : r) * dim, weight, dim, (double)eps, want);
        for (int i = 0; i < dim; i++) {
            double w = want[i] + (accumulate ? 0.5 : 0), got = (double)y[r * dim + i];
            cr_assert(fabs(got - w) <= 1e-6 * (fabs(w) + 1), "dim %d row %d column %d: %.9g, not %.9g", dim,
                      r, i, got, w);
        }
    }
    case_close(&c);
    free(x);
    free(weight);
    free(want);
}

Test(norm, against_double)
{
    for (int dim = 1; dim < 1200; dim += dim < 40 ? 13 : 251)
        for (int accumulate = 0; accumulate < 2; accumulate++)
            for (int rows = 0; rows < 2; rows++)
                check(dim, accumulate, (st_rows)rows, 3, 1e-5f);
    check(64, false, ST_ROWS_TOKEN, 1e-4f, 1e-3f); /* eps weighs more than the mean of squares */
}

/* One row of 512 columns with weight `weight` in place; returns y[0] and y[1]. */
static void run_row(float x[512], float weight, float eps)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    float w[512];
    for (int i = 0; i < 512; i++)
        w[i] = weight;
    st_norm_args args = {
        .src = case_output(&c, sizeof w), .weight = case_input(&c, w, sizeof w), .dim = 512, .eps = eps};
    args.dst = (st_buf *)args.src; /* in place */
    memcpy(case_data(&c, args.src), x, sizeof w);
    CASE_RUN(&c, norm, &args);
    memcpy(x, case_data(&c, args.src), sizeof w);
    case_close(&c);
}

/* Squares 2^24, 1, 1 in lanes 0, 1, 3 sum to 2^24 + 2, which no left-to-right sum finds. */
Test(norm, squares_sum_in_256_lanes)
{
    float x[512] = {[0] = 4096, [1] = 1, [3] = 1};
    volatile float mean = 16777218.0f / 512.0f, other = 16777216.0f / 512.0f;
    volatile float factor = 1.0f / sqrtf(mean), wrong = 1.0f / sqrtf(other);
    cr_assert_neq(factor, wrong);
    run_row(x, 1, 0);
    cr_assert_eq(x[1], factor);
    cr_assert_eq(x[0], 4096 * factor);
    cr_assert_eq(x[2], 0);
}

Test(norm, factor_before_weight)
{
    int differ = 0; /* weights for which another order of the two products gives other bits */
    for (int i = 0; i < 32; i++) {
        float x[512], weight = 0.7f + 0.01f * (float)i;
        for (int k = 0; k < 512; k++)
            x[k] = 1.7f;
        volatile float sum = 1.7f * 1.7f;
        for (int doubling = 0; doubling < 9; doubling++) /* 512 equal squares, folded in pairs: exact */
            sum = sum + sum;
        volatile float mean = sum / 512.0f, factor = 1.0f / sqrtf(mean), y = 1.7f * factor,
                       z = factor * weight;
        y = y * weight, z = 1.7f * z;
        run_row(x, weight, 0);
        for (int k = 0; k < 512; k++)
            cr_assert_eq(x[k], y);
        differ += y != z;
    }
    cr_assert_gt(differ, 0);
}

Test(norm, nan_shows_in_the_whole_row)
{
    float x[512] = {[7] = NAN};
    run_row(x, 1, 1e-5f);
    for (int i = 0; i < 512; i++)
        cr_assert(isnan(x[i]));
}
