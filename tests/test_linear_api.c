/* The kernel library apart from its arithmetic and refusals: lifetimes, sizes, memory, steps, failures. */
#include "host/engine/linear.h"
#include "tests/support/counted/allocations.h"
#include "tests/support/linear_scene.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static float x_host[9 * SCENE_K], y_host[9 * SCENE_N];

static sterna_linear_host_args host_operands(int32_t n_tok)
{
    sterna_linear_host_args h;
    sterna_linear_host_defaults(&h);
    h.n_tok = n_tok;
    h.x = x_host;
    h.y = y_host;
    return h;
}

static sterna_linear_device_args device_operands(int32_t n_tok, const sterna_buffer *x, sterna_buffer *y)
{
    sterna_linear_device_args d;
    sterna_linear_device_defaults(&d);
    d.n_tok = n_tok;
    d.x = x;
    d.y = y;
    return d;
}

/* ---- sizes ---- */

Test(linear_api, describes_itself)
{
    scene s;
    scene_open(&s, "ref", false);
    sterna_linear_params p;
    sterna_linear_defaults(&p);
    p.max_tok = 5;
    p.act_group = 64;
    s.m.group = 32;
    sterna_linear *linear;
    OK(sterna_linear_create(s.device, &s.m, &p, &linear, error));
    sterna_linear_info info = {.struct_size = sizeof info};
    cr_assert_eq(sterna_linear_describe(linear, &info), STERNA_OK);
    cr_expect(info.type == STERNA_TYPE_TERNARY && info.rows == 3 && info.cols == 70 && info.group == 32 &&
              info.act_group == 64 && info.max_tok == 5);
    cr_expect_eq(info.weight_bytes, 3 * 32 + 9 * 4);
    size_t planes = 5 * 128 + 64 + 64; /* 10 scales and 15 sums, each in whole units of 64 bytes */
    cr_expect_eq(info.scratch_bytes, planes + 5 * (70 + 3) * 4);
    sterna_planes q = {.struct_size = sizeof q};
    OK(sterna_linear_planes(linear, 9, &q, error));
    cr_expect(q.code_stride == 128 && q.n_scale == 2 && q.n_sum == 3 && q.act_group == 64 &&
              q.sum_group == 32);
    cr_expect(q.scale_offset == 9 * 128 && q.sum_offset == q.scale_offset + 128 &&
              q.bytes == q.sum_offset + 128);
    sterna_linear_destroy(&linear);
    cr_assert_null(linear);

    p.device_only = true;
    OK(sterna_linear_create(s.device, &s.m, &p, &linear, error));
    cr_assert_eq(sterna_linear_describe(linear, &info), STERNA_OK);
    cr_expect_eq(info.scratch_bytes, planes);
    sterna_linear_destroy(&linear);
    sterna_device_close(&s.device);
}

/* Programs built against a newer or an older header. */
Test(linear_api, structs_may_grow)
{
    scene s;
    scene_open(&s, "ref", false);
    sterna_linear *linear = scene_linear(&s, 1, 0);
    struct {
        sterna_linear_host_args h;
        uint64_t more;
    } newer = {host_operands(1), 0};
    newer.h.struct_size = sizeof newer;
    OK(sterna_linear_run(linear, &newer.h, error));
    newer.more = UINT64_C(1) << 56;
    REFUSED(sterna_linear_run(linear, &newer.h, error), STERNA_E_UNSUPPORTED,
            "operands of 80 bytes, of which this version knows 72: byte 79 is not zero");
    sterna_linear_info older;
    memset(&older, 0xff, sizeof older);
    older.struct_size = offsetof(sterna_linear_info, weight_bytes);
    cr_assert_eq(sterna_linear_describe(linear, &older), STERNA_OK);
    cr_assert(older.max_tok == 1 && older.weight_bytes == UINT64_MAX && older.scratch_bytes == UINT64_MAX);
    sterna_linear_destroy(&linear);
    sterna_device_close(&s.device);
}

