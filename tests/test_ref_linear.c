#include "tests/support/op_case.h"
#include "tests/support/random_matrix.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- quantised inputs, laid out by the header's comment ---- */

/* int8 rows with scales of powers of two, so that sums in f32 are exact. */
static st_qact quantised_input(op_case *c, int32_t rows, int32_t cols, int32_t act_group, int32_t sum_group,
                               uint32_t seed)
{
    st_qact q = {.max_row = rows, .cols = cols, .act_group = act_group, .sum_group = sum_group};
    st_qact_layout at = st_qact_planes(&q);
    unsigned char *planes = calloc(at.bytes, 1);
    cr_assert_not_null(planes);
    float *scale = (float *)(void *)(planes + at.scale_offset);
    int32_t *sum = (int32_t *)(void *)(planes + at.sum_offset);
    for (int32_t r = 0; r < rows; r++) {
        for (int32_t k = 0; k < cols; k++) {
            int8_t code = (int8_t)((int)(case_random(&seed) % 255) - 127);
            ((int8_t *)planes)[(size_t)r * at.stride + (size_t)k] = code;
            sum[r * at.n_sum + (sum_group ? k / sum_group : 0)] += code;
        }
        for (int32_t g = 0; g < at.n_scale; g++)
            scale[r * at.n_scale + g] = ldexpf(1, (int)(case_random(&seed) % 5) - 4);
    }
    q.buf = case_input(c, planes, at.bytes);
    free(planes);
    return q;
}

static int code_of(const op_case *c, const st_qact *q, int32_t r, int32_t k)
{
    return ((const int8_t *)case_data(c, q->buf))[(size_t)r * st_qact_planes(q).stride + (size_t)k];
}

static float *scales_of(const op_case *c, const st_qact *q, int32_t r)
{
    st_qact_layout at = st_qact_planes(q);
    unsigned char *planes = case_data(c, q->buf);
    return (float *)(void *)(planes + at.scale_offset) + r * at.n_scale;
}

static double scale_of(const op_case *c, const st_qact *q, int32_t r, int32_t k)
{
    return scales_of(c, q, r)[q->act_group ? k / q->act_group : 0];
}

static int32_t segment(int32_t a, int32_t b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}

/* A description of one case; the values are such that every f32 operation is exact, and so is the double
 * expectation. */
typedef struct shape {
    st_type type;
    bool quant; /* int8 input */
    int32_t rows, cols, group;
    st_type scale_type;
    int32_t act_group;
    bool code3, bias, accumulate;
    float out_scale;
    int32_t n_outlier; /* in rows 0, 0 and 1 */
} shape;

enum { N_TOKEN = 4, COLUMN = 3, GAP = 2 };

/* Outliers of every shape that has some. */
static const int32_t outlier_row[3] = {0, 0, 1};
static const uint16_t outlier_f16[3] = {0x4400, 0xc800, 0x3800};
static const double outlier_value[3] = {4, -8, 0.5};

/* Input of row r, column k, as a double: x or the quantised codes. */
static double input_of(const op_case *c, const shape *s, const st_qact *q, const float *x, int32_t r,
                       int32_t k)
{
    return s->quant ? code_of(c, q, r, k) * scale_of(c, q, r, k) : (double)x[r * s->cols + k];
}

static double expected(const op_case *c, const shape *s, const random_matrix *w, const st_qact *q,
                       const float *x, const float *bias, const int32_t *outlier_col, int32_t r, int32_t n)
{
    double want = 0;
    for (int32_t k = 0; k < s->cols; k++)
        want += random_matrix_value(w, n, k) * input_of(c, s, q, x, r, k);
    want = want * (double)s->out_scale + (s->bias ? (double)bias[n] : 0) + (s->accumulate ? r - n : 0);
    for (int32_t i = 0; i < s->n_outlier; i++)
        if (outlier_row[i] == n)
            want += outlier_value[i] * input_of(c, s, q, x, r, outlier_col[i]);
    return want;
}

