/* sterna-bench ops from outside: what it prints can be read and adds up; never how fast it was. */
#include "tests/support/csv.h"
#include "tests/support/json_rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN(...)             spawn((const char *const[]){STERNA_BENCH_BINARY, "ops", __VA_ARGS__, NULL}, NULL)
#define OPS(...)             RUN("-r", "3", "-t", "1", "--footprint", "64K", __VA_ARGS__)
#define EXPECT_USAGE(m, ...) expect_failure(RUN(__VA_ARGS__), 2, "sterna-bench ops: " m "\n")

static void expect_failure(spawned s, int code, const char *message)
{
    cr_expect_eq(s.code, code, "code %d instead of %d: %s", s.code, code, s.err);
    cr_expect_str_eq(s.err, message);
    cr_expect_eq(s.out_size, 0u, "output: %s", s.out);
    spawned_free(&s);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b));
}

static bool is(const json_t *row, const char *key, const char *text)
{
    return strcmp(json_text(row, key), text) == 0;
}

Test(bench_ops, usage_errors)
{
    EXPECT_USAGE("--op: there is no op 'conv'", "--op", "linear,conv");
    EXPECT_USAGE(
        "--shape: 'huge' is neither NxK nor a shape (sterna-bench make-model --list names them; also "
        "bonsai-8b, bonsai-27b)",
        "--shape", "huge");
    EXPECT_USAGE("--shape: '0x5' is not a matrix of at most 1048576x131072", "--shape", "0x5");
    EXPECT_USAGE("--shape: '8x131073' is not a matrix of at most 1048576x131072", "--shape", "8x131073");
    EXPECT_USAGE("--shape 8x16: that is matrices, and attend needs a model's shape", "--shape", "8x16",
                 "--op", "linear,attend");
    EXPECT_USAGE("--type: 'int4' is not ternary, q8, f16, bf16 or f32", "--type", "ternary,int4");
    EXPECT_USAGE("--group: 48 is not 0, 32, 64, 128 or 256", "--group", "0,48");
    EXPECT_USAGE("--group: 'a' is not a list of 0, 32, 64, 128 or 256", "--group", "a");
    EXPECT_USAGE("--act-group: 5 is not 0, 32, 64, 128 or 256", "--act-group", "5");
    EXPECT_USAGE("--rows: '0' is not a list of at most 64 numbers of 1 ... 8192, such as 1,8 or 8-64+8 or "
                 "1-64*2",
                 "-n", "0");
    EXPECT_USAGE(
        "--depth: '1-' is not a list of at most 64 numbers of 0 ... 262144, such as 1,8 or 8-64+8 or "
        "1-64*2",
        "-d", "1-");
    EXPECT_USAGE("--sequences: 'none' is not one of auto|each|one", "--sequences", "none");
    EXPECT_USAGE("--footprint: 1024 bytes are out of range (64K ... 64G)", "--footprint", "1K");
    EXPECT_USAGE("--output: 'xml' is not table, md, csv or json", "-o", "xml");
    EXPECT_USAGE("--threads is for the cpu device, not for ref", "--device", "ref", "-t", "1");
    EXPECT_USAGE("--compare: cannot open /nowhere/x.json", "--compare", "/nowhere/x.json");
    EXPECT_USAGE("--variant: device cpu has no variant 'sse9' of these ops", "--variant", "sse9", "--shape",
                 "8x8", "--footprint", "64K");
    expect_failure(
        RUN("--device", "abacus", "--shape", "8x8"), 1,
        "sterna-bench ops: unknown device 'abacus' (known: auto, cpu, ref, cuda[:N], vulkan[:N])\n");
    spawned s = RUN("-t", "200");
    cr_expect(s.code == 2 && strstr(s.err, "--threads 200: this process may run on "), "%s", s.err);
    spawned_free(&s);
}

/* ---- figures ---- */