Test(linear_api, traces_the_last_call)
{
    scene s;
    scene_open(&s, "ref", true);
    sterna_linear *linear = scene_linear(&s, 9, 0);
    sterna_linear_host_args h = host_operands(2);
    OK(sterna_linear_run(linear, &h, error));
    const char *op, *variant;
    uint64_t bytes;
    cr_assert(sterna_device_trace(s.device, 0, &op, &variant, NULL, &bytes));
    cr_expect(strcmp(op, "norm_quant") == 0 && strcmp(variant, "ref") == 0);
    cr_expect_eq(bytes, 2 * (70 * 4 + 128 + 4 + 4));
    cr_assert(sterna_device_trace(s.device, 1, &op, NULL, NULL, &bytes));
    cr_expect_str_eq(op, "linear");
    cr_expect_eq(bytes, 3 * 36 + 2 * (128 + 4 + 4 + 12));
    cr_expect(!sterna_device_trace(s.device, 2, NULL, NULL, NULL, NULL));
    h.input = STERNA_INPUT_F32;
    OK(sterna_linear_run(linear, &h, error));
    cr_assert(sterna_device_trace(s.device, 0, &op, NULL, NULL, NULL));
    cr_expect_str_eq(op, "linear");
    cr_expect(!sterna_device_trace(s.device, 1, NULL, NULL, NULL, NULL));
    cr_expect(!sterna_device_trace(s.device, -1, NULL, NULL, NULL, NULL));
    sterna_linear_destroy(&linear);
    sterna_device_close(&s.device);
}

/* ---- lifetimes ---- */

static void end_in_order(const char *name, bool check, int order)
{
    long live = n_live;
    scene s;
    scene_open(&s, name, check);
    sterna_linear *linear = scene_linear(&s, 2, 0);
    sterna_buffer *x = scene_buffer(&s, 2 * SCENE_K * 4), *y = scene_buffer(&s, 2 * SCENE_N * 4);
    if (order == 0) {
        sterna_device_close(&s.device); /* its objects keep it alive, and work */
        cr_assert_null(s.device);
        OK(sterna_buffer_fill(x, 0, error));
        sterna_linear_device_args d = device_operands(2, x, y);
        OK(sterna_linear_run_device(linear, &d, error));
    }
    sterna_buffer_destroy(&x);
    if (order == 1)
        sterna_device_close(&s.device);
    sterna_linear_destroy(&linear);
    cr_assert_gt(n_live, live);
    sterna_buffer_destroy(&y);
    cr_assert(!x && !y && !linear);
    cr_assert_eq(n_live > live, order == 2, "%ld blocks", n_live - live);
    sterna_device_close(&s.device);
    cr_assert_eq(n_live, live, "%s, order %d: %ld blocks leak", name, order, n_live - live);
}

Test(linear_api, ends_in_any_order)
{
    for (int order = 0; order < 3; order++) {
        end_in_order("ref", false, order);
        end_in_order("cpu", false, order);
        end_in_order("cpu", true, order);
    }
}

/* The matrix is not needed after creation, and the linear does not touch it. */
Test(linear_api, memory_of_a_matrix_is_not_kept)
{
    static const char *const names[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++) {
        scene s;
        scene_open(&s, names[i], false);
        float bias[SCENE_N] = {1, 2, 3};
        int32_t row[1] = {1}, col[1] = {69};
        uint16_t value[1] = {0x4000};
        s.m.bias = bias;
        s.m.n_outlier = 1;
        s.m.outlier_row = row;
        s.m.outlier_col = col;
        s.m.outlier_f16 = value;
        sterna_linear *linear = scene_linear(&s, 1, 0);
        memset(s.data, 0xff, sizeof s.data);
        memset(s.scale, 0xff, sizeof s.scale);
        memset(bias, 0xff, sizeof bias);
        memset(row, 0xff, sizeof row);
        memset(col, 0xff, sizeof col);
        memset(value, 0xff, sizeof value);
        sterna_linear_host_args h = host_operands(1);
        x_host[69] = 127.0f; /* code 127, scale 1 */
        OK(sterna_linear_run(linear, &h, error));
        cr_assert(y_host[0] == 1 && y_host[1] == 256 && y_host[2] == 3);
        sterna_linear_destroy(&linear);
        sterna_device_close(&s.device);
    }
}

/* ---- memory ---- */

/* A grouped matrix with everything, a linear, two wrapped and one created buffer. */
static sterna_status open_all(const char *name, bool check, scene *s, sterna_linear **linear,
                              sterna_buffer *b[3], sterna_error *error)
{
    static const float bias[SCENE_N];
    static const int32_t row[1] = {1}, col[1] = {5};
    static const uint16_t value[1] = {0x3c00};
    sterna_device_params dp;
    sterna_device_defaults(&dp);
    dp.check = check;
    dp.n_thread = 1;
    dp.trace = true;
    s->m.bias = bias;
    s->m.n_outlier = 1;
    s->m.outlier_row = row;
    s->m.outlier_col = col;
    s->m.outlier_f16 = value;
    s->m.group = 32;
    sterna_linear_params lp;
    sterna_linear_defaults(&lp);
    lp.max_tok = 9;
    sterna_status status = sterna_device_open(name, &dp, &s->device, error);
    if (status == STERNA_OK)
        status = sterna_linear_create(s->device, &s->m, &lp, linear, error);
    if (status == STERNA_OK)
        status = sterna_buffer_wrap(s->device, x_host, sizeof x_host, &b[0], error);
    if (status == STERNA_OK)
        status = sterna_buffer_wrap(s->device, y_host, sizeof y_host, &b[1], error);
    if (status == STERNA_OK)
        status = sterna_buffer_create(s->device, 9 * (128 + 64), &b[2], error);
    return status;
}