static void check_shape(const shape *s)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[N_TOKEN]){0, 1, -1, 2}, N_TOKEN, NULL, 0);
    random_matrix w = random_matrix_create(s->type, s->rows, s->cols, s->group, s->scale_type, s->code3, 7);
    uint32_t state = 99;
    float *bias = calloc((size_t)s->rows, sizeof *bias);
    cr_assert_not_null(bias);
    for (int32_t n = 0; n < s->rows; n++)
        bias[n] = (float)(case_random(&state) % 64) / 4;
    const int32_t col[3] = {1, s->cols - 1, s->cols / 2};
    st_outliers outliers = {.count = s->n_outlier, .row = outlier_row, .col = col, .f16 = outlier_f16};
    st_weight *weight;
    cr_assert_eq(c.backend->weight_create(c.dev, &w.m, 1, s->bias ? bias : NULL, s->out_scale,
                                          s->n_outlier ? &outliers : NULL, &weight, NULL),
                 STERNA_OK);

    int32_t stride = COLUMN + s->rows + GAP;
    st_qact q = {0};
    float *x = calloc((size_t)N_TOKEN * (size_t)s->cols, sizeof *x);
    cr_assert_not_null(x);
    for (int32_t i = 0; i < N_TOKEN * s->cols; i++)
        x[i] = (float)((int)(case_random(&state) % 33) - 16) / 8;
    st_linear_args args = {.weight = weight, .column = COLUMN, .stride = stride, .accumulate = s->accumulate};
    if (s->quant) {
        q = quantised_input(&c, N_TOKEN, s->cols, s->act_group, segment(s->group, s->act_group), 3);
        args.quant = &q;
    } else {
        args.src = case_input(&c, x, (size_t)N_TOKEN * (size_t)s->cols * sizeof *x);
    }
    args.dst = case_output(&c, (size_t)N_TOKEN * (size_t)stride * sizeof(float));
    float *y = case_data(&c, args.dst);
    for (int32_t r = 0; s->accumulate && r < N_TOKEN; r++)
        for (int32_t n = 0; n < s->rows; n++)
            y[r * stride + COLUMN + n] = (float)(r - n);
    CASE_RUN(&c, linear, &args);

    for (int32_t r = 0; r < N_TOKEN; r++) {
        if (r == 2) { /* padding: as it was */
            cr_assert(s->accumulate || case_untouched(y + r * stride, stride));
            cr_assert(!s->accumulate || y[r * stride + COLUMN] == (float)r);
            continue;
        }
        cr_assert(case_untouched(y + r * stride, COLUMN));
        cr_assert(case_untouched(y + r * stride + COLUMN + s->rows, GAP));
        for (int32_t n = 0; n < s->rows; n++) {
            double want = expected(&c, s, &w, &q, x, bias, col, r, n);
            cr_assert_eq((double)y[r * stride + COLUMN + n], want,
                         "%s %dx%d group %d act %d row %d out %d: %.9g, not %.9g", st_type_name(s->type),
                         s->rows, s->cols, s->group, s->act_group, r, n, (double)y[r * stride + COLUMN + n],
                         want);
        }
    }
    c.backend->weight_destroy(c.dev, weight);
    case_close(&c);
    random_matrix_free(&w);
    free(bias);
    free(x);
}

Test(linear, every_group_pair_is_exact)
{
    const int32_t groups[] = {0, 32, 64, 128, 256}, columns[] = {1, 31, 100, 256, 1100};
    for (int g = 0; g < 5; g++)
        for (int a = 0; a < 5; a++)
            for (int k = 0; k < 5; k++) {
                shape s = {.type = ST_TERNARY,
                           .quant = true,
                           .rows = 3,
                           .cols = columns[k],
                           .group = groups[g],
                           .act_group = groups[a],
                           .out_scale = 1,
                           .scale_type = groups[g] ? ST_F16 : ST_F32};
                check_shape(&s);
                s.type = ST_Q8;
                s.scale_type = groups[g] ? ST_BF16 : ST_F32;
                check_shape(&s);
            }
}

Test(linear, every_weight_type_with_f32_input)
{
    const st_type types[] = {ST_TERNARY, ST_Q8, ST_F16, ST_BF16, ST_F32};
    for (int t = 0; t < 5; t++)
        for (int32_t cols = 1; cols < 700; cols += 171)
            for (int32_t group = 0; group <= (t < 2 ? 64 : 0); group += 64)
                check_shape(&(shape){.type = types[t],
                                     .rows = 5,
                                     .cols = cols,
                                     .group = group,
                                     .scale_type = ST_F32,
                                     .out_scale = 1});
}

Test(linear, every_extra)
{
    for (int bits = 0; bits < 128; bits++)
        check_shape(&(shape){.type = ST_TERNARY,
                             .quant = bits & 1,
                             .rows = 4,
                             .cols = 70,
                             .group = bits & 32 ? 64 : 0,
                             .act_group = bits & 64 ? 32 : 0,
                             .scale_type = ST_F32,
                             .code3 = true,
                             .bias = bits & 2,
                             .accumulate = bits & 4,
                             .out_scale = bits & 8 ? 0.25f : 1,
                             .n_outlier = bits & 16 ? 3 : 0});
}

