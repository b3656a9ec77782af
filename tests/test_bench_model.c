/* sterna-bench model from outside: what it prints can be read and adds up; never how fast it was. */
#include "tests/support/csv.h"
#include "tests/support/json_rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN(...)             spawn((const char *const[]){STERNA_BENCH_BINARY, "model", __VA_ARGS__, NULL}, NULL)
#define MODEL(...)           RUN("--shape", "tiny", "-t", "1", __VA_ARGS__)
#define EXPECT_USAGE(m, ...) expect_failure(RUN(__VA_ARGS__), 2, "sterna-bench model: " m "\n")
#define LIST                 ", such as 1,8 or 8-64+8 or 1-64*2"

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

Test(bench_model, usage_errors)
{
    EXPECT_USAGE("no model: give one with --model FILE or --shape NAME", "-p", "5");
    EXPECT_USAGE("--prompt: 'a' is not a list of at most 64 numbers of 0 ... 1048576" LIST, "-p", "a");
    EXPECT_USAGE("--generate: '8-4' is not a list of at most 64 numbers of 0 ... 1048576" LIST, "-n", "8-4");
    EXPECT_USAGE("--batches: '0' is not a list of at most 64 numbers of 1 ... 1024" LIST, "-b", "0");
    EXPECT_USAGE("--depth: '' is not a list of at most 64 numbers of 0 ... 1048576" LIST, "-d", "");
    EXPECT_USAGE("--prompt-generate: '5' is not N,M with numbers of 1 ... 1048576", "-pg", "5");
    EXPECT_USAGE("--output: 'xml' is not table, md, csv, json or jsonl", "-o", "xml");
    EXPECT_USAGE("--shared-prompt is for --batches", "-pps");
    EXPECT_USAGE("--batches 9: a step of --batch-size 8 tokens has no room for so many", "-b", "1,9",
                 "--batch-size", "8");
    EXPECT_USAGE("--batches needs a length of --prompt and one of --generate other than 0", "-b", "2", "-p",
                 "0");
    EXPECT_USAGE("nothing to measure: --prompt and --generate are 0", "-p", "0", "-n", "0");
    EXPECT_USAGE("--threads is for the cpu device, not for ref", "--device", "ref", "-t", "1");
    EXPECT_USAGE("--compare: cannot open /nowhere/x.json", "--compare", "/nowhere/x.json");
    EXPECT_USAGE("these tests need 643 positions: the model was made for 512", "--shape", "tiny", "-t", "1",
                 "-d", "512", "-p", "100");
    expect_failure(RUN("-m", "/nowhere/x.gguf"), 1,
                   "sterna-bench model: /nowhere/x.gguf: cannot open: No such file or directory\n");
}

/* ---- figures ---- */

static void check_moments(const json_t *row, const char *samples, double factor, const char *mean_key,
                          const char *deviation_key, double slack)
{
    const json_t *list = json_object_get(row, samples);
    double n = (double)json_array_size(list), sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += json_number_value(json_array_get(list, i));
    for (size_t i = 0; i < json_array_size(list); i++)
        squares += pow(json_number_value(json_array_get(list, i)) - sum / n, 2.0);
    cr_expect(fabs(json_number(row, mean_key) - factor * sum / n) <= slack + 1e-6 * sum / n, "%s", mean_key);
    double deviation = n > 1.0 ? factor * sqrt(squares / (n - 1.0)) : 0.0;
    cr_expect(fabs(json_number(row, deviation_key) - deviation) <= slack + 1e-4 * deviation, "%s",
              deviation_key);
}

