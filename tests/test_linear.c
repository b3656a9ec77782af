/* The kernel library's arithmetic: every call, on every device and with every variant, against the model that
 * the header describes, to the bit. */
#include "tests/support/guard.h"
#include "tests/support/linear_case.h"
#include "tests/support/linear_scene.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sterna_device *open_device(const char *name, int32_t n_thread, bool check)
{
    sterna_device_params p;
    sterna_device_defaults(&p);
    p.n_thread = n_thread;
    p.check = check;
    p.trace = true;
    sterna_device *device;
    OK(sterna_device_open(name, &p, &device, error));
    return device;
}

static sterna_linear *create(sterna_device *device, const linear_case *c, int32_t max_tok)
{
    sterna_linear_params p;
    sterna_linear_defaults(&p);
    p.max_tok = max_tok;
    p.act_group = c->act_group;
    sterna_linear *linear;
    OK(sterna_linear_create(device, &c->m, &p, &linear, error));
    return linear;
}

/* ---- results ---- */

/* Rows of y, `stride` apart from `column` on, against the model; everything else is still poison. */
static void compare(const linear_case *c, sterna_input input, const guarded *y, size_t column, size_t stride,
                    const char *what)
{
    size_t n = (size_t)c->m.rows;
    cr_assert(guard_intact(y), "%s, input %d, %s: a write outside of y", what, (int)input, c->name);
    const float *got = (const float *)(void *)y->data;
    for (size_t t = 0; t < (size_t)c->n_tok; t++) {
        const float *row = got + t * stride, *want = c->want[input] + t * n;
        for (size_t i = 0; i < n; i++)
            cr_assert(memcmp(&row[column + i], &want[i], sizeof *row) == 0,
                      "%s, input %d, %s: row %zu, output %zu is %.9g, not %.9g", what, (int)input, c->name, t,
                      i, (double)row[column + i], (double)want[i]);
        for (size_t i = 0; (t + 1) * stride * sizeof *row <= y->bytes && i < stride; i++)
            if (i < column || i >= column + n) {
                uint32_t word;
                memcpy(&word, &row[i], sizeof word);
                cr_assert(word == 0xffffffff, "%s: column %zu of y was written", what, i);
            }
    }
}

static void put_old(const linear_case *c, const guarded *y, size_t column, size_t stride)
{
    for (size_t t = 0; c->accumulate && t < (size_t)c->n_tok; t++)
        memcpy((float *)(void *)y->data + t * stride + column, c->old + t * (size_t)c->m.rows,
               (size_t)c->m.rows * sizeof(float));
}

/* Exactly the variant that was forced ran, or the most general one. */
static void check_trace(sterna_device *device, int at, const char *op, const char *forced, int *n_forced)
{
    const char *name, *variant;
    double seconds;
    uint64_t bytes;
    cr_assert(sterna_device_trace(device, at, &name, &variant, &seconds, &bytes));
    cr_assert_str_eq(name, op);
    cr_assert(seconds >= 0 && bytes > 0);
    bool took = strcmp(variant, forced) == 0;
    cr_assert(took || strcmp(variant, sterna_device_variant(device, op, 0)) == 0, "%s ran, not %s", variant,
              forced);
    *n_forced += took;
}

/* ---- host memory ---- */

static void run_host(sterna_linear *linear, const linear_case *c, sterna_input input, const char *what)
{
    size_t n = (size_t)c->m.rows, k = (size_t)c->m.cols, rows = (size_t)c->n_tok;
    size_t gap = (n + k) % 3, x_step = k + gap, y_step = n + gap;
    guarded y = guard_alloc(((rows - 1) * y_step + n) * sizeof(float)); /* nothing after the last row */
    guarded x = guard_alloc(rows * x_step * sizeof(float));
    put_old(c, &y, 0, y_step);
    sterna_linear_host_args h;
    sterna_linear_host_defaults(&h);
    h.n_tok = c->n_tok;
    h.input = input;
    h.x_stride = gap ? x_step : 0;
    h.y_stride = gap ? y_step : 0;
    h.y = (float *)(void *)y.data;
    h.accumulate = c->accumulate;
    for (size_t t = 0; t < rows; t++)
        if (input == STERNA_INPUT_INT8)
            memcpy(x.data + t * x_step, c->codes + t * k, k);
        else
            memcpy(x.data + t * x_step * sizeof(float), c->x + t * k, k * sizeof(float));
    if (input == STERNA_INPUT_INT8) {
        h.codes = (const int8_t *)x.data;
        h.scales = c->scales;
    } else {
        h.x = (const float *)(const void *)x.data;
    }
    OK(sterna_linear_run(linear, &h, error));
    compare(c, input, &y, 0, y_step, what);
    guard_free(&x);
    guard_free(&y);
}