/* ---- bits that only the stated order gives ---- */

/* A 1 x cols int8 matrix, one token, all codes 1 or as given; returns y. */
typedef struct tiny {
    int32_t cols, group, act_group;
    const int8_t *weight;   /* [cols] */
    const float *scale;     /* [groups], row scale if group == 0 */
    const int8_t *code;     /* [cols], NULL: all 1 */
    const float *act_scale; /* [n_scale], NULL: all 1 */
    float out_scale;
    const float *bias, *old; /* one each, or NULL */
    const st_outliers *outliers;
} tiny;

static float run_tiny(const tiny *t)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    st_matrix m = {.type = ST_Q8,
                   .scale_type = ST_F32,
                   .rows = 1,
                   .cols = t->cols,
                   .group = t->group,
                   .row_bytes = (size_t)t->cols,
                   .data = t->weight,
                   .scale = t->scale};
    st_weight *weight;
    cr_assert_eq(c.backend->weight_create(c.dev, &m, 1, t->bias, t->out_scale == 0 ? 1 : t->out_scale,
                                          t->outliers, &weight, NULL),
                 STERNA_OK);
    st_qact q = {.max_row = 1,
                 .cols = t->cols,
                 .act_group = t->act_group,
                 .sum_group = segment(t->group, t->act_group)};
    st_qact_layout at = st_qact_planes(&q);
    q.buf = case_output(&c, at.bytes);
    unsigned char *planes = case_data(&c, q.buf);
    memset(planes, 0, at.bytes);
    for (int32_t k = 0; k < t->cols; k++) {
        ((int8_t *)planes)[k] = t->code ? t->code[k] : 1;
        ((int32_t *)(void *)(planes + at.sum_offset))[q.sum_group ? k / q.sum_group : 0] +=
            t->code ? t->code[k] : 1;
    }
    for (int32_t g = 0; g < at.n_scale; g++)
        ((float *)(void *)(planes + at.scale_offset))[g] = t->act_scale ? t->act_scale[g] : 1;
    st_linear_args args = {.weight = weight,
                           .quant = &q,
                           .dst = case_output(&c, sizeof(float)),
                           .stride = 1,
                           .accumulate = t->old != NULL};
    float *y = case_data(&c, args.dst), result;
    if (t->old)
        *y = *t->old;
    CASE_RUN(&c, linear, &args);
    result = *y;
    c.backend->weight_destroy(c.dev, weight);
    case_close(&c);
    return result;
}

#define TWO24 16777216.0f /* the next f32 is 2 away: adding 1 is a tie that returns to it */

Test(linear, groups_are_added_ascending)
{
    int8_t weight[96] = {[0] = 1, [32] = 1, [64] = 1};
    tiny t = {.cols = 96, .group = 32, .weight = weight};
    t.scale = (const float[]){TWO24, 1, 1};
    cr_assert_eq(run_tiny(&t), TWO24);
    t.scale = (const float[]){1, 1, TWO24};
    cr_assert_eq(run_tiny(&t), TWO24 + 2);
}

Test(linear, blocks_of_1024_are_summed_apart)
{
    static int8_t weight[3072];
    float scale[12] = {0};
    for (int g = 0; g < 12; g++)
        weight[g * 256] = 1;
    tiny t = {.cols = 3072, .group = 256, .weight = weight, .scale = scale};
    scale[3] = TWO24, scale[4] = 1, scale[5] = 1; /* 2^24 ends block 0; 1 + 1 is block 1 */
    cr_assert_eq(run_tiny(&t), TWO24 + 2);
    scale[3] = 0, scale[2] = TWO24, scale[3] = 1, scale[4] = 1, scale[5] = 0; /* 1 in block 0, 1 in block 1 */
    cr_assert_eq(run_tiny(&t), TWO24);
    scale[2] = 0, scale[3] = 0, scale[4] = 0;
    scale[0] = TWO24, scale[4] = 1, scale[8] = 1; /* blocks ascending, not the last two first */
    cr_assert_eq(run_tiny(&t), TWO24);
}

Test(linear, the_scales_are_multiplied_first)
{
    const float sw = 1.1f, sa = 1.3f;
    volatile float scale = sw * sa, isum = 7;
    volatile float right = isum * scale, left = isum * sw;
    left = left * sa;
    cr_assert_neq(right, left); /* else the values show nothing */
    tiny t = {.cols = 1, .weight = (const int8_t[]){7}, .scale = &sw, .act_scale = &sa};
    cr_assert_eq(run_tiny(&t), right);
}

