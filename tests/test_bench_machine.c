/* What sterna-bench measures beside the engine: the machine's limits, dense products, and the operands of
 * ops. No test looks at a speed. */
#include "bench/baseline.h"
#include "bench/ops.h"
#include "bench/ops_fill.h"
#include "host/cli/tool.h"
#include "host/profile/ceiling.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char st_tool_name[] = "test";

/* ---- ceilings ---- */

Test(bench_machine, ceilings, .timeout = 60)
{
    st_ceilings *c;
    sterna_error error;
    cr_assert_eq(st_ceilings_open(1, NULL, 200000, 0.001, &c, &error), STERNA_OK, "%s", error.message);
    st_ceiling read = *st_ceilings_read(c), int8 = *st_ceilings_int8(c), isa, last = {.rate = 0.0};
    cr_expect(read.rate > 0.0 && int8.rate > 0.0 && read.n_thread == 1 && int8.n_thread == 1);
    cr_expect_eq(read.bytes, 262144u, "whole blocks");
    cr_expect_gt(read.n_pass, 0);
    int n = 0;
    for (; st_ceilings_int8_of(c, n, &isa); n++) {
        cr_expect(isa.rate > 0.0 && isa.rate <= int8.rate);
        last = isa;
    }
    cr_expect_geq(n, 1);
    cr_expect_str_eq(last.loop, "portable");
    cr_expect(!st_ceilings_int8_of(c, -1, &isa));
    for (int i = 0; i < 3; i++) {
        st_ceiling before = *st_ceilings_read(c), peak = *st_ceilings_int8(c);
        st_ceilings_sample(c);
        cr_expect_eq(st_ceilings_read(c)->n_pass, before.n_pass + 1);
        cr_expect_gt(st_ceilings_int8(c)->n_pass, peak.n_pass);
        cr_expect(st_ceilings_read(c)->rate >= before.rate && st_ceilings_int8(c)->rate >= peak.rate);
    }
    st_ceilings_close(&c);
    cr_expect_null(c);
}

Test(bench_machine, ceilings_by_instruction_set, .timeout = 60)
{
    st_ceiling c;
    sterna_error error;
    cr_assert_eq(st_ceiling_read(1, "", 1 << 18, 0.0, &c, &error), STERNA_OK);
    cr_expect_str_eq(c.loop, "portable");
    cr_expect_eq(c.n_pass, 3);
    cr_assert_eq(st_ceiling_int8(2, "", 0.0, &c, &error), STERNA_OK);
    cr_expect_str_eq(c.loop, "portable");
    cr_expect_geq(c.n_pass, 6);
    cr_assert_eq(st_ceiling_int8(1, "avx2 f16c", 0.0, &c, &error), STERNA_OK);
    cr_expect(strcmp(c.loop, "avx2") == 0 || strcmp(c.loop, "portable") == 0, "%s", c.loop);
    const st_ceiling_loops *vnni = &st_ceiling_avx512vnni;
    for (int i = 0; i < 2 && vnni->multiply && vnni->supported(); i++) {
        cr_assert_eq(st_ceiling_int8(1, i ? "avx2 avx512_vnni" : "avx2 avx512vnni", 0.0, &c, &error),
                     STERNA_OK);
        cr_expect_str_eq(c.loop, "avx512vnni");
    }
}

static void write_text(const char *folder, int index, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/index%d", folder, index);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/index%d/%s", folder, index, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0);
    fclose(file);
}

Test(bench_machine, caches)
{
    char folder[] = "/tmp/sterna-cache-XXXXXX", command[64];
    cr_assert(mkdtemp(folder));
    cr_expect_eq(st_cache_bytes(folder), 0u);
    write_text(folder, 0, "size", "48K\n");
    cr_expect_eq(st_cache_bytes(folder), 48u << 10);
    write_text(folder, 1, "size", "3M\n");
    write_text(folder, 2, "size", "512\n");
    cr_expect_eq(st_cache_bytes(folder), 3u << 20);
    write_text(folder, 2, "size", "none\n"); /* ends the list */
    cr_expect_eq(st_cache_bytes(folder), 3u << 20);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_expect_eq(system(command), 0);
}