/* `tokens`: that each repetition computes. */
static void check_test(const json_t *row, const char *name, double tokens, double repetitions)
{
    const json_t *ns = json_object_get(row, "samples_ns"), *ts = json_object_get(row, "samples_ts");
    double seconds = 0.0;
    cr_expect_str_eq(json_text(row, "test"), name);
    cr_assert(json_array_size(ns) == repetitions && json_array_size(ts) == repetitions);
    for (size_t i = 0; i < json_array_size(ns); i++) {
        double s = 1e-9 * json_number_value(json_array_get(ns, i));
        cr_expect(fabs(json_number_value(json_array_get(ts, i)) * s - tokens) < 1e-3 * tokens,
                  "%s: %g tokens", name, json_number_value(json_array_get(ts, i)) * s);
        seconds += s;
    }
    check_moments(row, "samples_ns", 1.0, "avg_ns", "stddev_ns", 2.0);
    check_moments(row, "samples_ts", 1.0, "avg_ts", "stddev_ts", 1e-6);
    double bytes = json_number(row, "bytes_per_token") * tokens * repetitions;
    cr_expect(fabs(json_number(row, "gigabytes_per_second") * seconds / (1e-9 * bytes) - 1.0) < 1e-3);
    cr_expect(near(json_number(row, "read_percent") * json_number(row, "read_gigabytes_per_second"),
                   100.0 * json_number(row, "gigabytes_per_second")));
    cr_expect(json_number(row, "load_seconds") > 0.0 && json_number(row, "load_seconds") < 60.0);
    cr_expect(json_number(row, "load_peak_bytes") > 1e6 && json_number(row, "kv_bytes") > 0.0);
    cr_expect_str_eq(json_text(row, "head"), "f16");
    cr_expect_eq(json_number(row, "n_threads"), 1);
    cr_expect_str_eq(json_text(row, "model_type"), "tiny (random weights, seed 1)");
    cr_expect_eq(strlen(json_text(row, "test_time")), 20u);
}

Test(bench_model, adds_up, .timeout = 120)
{
    json_t *rows =
        json_of(MODEL("-p", "70,9", "-n", "6", "-pg", "20,4", "-d", "0,128,100", "-r", "3", "-o", "json"));
    cr_assert_eq(json_array_size(rows), 12u);
    static const char *const names[] = {"pp70",        "pp9",        "tg6",        "pp20+tg4",
                                        "pp70 @ d128", "pp9 @ d128", "tg6 @ d128", "pp20+tg4 @ d128",
                                        "pp70 @ d100", "pp9 @ d100", "tg6 @ d100", "pp20+tg4 @ d100"};
    /* of 100 positions, the cache keeps 64 */
    static const double tokens[] = {70, 9, 6, 24, 70, 9, 6, 24, 106, 45, 6, 60};
    for (size_t i = 0; i < 12; i++) {
        const json_t *row = json_array_get(rows, i);
        check_test(row, names[i], tokens[i], 3);
        cr_expect_eq(json_number(row, "n_depth"), i < 4 ? 0 : i < 8 ? 128 : 100);
        cr_expect_eq(json_number(row, "n_prompt"), i % 4 == 0 ? 70 : i % 4 == 1 ? 9 : i % 4 == 2 ? 0 : 20);
        cr_expect_eq(json_number(row, "n_gen"), i % 4 == 2 ? 6 : i % 4 == 3 ? 4 : 0);
    }
    double shallow = json_number(json_array_get(rows, 2), "bytes_per_token");
    double deep = json_number(json_array_get(rows, 6), "bytes_per_token");
    cr_expect_eq(deep - shallow, 127.0 * 2 * 2 * 64 * 2 * 2,
                 "keys and values of 2 layers, 2 heads of 64, in f16");
    json_decref(rows);
    rows = json_of(MODEL("-p", "9", "-n", "0", "-d", "128", "-r", "1", "--no-warmup", "-o", "json"));
    cr_assert_eq(json_array_size(rows), 1u);
    check_test(json_array_get(rows, 0), "pp9 @ d128", 9, 1); /* what is before it is not timed */
    json_decref(rows);
}