Test(linear, one_segment_keeps_minus_zero)
{
    int8_t weight[64] = {0};
    tiny t = {.cols = 64, .weight = weight, .scale = (const float[]){-1, -1}};
    cr_assert_eq(st_bits(run_tiny(&t)), 0x80000000);
    t.group = 128; /* wider than the matrix: still one segment */
    cr_assert_eq(st_bits(run_tiny(&t)), 0x80000000);
    t.group = 32; /* a sum from +0 */
    cr_assert_eq(st_bits(run_tiny(&t)), 0);
}

Test(linear, scale_bias_old_outliers_in_this_order)
{
    const float bias = TWO24, one = 1, three = 3, scale = 1;
    const int32_t row = 0, col = 0;
    const uint16_t f16_one = 0x3c00;
    st_outliers outliers = {.count = 1, .row = &row, .col = &col, .f16 = &f16_one};
    tiny t = {.cols = 1,
              .weight = (const int8_t[]){0},
              .scale = &scale,
              .bias = &bias,
              .old = &one,
              .outliers = &outliers};
    cr_assert_eq(run_tiny(&t), TWO24); /* ((0 + 2^24) + 1) + 1 */
    t.bias = &one, t.old = &bias;
    cr_assert_eq(run_tiny(&t), TWO24); /* ((0 + 1) + 2^24) + 1 */
    t.old = &one, t.weight = (const int8_t[]){1}, t.out_scale = TWO24;
    cr_assert_eq(run_tiny(&t), TWO24); /* (2^24 + 1) + 1: the product comes first */
    t.old = &bias, t.out_scale = 1, t.outliers = NULL;
    cr_assert_eq(run_tiny(&t), TWO24 + 2); /* (1 + 1) + 2^24: the bias comes before the old value */
    t.out_scale = 0.5f, t.bias = &three, t.old = NULL, t.outliers = NULL;
    cr_assert_eq(run_tiny(&t), 3.5f); /* not (1 + 3) / 2 */
}

Test(linear, outliers_ascending_and_their_product)
{
    const int32_t row[3] = {0, 0, 0}, col[3] = {0, 1, 2};
    const float scale = 1;
    tiny t = {.cols = 3, .weight = (const int8_t[]){0, 0, 0}, .scale = &scale};
    st_outliers outliers = {.count = 3, .row = row, .col = col};
    t.outliers = &outliers;
    t.act_scale = &scale;
    t.code = (const int8_t[]){64, 1, 1};
    outliers.f16 = (const uint16_t[]){0x7800, 0x3000, 0x3000}; /* 2^-3: then twice half a step */
    cr_assert_eq(run_tiny(&t), 0x1p21f);
    t.code = (const int8_t[]){1, 1, 64};
    outliers.f16 = (const uint16_t[]){0x3000, 0x3000, 0x7800};
    cr_assert_eq(run_tiny(&t), 0x1p21f + 0.25f);

    const float sa = 1.3f;
    volatile float o = 1.0009765625f, q = 101, right = o * q, wrong = q * sa;
    right = right * sa, wrong = o * wrong;
    cr_assert_neq(right, wrong);
    tiny u = {.cols = 1,
              .weight = (const int8_t[]){0},
              .scale = &scale,
              .act_scale = &sa,
              .code = (const int8_t[]){101}};
    st_outliers single = {.count = 1, .row = row, .col = col, .f16 = (const uint16_t[]){0x3c01}};
    u.outliers = &single;
    cr_assert_eq(run_tiny(&u), right);
}

Test(linear, int8_sums_are_integers_to_the_limit)
{
    int8_t *weight = malloc(ST_MAX_COLS), *code = malloc(ST_MAX_COLS);
    cr_assert(weight && code);
    memset(weight, -128, ST_MAX_COLS);
    memset(code, 127, ST_MAX_COLS);
    const float scale = 1;
    tiny t = {.cols = ST_MAX_COLS, .weight = weight, .scale = &scale, .code = code};
    cr_assert_eq((double)run_tiny(&t), -128.0 * 127.0 * ST_MAX_COLS);
    code[0] = 126; /* -2130706304: between two f32 128 apart, and a tie to the even one */
    weight[0] = -127;
    cr_assert_eq((double)run_tiny(&t), (double)(float)(-128.0 * 127.0 * (ST_MAX_COLS - 1) - 127.0 * 126.0));
    free(weight);
    free(code);
}