/* ---- baselines ---- */

static void check_output(const st_baseline *b, const float *x, int32_t k, int32_t row, int32_t out)
{
    double sum = 0.0, size = 1e-3, got = (double)st_baseline_result(b, row, out);
    for (int32_t j = 0; j < k; j++) {
        double product = (double)st_baseline_weight(b, out, j) * (double)x[j];
        sum += product;
        size += fabs(product);
    }
    cr_assert(fabs(got - sum) <= 1e-5 * size, "%s: row %d out %d: %g instead of %g", st_baseline_how(b), row,
              out, got, sum);
}

static void check_product(int which, int32_t n, int32_t k, int32_t rows, int32_t n_thread)
{
    char why[200] = "";
    st_baseline *b = st_baseline_open(which, n, k, rows, n_thread, 1 << 16, why, sizeof why);
    if (!b && which == ST_BASELINE_OPENBLAS)
        return; /* it need not be there */
    cr_assert(b, "%s", why);
    float *x = calloc((size_t)rows * (size_t)k, sizeof *x);
    for (int32_t i = 0; i < rows * k; i++)
        x[i] = (float)(i * 37 % 101 - 50) / 50.0f;
    st_baseline_set_input(b, x, rows);
    for (int turn = 0; turn < 3; turn++) { /* the copies of W are the same */
        st_baseline_run(b, rows);
        for (int32_t r = 0; r < rows; r++)
            for (int32_t i = 0; i < n; i++)
                check_output(b, x + r * k, k, r, i);
    }
    cr_expect_eq(st_baseline_bytes(b, rows), (uint64_t)n * (uint64_t)k * (which == ST_BASELINE_FP16 ? 2 : 4) +
                                                 (uint64_t)rows * (uint64_t)(n + k) * 4);
    cr_expect(st_baseline_how(b)[0]);
    st_baseline_close(&b);
    free(x);
}

Test(bench_machine, baselines_multiply, .timeout = 60)
{
    static const int32_t shapes[][4] = {{1, 1, 1, 1},     {16, 32, 1, 1}, {17, 33, 2, 1}, {50, 100, 5, 2},
                                        {131, 257, 4, 2}, {40, 64, 7, 1}, {3, 300, 9, 2}};
    for (int which = 0; which <= ST_BASELINE_OPENBLAS; which++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            check_product(which, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3]);
    char why[200];
    cr_expect_null(st_baseline_open(ST_BASELINE_CUBLAS, 1, 1, 1, 1, 1, why, sizeof why));
    cr_expect_str_eq(why, "not in this build");
}

/* The loops of every instruction set, not only the best. */
Test(bench_machine, fp16_loops_agree)
{
    enum { STRIDE = 96, ROWS = 6 };
    static const st_fp16_loops *const all[] = {&st_fp16_avx2, &st_fp16_avx512};
    static uint16_t w[ST_FP16_TILE * STRIDE];
    static float x[ROWS * STRIDE], y[ROWS * ST_FP16_TILE], scratch[ST_FP16_TILE * STRIDE];
    for (int i = 0; i < ST_FP16_TILE * STRIDE; i++)
        w[i] = st_f32_to_f16((float)(i % 23 - 11));
    for (int i = 0; i < ROWS * STRIDE; i++)
        x[i] = (float)(i % 7 - 3);
    for (int i = 0; i < 2; i++)
        for (int rows = 1; rows <= ROWS && all[i]->tile && all[i]->supported(); rows++) {
            memset(y, 0xff, sizeof y);
            all[i]->tile(w, x, STRIDE, rows, scratch, y, ST_FP16_TILE);
            for (int r = 0; r < rows; r++)
                for (int out = 0; out < ST_FP16_TILE; out++) {
                    float sum = 0.0f; /* whole numbers: exact in any order */
                    for (int k = 0; k < STRIDE; k++)
                        sum += st_f16_to_f32(w[out * STRIDE + k]) * x[r * STRIDE + k];
                    cr_assert_eq(y[r * ST_FP16_TILE + out], sum, "%s, %d rows: row %d out %d", all[i]->name,
                                 rows, r, out);
                }
        }
}

/* ---- operands ---- */