static void close_all(scene *s, sterna_linear **linear, sterna_buffer *b[3])
{
    for (int i = 0; i < 3; i++)
        sterna_buffer_destroy(&b[i]);
    sterna_linear_destroy(linear);
    sterna_device_close(&s->device);
}

static void open_without_memory(const char *name, bool check)
{
    scene s;
    scene_open(&s, "ref", false);
    sterna_device_close(&s.device);
    sterna_linear *linear = NULL;
    sterna_buffer *b[3] = {NULL};
    sterna_status status = STERNA_E_MEMORY;
    long live = n_live, failures = 0;
    while (status != STERNA_OK) {
        n_allocation = 0;
        fail_at = ++failures;
        sterna_error error = {STERNA_OK, ""};
        status = open_all(name, check, &s, &linear, b, &error);
        fail_at = 0;
        if (status == STERNA_OK)
            break;
        cr_assert_eq(status, STERNA_E_MEMORY, "allocation %ld: %s", failures, error.message);
        cr_assert(error.status == status && error.message[0]);
        cr_assert(!b[2] && (b[0] || !b[1]) && (linear || !b[0]) && (s.device || !linear));
        close_all(&s, &linear, b);
        cr_assert_eq(n_live, live, "allocation %ld of %s: %ld blocks leak", failures, name, n_live - live);
    }
    cr_assert_gt(failures, 25);
    close_all(&s, &linear, b);
    cr_assert_eq(n_live, live, "%s: %ld blocks leak", name, n_live - live);
}

Test(linear_api, every_allocation_may_fail, .timeout = 60)
{
    open_without_memory("ref", false);
    open_without_memory("cpu", false);
    open_without_memory("cpu", true);
}

static void run_without_allocating(const char *name)
{
    scene s;
    scene_open(&s, "ref", false);
    sterna_device_close(&s.device);
    sterna_linear *linear;
    sterna_buffer *b[3];
    OK(open_all(name, false, &s, &linear, b, error));
    long before = n_allocation;
    int8_t codes[9 * SCENE_K] = {0};
    float scales[9] = {0};
    for (int32_t n_tok = 1; n_tok <= 9; n_tok++) {
        for (int input = 0; input < 3; input++) {
            sterna_linear_host_args h = host_operands(n_tok);
            h.input = (sterna_input)input;
            h.accumulate = true;
            if (input == STERNA_INPUT_INT8) {
                h.x = NULL;
                h.codes = codes;
                h.scales = scales;
            }
            OK(sterna_linear_run(linear, &h, error));
        }
        OK(sterna_linear_quantise(linear, n_tok, b[0], b[2], 0, error));
        sterna_linear_device_args d = device_operands(n_tok, b[2], b[1]);
        d.input = STERNA_INPUT_INT8;
        OK(sterna_linear_run_device(linear, &d, error));
        d = device_operands(n_tok, b[0], b[1]);
        OK(sterna_linear_run_device(linear, &d, error));
        OK(sterna_buffer_fill(b[2], 0, error));
        OK(sterna_buffer_write(b[2], 0, codes, 128, error));
        OK(sterna_buffer_read(b[2], 0, codes, 128, error));
    }
    cr_assert_eq(n_allocation, before, "%s: %ld allocations while running", name, n_allocation - before);
    close_all(&s, &linear, b);
}

Test(linear_api, running_allocates_nothing)
{
    run_without_allocating("ref");
    run_without_allocating("cpu");
}

/* ---- steps ---- */

static const st_backend *real;
static uint64_t last_stream;

static bool noting_begin(st_device *dev, const st_batch *batch)
{
    if (batch->stream) /* else an empty step, which asks for failures */
        last_stream = batch->stream;
    return real->begin(dev, batch);
}

typedef struct step_scene {
    scene s;
    sterna_linear *linear[2];
    sterna_buffer *x[2], *y[2];
} step_scene;

enum { N_STEP = 16 };