static void check_batched(const json_t *row, double pp, double tg, double n, bool shared)
{
    double t_pp = json_number(row, "t_pp"), t_tg = json_number(row, "t_tg"), prompts = shared ? 1.0 : n;
    cr_expect(json_number(row, "pp") == pp && json_number(row, "tg") == tg && json_number(row, "pl") == n);
    cr_expect_eq(json_number(row, "is_pp_shared"), shared);
    cr_expect_eq(json_number(row, "n_kv"), shared ? pp + n * tg : n * (pp + tg));
    cr_expect(near(json_number(row, "t"), t_pp + t_tg));
    cr_expect(near(json_number(row, "speed") * (t_pp + t_tg), prompts * pp + n * tg));
    if (json_array_size(json_object_get(row, "samples_t_pp")) == 1) {
        cr_expect(near(json_number(row, "speed_pp") * t_pp, prompts * pp), "%g",
                  json_number(row, "speed_pp") * t_pp);
        cr_expect(near(json_number(row, "speed_tg") * t_tg, n * tg));
        cr_expect_eq(json_number(row, "stddev_speed_tg"), 0);
        cr_expect(near(json_number(row, "gigabytes_per_second") * t_tg,
                       1e-9 * json_number(row, "bytes_per_token") * n * tg));
    }
    cr_expect(!json_object_get(row, "avg_ts"));
}

Test(bench_model, batches_add_up, .timeout = 120)
{
    json_t *rows = json_of(
        MODEL("-p", "30,70", "-n", "5", "-b", "1-4+3", "-r", "1", "--batch-size", "16", "-o", "json"));
    cr_assert_eq(json_array_size(rows), 3u + 4u);
    check_test(json_array_get(rows, 0), "pp30", 30, 1);
    for (size_t i = 0; i < 4; i++)
        check_batched(json_array_get(rows, 3 + i), i < 2 ? 30 : 70, 5, i % 2 ? 4 : 1, false);
    cr_expect_str_eq(json_text(json_array_get(rows, 6), "test"), "pp70+tg5 b4");
    double one = json_number(json_array_get(rows, 3), "bytes_per_token");
    double four = json_number(json_array_get(rows, 4), "bytes_per_token");
    cr_expect_lt(four, 0.5 * one, "weights serve all sequences of a step");
    json_decref(rows);
    rows = json_of(MODEL("-p", "70", "-n", "5", "-b", "3", "-pps", "-r", "1", "-o", "json"));
    check_batched(json_array_get(rows, 2), 70, 5, 3, true);
    cr_expect_str_eq(json_text(json_array_get(rows, 2), "test"), "pp70+tg5 b3 shared");
    json_decref(rows);
}

/* ---- formats ---- */

#define SMALL "-p", "12", "-n", "3", "-b", "2", "-r", "2"

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

Test(bench_model, formats, .timeout = 60)
{
    spawned s = MODEL(SMALL);
    cr_assert(s.code == 0 && s.err[0] == '\0', "%s", s.err);
    cr_expect(
        strstr(s.out,
               "\n| model | size | params | backend | threads | test | t/s | MB/token | GB/s | read % |\n"),
        "%s", s.out);
    cr_expect(strstr(s.out, "\n| tiny (random weights, seed 1) | 0.54 MiB | 1.31 M | cpu | 1 | pp12 | "),
              "%s", s.out);
    cr_expect_eq(count(s.out, " \u00b1 "), 2);
    cr_expect(
        strstr(s.out,
               "\n| threads | PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s | "),
        "%s", s.out);
    cr_expect(strstr(s.out, "\n| 1 | 12 | 3 | 2 | 30 | "), "%s", s.out);
    cr_expect(strstr(s.out, "\n- read bandwidth, 1 threads: "), "%s", s.out);
    spawned_free(&s);
    s = MODEL(SMALL, "-o", "csv");
    csv *table = calloc(1, sizeof *table);
    cr_assert(table && csv_read(table, s.out), "%s", s.out);
    cr_expect_eq(table->n_row, 3);
    cr_expect_str_eq(csv_text(table, 1, "test"), "tg3");
    cr_expect(csv_number(table, 0, "avg_ts") > 0.0 && isnan(csv_number(table, 2, "avg_ts")));
    cr_expect(csv_number(table, 2, "speed_tg") > 0.0 && isnan(csv_number(table, 0, "speed_tg")));
    csv_free(table);
    free(table);
    spawned_free(&s);
    s = MODEL(SMALL, "-o", "jsonl");
    char *line = s.out;
    for (int i = 0; i < 3; i++) {
        char *end = strchr(line, '\n');
        cr_assert(end);
        *end = '\0';
        json_t *row = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        cr_expect(row && json_object_get(row, i < 2 ? "avg_ts" : "speed_tg"), "%s", line);
        json_decref(row);
        line = end + 1;
    }
    cr_expect_eq(*line, '\0');
    spawned_free(&s);
    s = MODEL(SMALL, "-o", "table");
    cr_expect(strstr(s.out, " test ") && count(s.out, " +- ") == 2 && strstr(s.out, "S_TG t/s"), "%s", s.out);
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

static const json_t *row_of(const json_t *rows, const char *test)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (strcmp(json_text(row, "test"), test) == 0)
            return row;
    }
    cr_assert_fail("no row %s", test);
    return NULL;
}

