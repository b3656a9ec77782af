#include "tests/support/op_case.h"
#include "tests/support/qact_check.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_TOKEN = 3 };

static double activate(st_act act, double x)
{
    switch (act) {
    case ST_ACT_SILU:
        return x / (1 + exp(-x));
    case ST_ACT_RELU2:
        return x > 0 ? x * x : 0;
    case ST_ACT_GELU:
        break;
    }
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static void check(int32_t cols, st_act act, bool norm, bool rotate, int32_t act_group)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[N_TOKEN]){4, -1, 0}, N_TOKEN, NULL, 0);
    uint32_t state = (uint32_t)cols;
    size_t row_bytes = (size_t)cols * sizeof(float);
    float *x = malloc(2 * N_TOKEN * row_bytes), *weight = malloc(row_bytes), *sign = malloc(row_bytes);
    double *want = malloc((size_t)cols * sizeof *want);
    cr_assert(x && weight && sign && want);
    for (int32_t i = 0; i < 2 * cols * N_TOKEN; i++)
        x[i] = case_uniform(&state, 4);
    for (int32_t k = 0; k < cols; k++) {
        weight[k] = case_uniform(&state, 2);
        sign[k] = k % 2 ? -1 : 1;
    }
    st_glu_norm_quant_args args = {
        .src = case_input(&c, x, 2 * N_TOKEN * row_bytes),
        .act = act,
        .eps = 1e-6f,
        .dst = {.max_row = N_TOKEN, .cols = cols, .act_group = act_group, .sum_group = 32}};
    if (norm)
        args.weight = case_input(&c, weight, row_bytes);
    if (rotate)
        args.rotation = (st_rotation){.block = 2, .sign = case_input(&c, sign, row_bytes)};
    args.dst.buf = case_output(&c, st_qact_planes(&args.dst).bytes);
    const unsigned char *planes = case_data(&c, args.dst.buf);
    CASE_RUN(&c, glu_norm_quant, &args);
    for (int r = 0; r < N_TOKEN; r++) {
        if (r == 1) {
            cr_assert(qact_untouched(&args.dst, planes, r));
            continue;
        }
        const float *gate = x + 2 * r * cols, *up = gate + cols;
        double squares = 0;
        for (int32_t k = 0; k < cols; k++) {
            want[k] = activate(act, (double)gate[k]) * (double)up[k];
            squares += want[k] * want[k];
        }
        for (int32_t k = 0; norm && k < cols; k++)
            want[k] = want[k] / sqrt(squares / cols + 1e-6) * (double)weight[k];
        for (int32_t k = 0; rotate && k < cols; k += 2) { /* signs + and -, blocks of two */
            double a = want[k], b = -want[k + 1];
            want[k] = (a + b) / sqrt(2), want[k + 1] = (a - b) / sqrt(2);
        }
        /* GELU's 1 + tanh cancels for gates near -4, by design of its definition. */
        const char *wrong = qact_wrong(&args.dst, planes, r, want, act == ST_ACT_GELU ? 1e-4 : 4e-6);
        cr_assert(!wrong, "%d columns, act %d, norm %d, rotation %d, row %d: %s", cols, (int)act, norm,
                  rotate, r, wrong);
    }
    case_close(&c);
    free(x);
    free(weight);
    free(sign);
    free(want);
}

Test(glu_norm_quant, every_activation)
{
    const int32_t columns[] = {2, 32, 90, 514};
    for (int act = ST_ACT_SILU; act <= ST_ACT_GELU; act++)
        for (int k = 0; k < 4; k++)
            for (int bits = 0; bits < 8; bits++)
                check(columns[k], (st_act)act, bits & 1, bits & 2, bits & 4 ? 64 : 0);
}

/* A NaN gate must not vanish, whatever the activation. */
Test(glu_norm_quant, nan_shows_in_the_scale)
{
    for (int act = ST_ACT_SILU; act <= ST_ACT_GELU; act++)
        for (int at = 0; at < 4; at++) {
            float x[4] = {1, -1, 1, 1}; /* gate, gate, up, up */
            x[at] = NAN;
            op_case c;
            case_open(&c, false);
            case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
            st_glu_norm_quant_args args = {
                .src = case_input(&c, x, sizeof x), .act = (st_act)act, .dst = {.max_row = 1, .cols = 2}};
            args.dst.buf = case_output(&c, st_qact_planes(&args.dst).bytes);
            CASE_RUN(&c, glu_norm_quant, &args);
            const unsigned char *planes = case_data(&c, args.dst.buf);
            cr_assert(isnan(*(const float *)(const void *)(planes + 128)), "act %d, element %d", act, at);
            case_close(&c);
        }
}