/* Each step differs from another one in one thing. Returns its stream. */
static uint64_t run_step(step_scene *a, int i)
{
    sterna_linear_device_args d = device_operands(2, a->x[i == 1], a->y[i == 2]);
    sterna_linear_host_args h = host_operands(2);
    d.input = i == 3 || i == 5 || i == 6 ? STERNA_INPUT_INT8
              : i == 4                   ? STERNA_INPUT_F32
                                         : STERNA_INPUT_QUANTISE;
    d.x_rows = i == 5 || i == 6 ? i : 0;
    d.y_column = i == 7;
    d.y_stride = i == 8 ? 7 : i == 9 || i == 7 ? 9 : 0;
    d.accumulate = i == 10;
    h.accumulate = i == 12;
    if (i == 11 || i == 12)
        OK(sterna_linear_run(a->linear[0], &h, error));
    else if (i == 13 || i == 15)
        OK(sterna_linear_quantise(a->linear[0], 2, a->x[0], a->y[i == 15], 0, error));
    else
        OK(sterna_linear_run_device(a->linear[i == 14], &d, error));
    return last_stream;
}

/* Steps whose ops differ in any argument have another `stream`; equal ones the same. The checking layer
 * compares the ops of steps with the same stream. */
Test(linear_api, steps_say_what_shapes_them)
{
    step_scene a;
    scene_open(&a.s, "cpu", true);
    for (int i = 0; i < 2; i++) {
        a.linear[i] = scene_linear(&a.s, 4, 32 * i);
        a.x[i] = scene_buffer(&a.s, 8192);
        a.y[i] = scene_buffer(&a.s, 8192);
        OK(sterna_buffer_fill(a.x[i], 0, error));
    }
    real = a.s.device->dev->backend;
    st_backend table = *real;
    table.begin = noting_begin;
    a.s.device->dev->backend = &table;
    uint64_t seen[N_STEP];
    for (int i = 0; i < N_STEP; i++) {
        seen[i] = run_step(&a, i);
        for (int j = 0; j < i; j++)
            cr_assert_neq(seen[i], seen[j], "steps %d and %d", j, i);
    }
    for (int i = N_STEP - 1; i >= 0; i--)
        cr_assert_eq(run_step(&a, i), seen[i], "step %d", i);
    sterna_buffer_destroy(&a.y[0]); /* another object, maybe at the same address, is another object */
    a.y[0] = scene_buffer(&a.s, 8192);
    cr_assert_neq(run_step(&a, 0), seen[0]);
    sterna_linear_destroy(&a.linear[0]);
    a.linear[0] = scene_linear(&a.s, 4, 0);
    cr_assert_neq(run_step(&a, 2), seen[2]);
    a.s.device->dev->backend = real;
    for (int i = 0; i < 2; i++) {
        sterna_linear_destroy(&a.linear[i]);
        sterna_buffer_destroy(&a.x[i]);
        sterna_buffer_destroy(&a.y[i]);
    }
    sterna_device_close(&a.s.device);
}

/* ---- three linears, one input, one output ---- */

Test(linear_api, linears_share_planes_and_rows_of_y)
{
    scene s;
    scene_open(&s, "cpu", true);
    sterna_linear *linear[3];
    for (int i = 0; i < 3; i++) {
        s.scale[0] = (float)(i + 1);
        memset(s.data, 0xaa, 16); /* row 0: 64 of +1 */
        linear[i] = scene_linear(&s, 2, 0);
    }
    for (int k = 0; k < 2 * SCENE_K; k++)
        x_host[k] = k < SCENE_K ? 1.0f : -2.0f;
    sterna_planes p = {.struct_size = sizeof p};
    OK(sterna_linear_planes(linear[0], 2, &p, error));
    sterna_buffer *x = scene_buffer(&s, 2 * SCENE_K * 4), *planes = scene_buffer(&s, p.bytes);
    sterna_buffer *y = scene_buffer(&s, 2 * 9 * 4);
    OK(sterna_buffer_write(x, 0, x_host, 2 * SCENE_K * 4, error));
    OK(sterna_linear_quantise(linear[0], 2, x, planes, 0, error));
    for (int i = 0; i < 3; i++) {
        sterna_linear_device_args d = device_operands(2, planes, y);
        d.input = STERNA_INPUT_INT8;
        d.y_column = 3 * i;
        d.y_stride = 9;
        OK(sterna_linear_run_device(linear[i], &d, error));
    }
    float got[18];
    OK(sterna_buffer_read(y, 0, got, sizeof got, error));
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < 9; i++) {
            float scale = (float)(i / 3 + 1) * ((t ? 2.0f : 1.0f) / 127.0f);
            float want = i % 3 ? 0.0f : (float)(64 * (t ? -127 : 127)) * scale;
            cr_assert(got[9 * t + i] == want, "row %d, column %d: %g, not %g", t, i, (double)got[9 * t + i],
                      (double)want);
        }
    for (int i = 0; i < 3; i++)
        sterna_linear_destroy(&linear[i]);
    sterna_buffer_destroy(&x);
    sterna_buffer_destroy(&y);
    sterna_buffer_destroy(&planes);
    sterna_device_close(&s.device);
}