Test(linear, f32_input_sums_256_lanes)
{
    float weight[512], x[512] = {0};
    for (int k = 0; k < 512; k++)
        weight[k] = 1;
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    st_matrix m = {.type = ST_F32,
                   .scale_type = ST_F32,
                   .rows = 1,
                   .cols = 512,
                   .row_bytes = sizeof weight,
                   .data = weight};
    st_weight *w;
    cr_assert_eq(c.backend->weight_create(c.dev, &m, 1, NULL, 1, NULL, &w, NULL), STERNA_OK);
    st_linear_args args = {
        .weight = w, .src = case_output(&c, sizeof x), .dst = case_output(&c, 4), .stride = 1};
    float *input = case_data(&c, args.src), *y = case_data(&c, args.dst);
    memset(input, 0, sizeof x);
    input[0] = TWO24, input[1] = 1, input[3] = 1; /* lanes 1 and 3 meet before they meet lane 0 */
    CASE_RUN(&c, linear, &args);
    cr_assert_eq(*y, TWO24 + 2);
    input[3] = 0, input[257] = 1; /* the same lane, twice */
    CASE_RUN(&c, linear, &args);
    cr_assert_eq(*y, TWO24 + 2);
    input[257] = 0, input[1] = 0, input[128] = 1, input[384] = 1; /* lane 128 has two and meets lane 0 */
    CASE_RUN(&c, linear, &args);
    cr_assert_eq(*y, TWO24 + 2);
    input[128] = 0, input[384] = 0, input[256] = 1, input[1] = 1; /* lane 0 drops its second value */
    CASE_RUN(&c, linear, &args);
    cr_assert_eq(*y, TWO24);
    c.backend->weight_destroy(c.dev, w);
    case_close(&c);
}

Test(linear, stacked_parts_outlive_their_memory)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    random_matrix a = random_matrix_create(ST_TERNARY, 3, 70, 32, ST_F16, false, 1),
                  b = random_matrix_create(ST_TERNARY, 2, 70, 32, ST_F16, true, 2);
    double want[5] = {0};
    st_qact q = quantised_input(&c, 1, 70, 0, 32, 5);
    for (int n = 0; n < 5; n++)
        for (int k = 0; k < 70; k++)
            want[n] += code_of(&c, &q, 0, k) * scale_of(&c, &q, 0, k) *
                       (n < 3 ? random_matrix_value(&a, n, k) : random_matrix_value(&b, n - 3, k));
    st_weight *w;
    cr_assert_eq(c.backend->weight_create(c.dev, (const st_matrix[]){a.m, b.m}, 2, NULL, 1, NULL, &w, NULL),
                 STERNA_OK);
    random_matrix_free(&a);
    random_matrix_free(&b);
    cr_assert_eq(w->rows, 5);
    cr_assert_eq(w->cols, 70);
    cr_assert_eq(w->group, 32);
    cr_assert_eq(w->bytes, 5 * (32 + 3 * 2)); /* 70 codes in two lines of 16 bytes, 3 f16 scales */
    st_linear_args args = {.weight = w, .quant = &q, .dst = case_output(&c, 5 * sizeof(float)), .stride = 5};
    CASE_RUN(&c, linear, &args);
    for (int n = 0; n < 5; n++)
        cr_assert_eq((double)((float *)case_data(&c, args.dst))[n], want[n]);
    c.backend->weight_destroy(c.dev, w);
    case_close(&c);
}

Test(linear, out_rows_are_consecutive)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0, 1, 2, 3}, 4, (const int32_t[]){3, -1, 0}, 3);
    const float weight = 2, x[3] = {5, 6, 7};
    st_matrix m = {
        .type = ST_F32, .scale_type = ST_F32, .rows = 1, .cols = 1, .row_bytes = 4, .data = &weight};
    st_weight *w;
    cr_assert_eq(c.backend->weight_create(c.dev, &m, 1, NULL, 1, NULL, &w, NULL), STERNA_OK);
    st_linear_args args = {.weight = w,
                           .src = case_input(&c, x, sizeof x),
                           .dst = case_output(&c, 4 * 4),
                           .stride = 1,
                           .rows = ST_ROWS_OUT};
    float *y = case_data(&c, args.dst);
    CASE_RUN(&c, linear, &args);
    cr_assert_eq(y[0], 10);
    cr_assert(case_untouched(y + 1, 1));
    cr_assert_eq(y[2], 14);
    cr_assert(case_untouched(y + 3, 1));
    c.backend->weight_destroy(c.dev, w);
    case_close(&c);
}

Test(linear, a_nan_scale_shows)
{
    const float nan = NAN, one = 1;
    tiny t = {.cols = 1, .weight = (const int8_t[]){0}, .scale = &one, .act_scale = &nan};
    cr_assert(isnan(run_tiny(&t)));
}