/* Bytes of a linear over the matrix on the CPU backend, as layouts and backend.h say: at least the codes. */
static void check_linear(const json_t *row)
{
    double n = json_number(row, "n"), k = json_number(row, "k"), rows = json_number(row, "rows");
    bool f16 = is(row, "type", "f16"), f32 = is(row, "type", "f32"), q8 = is(row, "type", "q8");
    double weights = n * k * (f32 ? 4.0 : f16 ? 2.0 : q8 ? 1.0 : 0.25);
    cr_expect_eq(json_number(row, "macs"), n * k * rows);
    cr_expect_geq(json_number(row, "bytes"), weights + rows * n * 4.0);
    cr_expect_eq(json_is_none(row, "int8_percent"), f16 || f32);
    cr_expect_geq(json_number(row, "operand_bytes"), 65536);
}

static void check_row(const json_t *root, const json_t *row)
{
    double us = json_number(row, "us"), macs = 0.0;
    double read = json_number(root, "read_gigabytes_per_second_t1"), peak = 0.0;
    const char *key;
    json_t *fact;
    json_object_foreach((json_t *)(uintptr_t)root, key, fact)
    {
        if (strncmp(key, "int8_gigamacs_", 14) == 0)
            peak = fmax(peak, json_number_value(fact));
    }
    cr_expect(us > 0.0 && json_number(row, "us_min") <= us && us <= json_number(row, "us_max"));
    cr_expect(json_number(row, "us_iqr_percent") >= 0.0);
    cr_expect_eq(json_number(row, "runs"), 3);
    cr_expect(near(json_number(row, "gigabytes_per_second") * us, 1e-3 * json_number(row, "bytes")));
    if (!json_is_none(row, "macs")) {
        macs = json_number(row, "macs");
        cr_expect(near(json_number(row, "gigamacs_per_second") * us, 1e-3 * macs));
    }
    if (!json_is_none(row, "read_percent"))
        cr_expect(
            near(json_number(row, "read_percent") * read, 100.0 * json_number(row, "gigabytes_per_second")));
    cr_expect_eq(json_is_none(row, "read_percent"), json_is_none(row, "operand_bytes"));
    if (!json_is_none(row, "int8_percent"))
        cr_expect(
            near(json_number(row, "int8_percent") * peak, 100.0 * json_number(row, "gigamacs_per_second")));
    cr_expect(json_is_none(row, "ratio") && json_is_none(row, "verdict"));
    if (is(row, "op", "linear"))
        check_linear(row);
    if (is(row, "op", "attend")) { /* tiny: 4 heads of 64, 2 of keys */
        double rows = json_number(row, "rows"), depth = json_number(row, "depth");
        double keys = rows * (depth + 1);
        cr_expect_eq(json_number(row, "sequences"), rows);
        cr_expect_eq(macs, 2.0 * keys * 4 * 64);
        cr_expect_eq(json_number(row, "bytes"), keys * 2 * 64 * 4 + 2 * rows * 256 * 4);
    }
}

Test(bench_ops, adds_up, .timeout = 120)
{
    json_t *root = json_of(OPS("--shape", "tiny,70x100", "-n", "1-3+2", "-d", "0,70", "--variant", "all",
                               "--type", "ternary,q8,f16", "--group", "0,32", "-o", "json"));
    static const char *const ops[] = {"embed",      "norm",   "norm_quant",     "linear",
                                      "rope_store", "attend", "glu_norm_quant", "topk"};
    int count[8] = {0}, baselines = 0, types = 0;
    const json_t *rows = json_object_get(root, "rows");
    cr_expect_str_eq(json_text(root, "command"), "ops");
    cr_expect_str_eq(json_text(root, "skipped_cublas"), "not in this build");
    cr_expect_eq(json_number(root, "footprint"), 65536);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        check_row(root, row);
        double n = json_number(row, "rows");
        cr_expect(n == 1 || n == 3);
        for (int op = 0; op < 8; op++)
            count[op] += is(row, "op", ops[op]);
        bool matrix =
            is(row, "shape", "70x100") && is(row, "kind", "variant") && is(row, "variant", "portable");
        baselines += is(row, "shape", "70x100") && strncmp(json_text(row, "variant"), "fp16-loop (", 11) == 0;
        types += matrix;
        if (matrix && !is(row, "type", "f16"))
            cr_expect(json_number(row, "group") == 0 || json_number(row, "group") == 32);
    }
    for (int op = 0; op < 8; op++)
        cr_expect_gt(count[op], 0, "%s", ops[op]);
    cr_expect_eq(baselines, 2, "beside the first type and group, for 1 and 3 rows");
    cr_expect_eq(types, 2 * 5, "ternary and q8 with both groups, f16 without");
    json_decref(root);
}