/* What the library quantised into a buffer is known until something else is written there. */
Test(linear_api, planes_are_forgotten_when_written_over)
{
    scene s;
    scene_open(&s, "ref", false);
    static float memory[256];
    sterna_linear *row = scene_linear(&s, 1, 0), *grouped = scene_linear(&s, 1, 32);
    sterna_buffer *x = scene_buffer(&s, SCENE_K * 4), *y = scene_buffer(&s, SCENE_N * 4);
    for (int way = 0; way < 5; way++) {
        sterna_buffer *planes;
        OK(sterna_buffer_wrap(s.device, memory, sizeof memory, &planes, error));
        if (way > 0) {
            sterna_buffer_destroy(&planes);
            planes = scene_buffer(&s, sizeof memory);
        }
        OK(sterna_buffer_fill(x, 0, error));
        OK(sterna_linear_quantise(grouped, 1, x, planes, 0, error));
        sterna_linear_device_args over = device_operands(1, x, planes), d = device_operands(1, planes, y);
        if (way == 1)
            OK(sterna_linear_run_device(row, &over, error));
        if (way == 2)
            OK(sterna_buffer_write(planes, 0, memory, 256, error));
        if (way == 3)
            OK(sterna_buffer_fill(planes, 0, error));
        d.input = STERNA_INPUT_INT8;
        cr_expect_eq(sterna_linear_run_device(row, &d, NULL), way == 4 ? STERNA_E_ARGUMENT : STERNA_OK,
                     "way %d", way);
        sterna_buffer_destroy(&planes);
    }
    sterna_buffer_destroy(&x);
    sterna_buffer_destroy(&y);
    sterna_linear_destroy(&row);
    sterna_linear_destroy(&grouped);
    sterna_device_close(&s.device);
}

/* ---- a device that fails ---- */

static int left; /* calls until the device fails, for good */

static sterna_status failing_end(st_device *dev, sterna_error *error)
{
    sterna_status status = real->end(dev, error);
    return left > 0 ? status : st_fail(error, STERNA_E_DEVICE, "the device fell off the bus");
}

static void failing_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    left--;
    if (left > 0)
        real->write(dev, buf, offset, src, bytes);
}

static void failing_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    left--;
    if (left > 0)
        real->read(dev, buf, offset, dst, bytes);
}

Test(linear_api, device_failures_come_back_and_stay)
{
    static const char message[] = "the device fell off the bus";
    for (int calls = 1; calls <= 4; calls++) { /* x, old y, new y; the fourth never comes */
        scene s;
        scene_open(&s, "cpu", false);
        sterna_linear *linear = scene_linear(&s, 2, 0), *second = NULL;
        sterna_buffer *x = scene_buffer(&s, 2 * SCENE_K * 4), *y = scene_buffer(&s, 2 * SCENE_N * 4);
        real = s.device->dev->backend;
        st_backend table = *real;
        table.end = failing_end;
        table.write = failing_write;
        table.read = failing_read;
        s.device->dev->backend = &table;
        left = calls;
        sterna_linear_host_args h = host_operands(2);
        h.accumulate = true;
        if (calls == 4) {
            OK(sterna_linear_run(linear, &h, error));
            REFUSED(sterna_buffer_write(x, 0, x_host, 4, error), STERNA_E_DEVICE, message);
        } else {
            REFUSED(sterna_linear_run(linear, &h, error), STERNA_E_DEVICE, message);
        }
        sterna_linear_device_args d = device_operands(2, x, y);
        REFUSED(sterna_linear_run_device(linear, &d, error), STERNA_E_DEVICE, message);
        REFUSED(sterna_buffer_read(y, 0, y_host, 4, error), STERNA_E_DEVICE, message);
        REFUSED(sterna_buffer_write(y, 0, y_host, 4, error), STERNA_E_DEVICE, message);
        REFUSED(sterna_buffer_fill(y, 0, error), STERNA_E_DEVICE, message);
        REFUSED(sterna_linear_create(s.device, &s.m, NULL, &second, error), STERNA_E_DEVICE, message);
        cr_assert_null(second);
        s.device->dev->backend = real;
        sterna_linear_destroy(&linear);
        sterna_buffer_destroy(&x);
        sterna_buffer_destroy(&y);
        sterna_device_close(&s.device);
    }
}
