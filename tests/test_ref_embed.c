#include "tests/support/op_case.h"
#include "tests/support/random_matrix.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_TOKEN = 4, N_VOCAB = 9 };
static const int32_t tokens[N_TOKEN] = {8, 0, -7, 3}; /* the third row is padding */

/* +1 or -1: entry (i, j) of the Sylvester-Hadamard matrix. */
static int hadamard(int i, int j)
{
    int sign = 1;
    for (int both = i & j; both; both &= both - 1)
        sign = -sign;
    return sign;
}

static void check(st_type type, int32_t cols, int32_t group, float scale, int32_t block, bool has_sign)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[N_TOKEN]){5, 6, -1, 0}, N_TOKEN, NULL, 0);
    c.batch.token = case_input(&c, tokens, sizeof tokens);
    random_matrix table = random_matrix_create(type, N_VOCAB, cols, group, group ? ST_F16 : ST_F32, true, 5);
    st_weight *weight;
    cr_assert_eq(c.backend->weight_create(c.dev, &table.m, 1, NULL, 1, NULL, &weight, NULL), STERNA_OK);
    float *sign = malloc((size_t)cols * sizeof *sign);
    cr_assert_not_null(sign);
    for (int32_t k = 0; k < cols; k++)
        sign[k] = k % 3 ? 1 : -1;
    st_embed_args args = {.table = weight,
                          .scale = scale,
                          .rotation.block = block,
                          .dst = case_output(&c, (size_t)N_TOKEN * (size_t)cols * sizeof(float))};
    if (has_sign)
        args.rotation.sign = case_input(&c, sign, (size_t)cols * sizeof *sign);
    CASE_RUN(&c, embed, &args);
    const float *y = case_data(&c, args.dst);
    for (int r = 0; r < N_TOKEN; r++)
        for (int32_t k = 0; k < cols; k++) {
            if (r == 2) {
                cr_assert(case_untouched(y + r * cols, cols));
                continue;
            }
            double want = block ? 0 : random_matrix_value(&table, tokens[r], k);
            int32_t base = block ? k / block * block : 0;
            for (int32_t j = 0; j < block; j++)
                want +=
                    hadamard(k - base, j) * random_matrix_value(&table, tokens[r], base + j) / sqrt(block);
            want *= (double)scale * (block && has_sign ? (double)sign[k] : 1);
            double got = (double)y[r * cols + k], bound = block ? 1e-5 : 0;
            cr_assert(fabs(got - want) <= bound, "%s %d columns, block %d, row %d column %d: %.9g, not %.9g",
                      st_type_name(type), cols, block, r, k, got, want);
        }
    c.backend->weight_destroy(c.dev, weight);
    case_close(&c);
    random_matrix_free(&table);
    free(sign);
}

Test(embed, every_type_exactly)
{
    const st_type types[] = {ST_TERNARY, ST_Q8, ST_F16, ST_BF16, ST_F32};
    for (int t = 0; t < 5; t++)
        for (int32_t cols = 1; cols < 300; cols += 49)
            for (int32_t group = 0; group <= (t < 2 ? 128 : 0); group += 32)
                if (group != 96) {
                    check(types[t], cols, group, 1, 0, false);
                    check(types[t], cols, group, -0.5f, 0, true); /* a sign without a block is nothing */
                }
}

Test(embed, rotation_is_undone)
{
    for (int32_t block = 1; block <= 256; block *= 2)
        for (int sign = 0; sign < 2; sign++) {
            check(ST_TERNARY, 256, 64, 2, block, sign);
            check(ST_F32, 256, 0, 1, block, sign);
        }
    check(ST_TERNARY, 3 * 32, 32, 1, 32, true); /* three blocks */
}

/* (3 * scale) is rounded, then its product with the factor. */
Test(embed, two_roundings)
{
    int differ = 0; /* scales for which another order of the products gives other bits */
    for (int i = 0; i < 16; i++) {
        const int8_t three = 3;
        const float scale = 1.1f + 0.01f * (float)i;
        op_case c;
        case_open(&c, false);
        case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
        st_matrix m = {.type = ST_Q8,
                       .scale_type = ST_F32,
                       .rows = 1,
                       .cols = 1,
                       .row_bytes = 1,
                       .data = &three,
                       .scale = &scale};
        st_weight *w;
        cr_assert_eq(c.backend->weight_create(c.dev, &m, 1, NULL, 1, NULL, &w, NULL), STERNA_OK);
        st_embed_args args = {.table = w, .scale = 1.3f, .dst = case_output(&c, sizeof(float))};
        CASE_RUN(&c, embed, &args);
        volatile float value = 3 * scale, right = value * 1.3f, factor = scale * 1.3f, other = 3 * factor;
        cr_assert_eq(*(float *)case_data(&c, args.dst), right);
        differ += right != other;
        c.backend->weight_destroy(c.dev, w);
        case_close(&c);
    }
    cr_assert_gt(differ, 0);
}