/* ---- device memory ---- */

/* A caller's kernel: planes from the header's description. */
static void write_planes(const linear_case *c, const sterna_planes *p, unsigned char *to)
{
    size_t k = (size_t)c->m.cols, n_scale = (size_t)p->n_scale;
    cr_assert_eq(p->n_scale, c->n_scale);
    for (size_t t = 0; t < (size_t)c->n_tok; t++) {
        int8_t *codes = (int8_t *)to + t * p->code_stride;
        memset(codes, 0, p->code_stride);
        memcpy(codes, c->codes + t * k, k);
        memcpy(to + p->scale_offset + t * n_scale * sizeof(float), c->scales + t * n_scale,
               n_scale * sizeof(float));
        for (size_t s = 0; s < (size_t)p->n_sum; s++) {
            size_t from = s * (size_t)p->sum_group, end = p->sum_group ? from + (size_t)p->sum_group : k;
            int32_t sum = 0;
            for (size_t i = from; i < end && i < k; i++)
                sum += codes[i];
            memcpy(to + p->sum_offset + (t * (size_t)p->n_sum + s) * sizeof sum, &sum, sizeof sum);
        }
    }
}

static guarded device_input(sterna_linear *linear, const linear_case *c, sterna_input input, int32_t rows)
{
    if (input != STERNA_INPUT_INT8) {
        guarded x = guard_alloc((size_t)c->n_tok * (size_t)c->m.cols * sizeof(float));
        memcpy(x.data, c->x, x.bytes);
        return x;
    }
    sterna_planes planes = {.struct_size = sizeof planes};
    OK(sterna_linear_planes(linear, rows, &planes, error));
    guarded x = guard_alloc(planes.bytes);
    write_planes(c, &planes, x.data);
    return x;
}

static void run_device(sterna_device *device, sterna_linear *linear, const linear_case *c, sterna_input input,
                       const char *what)
{
    size_t n = (size_t)c->m.rows;
    int32_t odd = (c->m.rows + c->m.cols) % 4, column = odd, stride = odd ? column + c->m.rows + odd - 1 : 0;
    size_t y_step = odd ? (size_t)stride : n;
    bool int8 = input == STERNA_INPUT_INT8;
    int32_t plane_rows = int8 ? c->n_tok + odd : 0;
    guarded x = device_input(linear, c, input, plane_rows), y = guard_alloc((size_t)c->n_tok * y_step * 4);
    unsigned char *before = malloc(x.bytes);
    cr_assert_not_null(before);
    memcpy(before, x.data, x.bytes);
    put_old(c, &y, (size_t)column, y_step);
    sterna_linear_device_args d;
    sterna_linear_device_defaults(&d);
    d.n_tok = c->n_tok;
    d.input = input;
    d.x_rows = plane_rows;
    d.y_column = column;
    d.y_stride = stride;
    d.accumulate = c->accumulate;
    sterna_buffer *bx, *by;
    OK(sterna_buffer_wrap(device, x.data, x.bytes, &bx, error));
    OK(sterna_buffer_wrap(device, y.data, y.bytes, &by, error));
    d.x = bx;
    d.y = by;
    OK(sterna_linear_run_device(linear, &d, error));
    compare(c, input, &y, (size_t)column, y_step, what);
    cr_assert(guard_intact(&x) && memcmp(before, x.data, x.bytes) == 0, "%s changed x", what);
    sterna_buffer_destroy(&bx);
    sterna_buffer_destroy(&by);
    guard_free(&x);
    guard_free(&y);
    free(before);
}