/* Runs an op in the checking layer, which knows what is wrong with arguments. */
static void check_op(st_op op, const char *item, st_type type, int32_t group)
{
    static st_op_shapes shapes;
    static const st_op_rows rows[] = {{1, 0, false}, {3, 70, false}, {5, 70, true}, {2, 130, false}};
    enum { N = sizeof rows / sizeof rows[0] };
    char message[256];
    bool has;
    sterna_error error = {STERNA_OK, ""};
    st_device *dev;
    st_op_rig rig;
    const st_device_params params = {.n_thread = 1, .trace = true, .check = true};
    shapes.n = 0;
    cr_assert(st_op_shapes_add(&shapes, op, item, &has, message, sizeof message) && has, "%s", message);
    cr_assert_eq(st_device_open("cpu", &params, &dev, &error), STERNA_OK);
    for (int i = 0; i < shapes.n; i++) {
        st_op_shape *s = &shapes.shape[i];
        s->type = type;
        s->group = group;
        cr_assert_eq(st_op_rig_open(&rig, dev, s, 1 << 18, rows, N, &error), STERNA_OK, "%s", error.message);
        for (int r = 0; r < N; r++) {
            double seconds = -1.0;
            const char *variant = NULL;
            cr_assert_eq(st_op_rig_rows(&rig, &rows[r], &error), STERNA_OK, "%s", error.message);
            for (int n = 1; n <= 9; n += 4)
                cr_assert_eq(st_op_rig_run(&rig, n, &seconds, &variant, &error), STERNA_OK, "%s %s: %s",
                             st_op_name(op), s->name, error.message);
            cr_expect(seconds >= 0.0 && variant);
            cr_expect_gt(st_op_rig_bytes(&rig), 0u);
            bool cold = op == ST_OP_LINEAR || op == ST_OP_ATTEND;
            cr_expect(!cold || st_op_rig_footprint(&rig) >= 1 << 18);
        }
        st_op_rig_close(&rig);
    }
    st_device_close(&dev);
}

Test(bench_machine, every_op_runs, .timeout = 120)
{
    for (int op = 0; op < ST_OP_COUNT; op++)
        check_op((st_op)op, "tiny", op == ST_OP_EMBED ? ST_F16 : ST_TERNARY, 0);
    static const st_type types[] = {ST_TERNARY, ST_Q8, ST_F16, ST_BF16, ST_F32};
    for (int i = 0; i < 5; i++)
        check_op(ST_OP_LINEAR, "37x131", types[i], i < 2 ? 64 : 0);
}

/* Keys and values that attend sees are finite, whatever page they are in. */
Test(bench_machine, attend_sees_numbers, .timeout = 60)
{
    static st_op_shapes shapes;
    char message[256];
    bool has;
    sterna_error error;
    st_device *dev;
    st_op_rig rig;
    const st_device_params params = {.n_thread = 1, .trace = true};
    const st_op_rows rows = {3, 200, false};
    shapes.n = 0;
    cr_assert(st_op_shapes_add(&shapes, ST_OP_ATTEND, "tiny", &has, message, sizeof message));
    cr_assert_eq(st_device_open("cpu", &params, &dev, &error), STERNA_OK);
    cr_assert_eq(st_op_rig_open(&rig, dev, shapes.shape, 3 << 20, &rows, 1, &error), STERNA_OK);
    cr_assert_eq(st_op_rig_rows(&rig, &rows, &error), STERNA_OK);
    cr_assert_gt(rig.n_batch, 3);
    bool *used = calloc((size_t)rig.n_page, sizeof *used);
    int n_used = 0;
    for (int turn = 0; turn < rig.n_batch; turn++) {
        double seconds;
        const char *variant;
        int32_t table[12];
        float y[3 * 256];
        const st_batch *batch = &rig.batch[turn];
        cr_assert_eq(st_op_rig_run(&rig, 1, &seconds, &variant, &error), STERNA_OK);
        dev->backend->read(dev, rig.buf[1], 0, y, sizeof y);
        float most = 0.0f;
        for (size_t i = 0; i < sizeof y / sizeof y[0]; i++) {
            cr_assert(isfinite(y[i]) && fabsf(y[i]) <= 1.0f, "turn %d: %g", turn, (double)y[i]);
            most = fmaxf(most, fabsf(y[i]));
        }
        cr_assert_gt(most, 0.01f, "values were stored");
        dev->backend->read(dev, batch->table, 0, table, sizeof table);
        for (int i = 0; i < 12; i++) {
            cr_assert(table[i] >= 0 && table[i] < rig.n_page && !used[table[i]], "a page is used twice");
            used[table[i]] = true;
            n_used++;
        }
    }
    cr_expect_gt(n_used + 12, rig.n_page, "%d of %d pages", n_used, rig.n_page);
    free(used);
    st_op_rig_close(&rig);
    st_device_close(&dev);
}