static void check_compared(const json_t *rows, const json_t *old)
{
    const json_t *tg = row_of(rows, "tg3"), *batched = row_of(rows, "pp12+tg3 b2");
    cr_expect(near(json_number(tg, "old_avg_ts"), json_number(row_of(old, "tg3"), "avg_ts")));
    cr_expect(
        near(json_number(tg, "ratio_avg_ts") * json_number(tg, "old_avg_ts"), json_number(tg, "avg_ts")));
    double spread = json_number(tg, "ratio_avg_ts_spread_percent"),
           before = json_number(row_of(old, "tg3"), "stddev_ts");
    cr_expect(near(spread, 100.0 * hypot(before / json_number(tg, "old_avg_ts"),
                                         json_number(tg, "stddev_ts") / json_number(tg, "avg_ts"))));
    cr_expect(
        near(json_number(batched, "ratio_speed_pp") * json_number(row_of(old, "pp12+tg3 b2"), "speed_pp"),
             json_number(batched, "speed_pp")));
    cr_expect(
        near(json_number(batched, "ratio_speed_tg") * json_number(row_of(old, "pp12+tg3 b2"), "speed_tg"),
             json_number(batched, "speed_tg")));
    cr_expect_str_eq(json_text(row_of(rows, "pp9"), "verdict"), "new");
    cr_expect_str_eq(json_text(row_of(rows, "tg4"), "verdict"), "missing");
    cr_expect(
        near(json_number(row_of(rows, "tg4"), "old_avg_ts"), json_number(row_of(old, "tg4"), "avg_ts")));
    cr_expect_eq(json_number(row_of(rows, "tg4"), "n_threads"), 1);
}

Test(bench_model, compare, .timeout = 120)
{
    static const char *const formats[] = {"json", "jsonl"};
    for (int i = 0; i < 2; i++) {
        char path[64];
        spawned s = MODEL("-p", "12", "-n", "3,4", "-b", "2", "-r", "3", "-o", formats[i]);
        cr_assert_eq(s.code, 0, "%s", s.err);
        save(s.out, path);
        json_t *old = json_array();
        if (i == 0) {
            json_decref(old);
            old = json_of(s);
        } else {
            for (char *line = strtok(s.out, "\n"); line; line = strtok(NULL, "\n"))
                json_array_append_new(old, json_loads(line, 0, NULL));
            spawned_free(&s);
        }
        json_t *rows =
            json_of(MODEL("-p", "12,9", "-n", "3", "-b", "2", "-r", "3", "-o", "json", "--compare", path));
        check_compared(rows, old);
        json_decref(rows);
        s = MODEL("-p", "12", "-n", "3", "-r", "2", "-o", "md", "--compare", path);
        cr_expect(strstr(s.out, " | old t/s | x faster | verdict |\n"), "%s", s.out);
        cr_expect(strstr(s.out, "\n- missing here: tg4 of tiny (random weights, seed 1) with 1 threads\n"),
                  "%s", s.out);
        cr_expect(!strstr(s.out, "another processor"), "%s", s.out);
        spawned_free(&s);
        json_decref(old);
        unlink(path);
    }
}