/* Quantises into planes on the device, looks at them, and multiplies with them. */
static void run_quantise(sterna_device *device, sterna_linear *linear, const linear_case *c, const char *what)
{
    int32_t rows = c->n_tok + c->m.cols % 2;
    sterna_planes p = {.struct_size = sizeof p};
    OK(sterna_linear_planes(linear, rows, &p, error));
    guarded x = device_input(linear, c, STERNA_INPUT_QUANTISE, 0), planes = guard_alloc(p.bytes),
            y = guard_alloc((size_t)c->n_tok * (size_t)c->m.rows * sizeof(float));
    sterna_buffer *bx, *by, *bp;
    OK(sterna_buffer_create(device, x.bytes, &bx, error));
    OK(sterna_buffer_create(device, y.bytes, &by, error));
    OK(sterna_buffer_create(device, p.bytes, &bp, error));
    OK(sterna_buffer_write(bx, 0, x.data, x.bytes, error));
    put_old(c, &y, 0, (size_t)c->m.rows);
    OK(sterna_buffer_write(by, 0, y.data, y.bytes, error));
    OK(sterna_linear_quantise(linear, c->n_tok, bx, bp, c->m.cols % 2 ? rows : 0, error));
    OK(sterna_buffer_read(bp, 0, planes.data, p.bytes, error));

    linear_case quantised = *c; /* the codes of x */
    quantised.codes = malloc((size_t)c->n_tok * (size_t)c->m.cols);
    quantised.scales = malloc((size_t)c->n_tok * (size_t)c->n_scale * sizeof(float));
    cr_assert(quantised.codes && quantised.scales);
    for (size_t t = 0; t < (size_t)c->n_tok; t++) {
        size_t k = t * (size_t)c->m.cols, s = t * (size_t)c->n_scale;
        model_quantise(c->x + k, c->m.cols, c->act_group, quantised.codes + k, quantised.scales + s);
        int8_t *codes = malloc((size_t)c->m.cols);
        float *scales = malloc((size_t)c->n_scale * sizeof(float));
        cr_assert(codes && scales);
        OK(sterna_quantise_row(c->x + k, c->m.cols, c->act_group, codes, scales, error));
        cr_assert(memcmp(codes, quantised.codes + k, (size_t)c->m.cols) == 0);
        cr_assert(memcmp(scales, quantised.scales + s, (size_t)c->n_scale * sizeof(float)) == 0);
        free(codes);
        free(scales);
    }
    unsigned char *want = malloc(p.bytes);
    cr_assert_not_null(want);
    memcpy(want, planes.data, p.bytes); /* rows that are not used, and gaps between planes */
    write_planes(&quantised, &p, want);
    cr_assert(memcmp(want, planes.data, p.bytes) == 0, "%s: %s: other planes", what, c->name);

    sterna_linear_device_args d;
    sterna_linear_device_defaults(&d);
    d.n_tok = c->n_tok;
    d.input = STERNA_INPUT_INT8;
    d.x = bp;
    d.x_rows = c->m.cols % 2 ? rows : 0;
    d.y = by;
    d.accumulate = c->accumulate;
    OK(sterna_linear_run_device(linear, &d, error));
    OK(sterna_buffer_read(by, 0, y.data, y.bytes, error));
    compare(c, STERNA_INPUT_QUANTISE, &y, 0, (size_t)c->m.rows, what);
    sterna_buffer_destroy(&bx);
    sterna_buffer_destroy(&by);
    sterna_buffer_destroy(&bp);
    free(quantised.codes);
    free(quantised.scales);
    free(want);
    guard_free(&x);
    guard_free(&y);
    guard_free(&planes);
}

/* ---- everything on everything ---- */

enum { MAX_VARIANT = 16 };

/* How often each variant ran when it was forced. */
typedef struct coverage {
    int linear[MAX_VARIANT], quantise[MAX_VARIANT];
} coverage;

static void run_case(sterna_device *device, sterna_linear *linear, const linear_case *c, const char *quantise,
                     const char *multiply, int *n_quantise, int *n_linear)
{
    char what[120];
    snprintf(what, sizeof what, "%s, %s and %s", sterna_device_name(device), quantise, multiply);
    for (int input = 0; input < CASE_INPUTS; input++) {
        if (!c->takes[input])
            continue;
        int at = 0;
        run_host(linear, c, (sterna_input)input, what);
        if (input == STERNA_INPUT_QUANTISE)
            check_trace(device, at++, "norm_quant", quantise, n_quantise);
        check_trace(device, at++, "linear", multiply, n_linear);
        cr_assert(!sterna_device_trace(device, at, NULL, NULL, NULL, NULL));
        run_device(device, linear, c, (sterna_input)input, what);
        check_trace(device, at - 1, "linear", multiply, n_linear);
    }
    if (c->takes[STERNA_INPUT_QUANTISE])
        run_quantise(device, linear, c, what);
}