Test(bench_machine, matrices_are_sound)
{
    static const st_type types[] = {ST_TERNARY, ST_Q8, ST_F16, ST_BF16, ST_F32};
    sterna_error error;
    for (int i = 0; i < 5; i++) {
        st_matrix m;
        int count[3] = {0};
        cr_assert_eq(st_fill_matrix(types[i], i < 2 ? 32 : 0, 50, 101, &m, &error), STERNA_OK);
        cr_expect_eq(st_matrix_check(&m, &error), STERNA_OK, "%s", error.message);
        for (int64_t row = 0; row < m.rows; row++)
            for (int64_t col = 0; col < m.cols; col++) {
                float value = st_matrix_value(&m, row, col);
                cr_assert(fabsf(value) < 2.0f);
                count[value < 0.0f ? 0 : value > 0.0f ? 2 : 1]++;
                if (types[i] == ST_TERNARY)
                    cr_assert_leq(st_matrix_code(&m, row, col), 2);
            }
        cr_expect(count[0] > 1000 && count[2] > 1000 && (types[i] != ST_TERNARY || count[1] > 1000));
        st_free((void *)(uintptr_t)m.data);
        st_free((void *)(uintptr_t)m.scale);
    }
}

/* ---- reports ---- */

/* Of one line: 2000 bytes and 100 multiply-accumulates in a microsecond. */
static char *report_of(bool software, bool measured)
{
    static st_op_shape shape = {.op = ST_OP_LINEAR, .name = "4x25", .n = 4, .k = 25};
    st_ops_plan plan = {.format = ST_FORMAT_JSON, .footprint = 1 << 20, .repetitions = 1};
    st_ops_line line = {.shape = &shape,
                        .rows = {1, 0, true},
                        .variant = "v",
                        .type = "ternary",
                        .n_run = 1,
                        .seconds = 1e-6,
                        .least = 1e-6,
                        .most = 1e-6,
                        .bytes = 2000,
                        .macs = 100,
                        .footprint = 1 << 20,
                        .int8 = true};
    st_ops_result result = {.plan = &plan, .n_machine = 1, .line = &line, .n_line = 1};
    result.device.software = software;
    result.machine[0] = (st_ops_machine){
        1, measured, {.rate = 8e9, .loop = "l", .pattern = "p"}, {.rate = 1e12}, {{.rate = 0.0}}, 0};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_eq(st_ops_report(&result, NULL, out), 0);
    fclose(out);
    return text;
}

static void expect_part(char *text, bool there, const char *part)
{
    cr_expect_eq(strstr(text, part) != NULL, there, "%s: %s", part, text);
}

Test(bench_machine, software_devices_have_no_rates)
{
    char *text = report_of(false, true);
    expect_part(text, true, "\"us\": 1,");
    expect_part(text, true, "\"gigabytes_per_second\": 2,");
    expect_part(text, true, "\"gigamacs_per_second\": 0.1,");
    expect_part(text, true, "\"read_percent\": 25,");
    expect_part(text, true, "\"int8_percent\": 0.01,");
    free(text);
    text = report_of(true, false);
    expect_part(text, true, "\"us\": 1,");
    expect_part(text, true, "\"gigabytes_per_second\": null,");
    expect_part(text, true, "\"gigamacs_per_second\": null,");
    expect_part(text, true, "\"read_percent\": null,");
    expect_part(text, true, "\"int8_percent\": null,");
    free(text);
}