Test(bench_ops, attend_of_one_sequence, .timeout = 60)
{
    json_t *root = json_of(
        OPS("--op", "attend", "--shape", "tiny", "-n", "5", "-d", "60", "--sequences", "one", "-o", "json"));
    const json_t *row = json_array_get(json_object_get(root, "rows"), 0);
    cr_expect_eq(json_array_size(json_object_get(root, "rows")), 1u);
    cr_expect_eq(json_number(row, "sequences"), 1);
    cr_expect_eq(json_number(row, "macs"), 2.0 * (61 + 62 + 63 + 64 + 65) * 4 * 64);
    cr_expect_eq(json_number(row, "bytes"), 65 * 2 * 64 * 4 + 2 * 5 * 256 * 4, "keys of all rows once");
    json_decref(root);
}

/* ---- variants ---- */

static int count_rows(const json_t *root, const char *kind, const char *variant)
{
    int n = 0;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        n += is(row, "kind", kind) && (!variant || is(row, "variant", variant));
    }
    return n;
}

Test(bench_ops, variants, .timeout = 60)
{
    json_t *root =
        json_of(OPS("--op", "linear,norm", "--shape", "tiny", "-n", "1", "--no-baselines", "-o", "json"));
    cr_expect_eq(count_rows(root, "variant", NULL), 6, "one for each matrix and for norm");
    cr_expect_eq(count_rows(root, "baseline", NULL), 0);
    json_decref(root);
    root = json_of(OPS("--op", "linear,norm", "--shape", "tiny", "-n", "1", "--no-baselines", "--variant",
                       "portable", "-o", "json"));
    cr_expect_eq(count_rows(root, "variant", "portable"), 6);
    json_decref(root);
    root = json_of(RUN("--op", "linear", "--shape", "tiny", "-n", "2", "-r", "1", "--device", "ref",
                       "--footprint", "64K", "--no-baselines", "-o", "json"));
    cr_expect_eq(count_rows(root, "variant", NULL), 5);
    cr_expect_str_eq(json_text(root, "device"), "ref");
    cr_expect(json_number(root, "read_gigabytes_per_second_t1") > 0.0);
    json_decref(root);
}

/* Three runs, however short the limit. */
Test(bench_ops, limit, .timeout = 60)
{
    json_t *root = json_of(RUN("--op", "linear", "--shape", "64x64", "-n", "1", "-t", "1", "-r", "50",
                               "--limit", "0.0000001", "--footprint", "64K", "-o", "json"));
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        cr_expect_eq(json_number(row, "runs"), 3);
    }
    json_decref(root);
}

/* ---- formats ---- */

Test(bench_ops, formats, .timeout = 60)
{
    spawned s = OPS("--op", "linear,norm", "--shape", "tiny", "-n", "1,2", "-o", "csv");
    cr_assert(s.code == 0 && s.err[0] == '\0', "%s", s.err);
    csv *table = calloc(1, sizeof *table);
    cr_assert(table && csv_read(table, s.out), "%s", s.out);
    cr_expect_str_eq(csv_text(table, 0, "op"), "norm");
    cr_expect_eq(csv_number(table, 1, "rows"), 2);
    cr_expect(csv_number(table, 0, "us") > 0.0 && isnan(csv_number(table, 0, "macs")));
    csv_free(table);
    free(table);
    spawned_free(&s);
    s = OPS("--op", "linear,norm", "--shape", "tiny", "-n", "1", "-o", "md");
    cr_expect(strstr(s.out,
                     "\n| op | shape | variant | type | group | rows | depth | threads | runs | us | GB/s | "
                     "GMAC/s | read % | int8 % |\n"),
              "%s", s.out);
    cr_expect(strstr(s.out, "- footprint_text: 65.5 kB, "), "%s", s.out);
    spawned_free(&s);
    s = OPS("--op", "norm", "--shape", "tiny", "-n", "1");
    cr_expect(s.code == 0 && strstr(s.out, "int8 %\n") && !strstr(s.out, "verdict"), "%s", s.out);
    spawned_free(&s);
}