/* Every pair of forced variants; each linear runs all of them, and every input twice. */
static void run_variants(sterna_device *device, const linear_case *c, coverage *seen)
{
    sterna_linear *linear = create(device, c, c->n_tok + c->m.rows % 2);
    const char *quantise, *multiply;
    for (int i = 0; (multiply = sterna_device_variant(device, "linear", i)); i++) {
        cr_assert_lt(i, MAX_VARIANT);
        OK(sterna_device_force(device, "linear", multiply, error));
        for (int j = 0; (quantise = sterna_device_variant(device, "norm_quant", j)); j++) {
            OK(sterna_device_force(device, "norm_quant", quantise, error));
            run_case(device, linear, c, quantise, multiply, &seen->quantise[j], &seen->linear[i]);
        }
    }
    sterna_linear_destroy(&linear);
}

static void sweep(const char *name, int32_t n_thread, bool check, int first, int n_case)
{
    sterna_device *device = open_device(name, n_thread, check);
    coverage seen = {0};
    for (int i = first; i < first + n_case; i++) {
        linear_spec spec = linear_spec_of(i);
        linear_case c = linear_case_create(&spec, (uint32_t)i);
        run_variants(device, &c, &seen);
        linear_case_free(&c);
    }
    for (int i = 0; sterna_device_variant(device, "linear", i); i++)
        cr_assert_gt(seen.linear[i], 0, "linear %s never ran", sterna_device_variant(device, "linear", i));
    for (int i = 0; sterna_device_variant(device, "norm_quant", i); i++)
        cr_assert_gt(seen.quantise[i], 0);
    sterna_device_close(&device);
    cr_assert_null(device);
}

static int cases(int n)
{
    return getenv("STERNA_TEST_QUICK") ? n / 5 : n;
}

Test(linear, reference_agrees_with_the_header, .timeout = 300)
{
    sweep("ref", 1, false, 0, cases(225)); /* 9 types x 5 groups x 5 act_groups */
}

Test(linear, cpu_agrees_with_the_header, .timeout = 300)
{
    sweep("cpu", 1, false, 0, cases(225));
}

Test(linear, cpu_with_threads, .timeout = 300)
{
    sweep("cpu", 2, false, 225, cases(100));
}

Test(linear, checking_layer_accepts_every_call, .timeout = 300)
{
    sweep("cpu", 2, true, 325, cases(100));
    sweep("ref", 1, true, 325, cases(45));
}

Test(linear, automatic_choice, .timeout = 60)
{
    sterna_device *device = open_device(NULL, 0, false);
    for (int i = 0; i < 45; i++) {
        linear_spec spec = linear_spec_of(i);
        linear_case c = linear_case_create(&spec, 5);
        sterna_linear *linear = create(device, &c, 65);
        for (int input = 0; input < CASE_INPUTS; input++)
            if (c.takes[input]) {
                run_host(linear, &c, (sterna_input)input, "auto");
                run_device(device, linear, &c, (sterna_input)input, "auto");
            }
        sterna_linear_destroy(&linear);
        linear_case_free(&c);
    }
    sterna_device_close(&device);
}

/* ---- extremes ---- */

