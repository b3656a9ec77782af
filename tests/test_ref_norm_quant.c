#include "tests/support/op_case.h"
#include "tests/support/qact_check.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_TOKEN = 3 };

typedef struct shape {
    int32_t cols, act_group, sum_group, block;
    bool weight, sign;
    st_rows rows;
    float range;
} shape;

/* Entry (i, j) of the Sylvester-Hadamard matrix. */
static int hadamard(int i, int j)
{
    int sign = 1;
    for (int both = i & j; both; both &= both - 1)
        sign = -sign;
    return sign;
}

/* Norm and rotation of one row in double. */
static void expect(const shape *s, const float *x, const float *weight, const float *sign, double eps,
                   double *y)
{
    double squares = 0, *flat = malloc((size_t)s->cols * sizeof *flat);
    cr_assert_not_null(flat);
    for (int32_t k = 0; k < s->cols; k++)
        squares += (double)x[k] * (double)x[k];
    for (int32_t k = 0; k < s->cols; k++) {
        flat[k] = s->weight ? (double)x[k] / sqrt(squares / s->cols + eps) * (double)weight[k] : (double)x[k];
        if (s->block && s->sign)
            flat[k] *= (double)sign[k];
    }
    for (int32_t k = 0; k < s->cols; k++) {
        int32_t base = s->block ? k / s->block * s->block : 0;
        y[k] = s->block ? 0 : flat[k];
        for (int32_t j = 0; j < s->block; j++)
            y[k] += hadamard(k - base, j) * flat[base + j] / sqrt(s->block);
    }
    free(flat);
}

static void check(const shape *s)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[N_TOKEN]){4, -1, 9}, N_TOKEN, (const int32_t[N_TOKEN]){2, -1, 0}, N_TOKEN);
    uint32_t state = (uint32_t)s->cols;
    size_t row_bytes = (size_t)s->cols * sizeof(float);
    float *x = malloc(N_TOKEN * row_bytes), *weight = malloc(row_bytes), *sign = malloc(row_bytes);
    double *want = malloc((size_t)s->cols * sizeof *want);
    cr_assert(x && weight && sign && want);
    for (int32_t i = 0; i < s->cols * N_TOKEN; i++)
        x[i] = case_uniform(&state, s->range);
    for (int32_t k = 0; k < s->cols; k++) {
        weight[k] = case_uniform(&state, 2);
        sign[k] = case_random(&state) & 1 ? -1 : 1;
    }
    st_norm_quant_args args = {.src = case_input(&c, x, N_TOKEN * row_bytes),
                               .eps = 1e-5f,
                               .rows = s->rows,
                               .dst = {.max_row = N_TOKEN + 1,
                                       .cols = s->cols,
                                       .act_group = s->act_group,
                                       .sum_group = s->sum_group},
                               .rotation.block = s->block};
    if (s->weight)
        args.weight = case_input(&c, weight, row_bytes);
    if (s->sign)
        args.rotation.sign = case_input(&c, sign, row_bytes);
    args.dst.buf = case_output(&c, st_qact_planes(&args.dst).bytes);
    const unsigned char *planes = case_data(&c, args.dst.buf);
    CASE_RUN(&c, norm_quant, &args);
    for (int r = 0; r < N_TOKEN; r++) {
        if (r == 1) {
            cr_assert(qact_untouched(&args.dst, planes, r));
            continue;
        }
        expect(s, x + (s->rows == ST_ROWS_OUT ? 2 - r : r) * s->cols, weight, sign, 1e-5, want);
        const char *wrong = qact_wrong(&args.dst, planes, r, want, 4e-6);
        cr_assert(!wrong, "%d columns, groups %d and %d, block %d, row %d: %s", s->cols, s->act_group,
                  s->sum_group, s->block, r, wrong);
    }
    cr_assert(qact_untouched(&args.dst, planes, N_TOKEN)); /* a row that the batch does not have */
    case_close(&c);
    free(x);
    free(weight);
    free(sign);
    free(want);
}

Test(norm_quant, groups_and_rows)
{
    const int32_t groups[] = {0, 32, 64, 128, 256}, columns[] = {1, 31, 32, 100, 128, 300};
    for (int a = 0; a < 5; a++)
        for (int s = 0; s < 5; s++)
            for (int k = 0; k < 6; k++)
                check(&(shape){.cols = columns[k],
                               .act_group = groups[a],
                               .sum_group = groups[s],
                               .weight = k % 2,
                               .rows = (st_rows)(s % 2),
                               .range = 5});
}

Test(norm_quant, rotation)
{
    for (int32_t block = 1; block <= 256; block *= 4)
        for (int bits = 0; bits < 4; bits++)
            check(&(shape){.cols = 256,
                           .act_group = bits & 1 ? 64 : 0,
                           .sum_group = 32,
                           .block = block,
                           .weight = bits & 1,
                           .sign = bits & 2,
                           .range = 2});
    check(&(shape){.cols = 96, .block = 32, .sign = true, .weight = true, .range = 1});
}

Test(norm_quant, small_rows_keep_the_floor_of_the_scale)
{
    check(&(shape){.cols = 64, .range = 2e-6f}); /* below the floor of 1e-5: codes of up to 25 */
    check(&(shape){.cols = 64, .range = 0});
}

/* By hand: scale 1 / 8 of a row whose greatest element is 127 / 8. */
Test(norm_quant, codes_round_to_even)
{
    const float x[6] = {15.875f, 0.0625f, 0.1875f, -0.3125f, -0.0625f, -15.875f};
    const int8_t want[6] = {127, 0, 2, -2, 0, -127};
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    st_norm_quant_args args = {.src = case_input(&c, x, sizeof x), .dst = {.max_row = 1, .cols = 6}};
    args.dst.buf = case_output(&c, st_qact_planes(&args.dst).bytes);
    CASE_RUN(&c, norm_quant, &args);
    const unsigned char *planes = case_data(&c, args.dst.buf);
    cr_assert_arr_eq(planes, want, 6);
    cr_assert_eq(*(const float *)(const void *)(planes + 128), 0.125f);
    cr_assert_eq(*(const int32_t *)(const void *)(planes + 128 + 64), 0);
    case_close(&c);
}

Test(norm_quant, nan_and_infinity_show_in_the_scale)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        float x[64] = {[3] = 1, [40] = bad[i]};
        op_case c;
        case_open(&c, false);
        case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
        st_norm_quant_args args = {.src = case_input(&c, x, sizeof x),
                                   .dst = {.max_row = 1, .cols = 64, .act_group = 32, .sum_group = 32}};
        args.dst.buf = case_output(&c, st_qact_planes(&args.dst).bytes);
        CASE_RUN(&c, norm_quant, &args);
        const unsigned char *planes = case_data(&c, args.dst.buf);
        const float *scale = (const float *)(const void *)(planes + 128);
        cr_assert_eq(scale[0], 1.0f / 127.0f);
        cr_assert(i == 0 ? isnan(scale[1]) : isinf(scale[1]));
        cr_assert_eq(planes[3], 127);
        cr_assert_eq(planes[40], 0);
        case_close(&c);
    }
}