/* ---- comparisons ---- */

static void save(const char *text, char path[64])
{
    strcpy(path, "/tmp/sterna-bench-XXXXXX");
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static const json_t *row_of(const json_t *root, const char *op, double rows)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        if (is(row, "op", op) && json_number(row, "rows") == rows)
            return row;
    }
    cr_assert_fail("no row of %s with %g rows", op, rows);
    return NULL;
}

Test(bench_ops, compare, .timeout = 60)
{
    char path[64];
    spawned s = OPS("--op", "norm,topk", "--shape", "tiny", "-n", "1,2", "-o", "json");
    cr_assert_eq(s.code, 0, "%s", s.err);
    save(s.out, path);
    json_t *old = json_of(s);
    s = OPS("--op", "norm,embed", "--shape", "tiny", "-n", "1,3", "-o", "json", "--compare", path);
    cr_assert_eq(s.code, 0, "%s", s.err);
    char again[64];
    save(s.out, again);
    json_t *root = json_of(s);
    const json_t *both = row_of(root, "norm", 1);
    cr_expect_eq(json_number(root, "compared_rows"), 1);
    cr_expect_eq(json_number(root, "new_rows"), 3);
    cr_expect_eq(json_number(root, "missing_rows"), 3);
    cr_expect(!json_object_get(root, "compared_device_description"), "it is the same");
    cr_expect(near(json_number(both, "old_us"), json_number(row_of(old, "norm", 1), "us")));
    cr_expect(near(json_number(both, "ratio") * json_number(both, "us"), json_number(both, "old_us")));
    double spread = json_number(both, "ratio_spread_percent"), ratio = json_number(both, "ratio");
    cr_expect(near(spread, hypot(json_number(both, "us_iqr_percent"),
                                 json_number(row_of(old, "norm", 1), "us_iqr_percent"))));
    bool same = ratio <= 1.0 + spread / 100.0 && ratio >= 1.0 / (1.0 + spread / 100.0);
    cr_expect_str_eq(json_text(both, "verdict"), same ? "same" : ratio > 1.0 ? "faster" : "slower");
    cr_expect_str_eq(json_text(row_of(root, "norm", 3), "verdict"), "new");
    cr_expect_str_eq(json_text(row_of(root, "embed", 1), "verdict"), "new");
    cr_expect_str_eq(json_text(row_of(root, "norm", 2), "verdict"), "missing");
    cr_expect_str_eq(json_text(row_of(root, "topk", 2), "verdict"), "missing");
    cr_expect(json_is_none(row_of(root, "topk", 2), "us") &&
              json_number(row_of(root, "topk", 2), "old_us") > 0.0);
    json_decref(root);
    s = OPS("--op", "norm", "--shape", "tiny", "-n", "1", "--compare", again);
    cr_expect(s.code == 0 && strstr(s.out, "\nmissing_rows: 3\n"), "rows that were missing are none: %s",
              s.out);
    cr_expect(strstr(s.out, "  x faster  verdict\n"), "%s", s.out);
    spawned_free(&s);
    unlink(path);
    unlink(again);
    json_decref(old);
}

Test(bench_ops, compare_with_what_is_none, .timeout = 60)
{
    static const char *const texts[] = {"", "{\"rows\": [", "{\"rows\": [{\"op\": \"norm\"}]}", "[1, 2]"};
    static const char *const messages[] = {" is not JSON: line ", " is not JSON: line ",
                                           " has no rows of sterna-bench ops\n",
                                           " has no rows of sterna-bench ops\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char path[64];
        save(texts[i], path);
        spawned s = OPS("--compare", path);
        cr_expect(s.code == 2 && strstr(s.err, messages[i]) && strstr(s.err, path), "%s: %s", texts[i],
                  s.err);
        spawned_free(&s);
        unlink(path);
    }
}