/* All elements and codes at their limits: the widest sums, which do not fit 24 bits. */
static void extreme(const char *name, sterna_matrix_type type, int value, bool odd)
{
    linear_spec spec = {.type = type,
                        .scale_type = STERNA_TYPE_F32,
                        .rows = 2,
                        .cols = STERNA_LINEAR_MAX_COLS - odd,
                        .n_tok = 2,
                        .four_levels = value == 2};
    linear_case c = linear_case_create(&spec, 9);
    size_t k = (size_t)c.m.cols;
    memset((void *)(uintptr_t)c.m.data, type == STERNA_TYPE_Q8 ? value : 0x55 * (value + 1),
           2 * sterna_matrix_row_bytes(type, c.m.cols));
    size_t row_bytes = sterna_matrix_row_bytes(type, c.m.cols);
    for (size_t n = 1; type == STERNA_TYPE_TERNARY && odd && n <= 2; n++) { /* one column of padding */
        unsigned char *last = (unsigned char *)(uintptr_t)c.m.data + n * row_bytes - 1;
        *last = (unsigned char)((*last & 0x3f) | 0x40);
    }
    memset(c.codes, 127, k);
    memset(c.codes + k, -127, k);
    c.codes[k - 1] = 126; /* an odd sum */
    for (int t = 0; t < 2; t++) {
        model_row row = {.codes = c.codes + (size_t)t * k, .scales = c.scales + t};
        model_linear(&c.m, &row, false, c.want[STERNA_INPUT_INT8] + 2 * t);
    }
    sterna_device *device = open_device(name, 2, false);
    const char *variant;
    for (int i = 0; (variant = sterna_device_variant(device, "linear", i)); i++) {
        OK(sterna_device_force(device, "linear", variant, error));
        sterna_linear *linear = create(device, &c, 2);
        run_host(linear, &c, STERNA_INPUT_INT8, variant);
        run_device(device, linear, &c, STERNA_INPUT_INT8, variant);
        sterna_linear_destroy(&linear);
    }
    sterna_device_close(&device);
    linear_case_free(&c);
}

Test(linear, widest_rows_at_the_limits, .timeout = 120)
{
    static const char *const names[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++)
        for (int odd = 0; odd < 2; odd++) {
            for (int value = -1; value <= 2; value++)
                extreme(names[i], STERNA_TYPE_TERNARY, value, odd);
            extreme(names[i], STERNA_TYPE_Q8, -128, odd);
            extreme(names[i], STERNA_TYPE_Q8, 127, odd);
        }
}

Test(linear, widest_rows_in_groups, .timeout = 120)
{
    static const char *const names[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++) {
        sterna_device *device = open_device(names[i], 2, true);
        linear_spec spec = {.type = STERNA_TYPE_TERNARY,
                            .scale_type = STERNA_TYPE_F16,
                            .rows = 3,
                            .cols = STERNA_LINEAR_MAX_COLS,
                            .n_tok = 3,
                            .group = 128,
                            .act_group = 32};
        linear_case c = linear_case_create(&spec, 4);
        sterna_linear *linear = create(device, &c, 3);
        for (int input = 0; input < CASE_INPUTS; input++) {
            run_host(linear, &c, (sterna_input)input, names[i]);
            run_device(device, linear, &c, (sterna_input)input, names[i]);
        }
        sterna_linear_destroy(&linear);
        linear_case_free(&c);
        sterna_device_close(&device);
    }
}

/* NaN and infinity show in their own row only. */
Test(linear, what_is_not_finite_shows, .timeout = 60)
{
    static const char *const names[] = {"ref", "cpu"};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 2; i++) {
        sterna_device *device = open_device(names[i], 1, false);
        linear_spec spec = {
            .type = STERNA_TYPE_TERNARY, .scale_type = STERNA_TYPE_F32, .rows = 4, .cols = 70, .n_tok = 3};
        linear_case c = linear_case_create(&spec, 3);
        sterna_linear *linear = create(device, &c, 3);
        for (int b = 0; b < 3; b++) {
            c.x[70 + 69] = bad[b];
            float y[12];
            sterna_linear_host_args h;
            sterna_linear_host_defaults(&h);
            h.n_tok = 3;
            h.x = c.x;
            h.y = y;
            OK(sterna_linear_run(linear, &h, error));
            for (int n = 0; n < 4; n++)
                cr_assert(!isfinite(y[4 + n]), "%s: row 1, output %d is %g", names[i], n, (double)y[4 + n]);
            cr_assert(memcmp(y, c.want[0], 16) == 0 && memcmp(y + 8, c.want[0] + 8, 16) == 0);
            int8_t codes[70], want[70];
            float scale, want_scale;
            OK(sterna_quantise_row(c.x + 70, 70, 0, codes, &scale, error));
            model_quantise(c.x + 70, 70, 0, want, &want_scale);
            cr_assert(memcmp(codes, want, 70) == 0 && !isfinite(scale) && isnan(scale) == isnan(bad[b]));
        }
        sterna_linear_destroy(&linear);
        linear_case_free(&c);
        sterna_device_close(&device);
    }
}
