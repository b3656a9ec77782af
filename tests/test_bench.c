/* sterna-bench from outside: what it prints can be read, adds up, and repeats; never how fast it was. */
#include "tests/support/csv.h"
#include "tests/support/spawn.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN(options, ...)    spawn((const char *const[]){STERNA_BENCH_BINARY, __VA_ARGS__, NULL}, options)
#define THROUGHPUT(...)      RUN(NULL, "throughput", "--shape", "tiny", "-t", "1", __VA_ARGS__)
#define SERVE(...)           RUN(NULL, "serve", "--shape", "tiny", "-t", "1", __VA_ARGS__)
#define EXPECT_USAGE(m, ...) expect_failure(RUN(NULL, __VA_ARGS__), 2, "sterna-bench " m "\n")

static void expect_failure(spawned s, int code, const char *message)
{
    cr_expect_eq(s.code, code, "code %d instead of %d: %s", s.code, code, s.err);
    cr_expect_str_eq(s.err, message);
    cr_expect_eq(s.out_size, 0u, "output: %s", s.out);
    spawned_free(&s);
}

static void expect_output(spawned s, const char *part)
{
    cr_expect(s.code == 0 && s.err[0] == '\0', "code %d: %s", s.code, s.err);
    cr_expect(strstr(s.out, part), "'%s' is not in: %s", part, s.out);
    spawned_free(&s);
}

/* A new directory, empty. */
static void make_directory(char path[64])
{
    strcpy(path, "/tmp/sterna-bench-XXXXXX");
    cr_assert(mkdtemp(path));
}

/* How many files are in it; removes it with them. */
static int empty_directory(const char *path)
{
    int n = 0;
    DIR *directory = opendir(path);
    cr_assert(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char name[512];
        if (entry->d_name[0] == '.' && strchr("./", entry->d_name[1]) && strlen(entry->d_name) <= 2)
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        unlink(name);
        n++;
    }
    closedir(directory);
    rmdir(path);
    return n;
}

/* ---- the frame and its errors ---- */

Test(bench, frame)
{
    expect_output(RUN(NULL, "--version"), "sterna-bench 0.1.0\n");
    expect_output(RUN(NULL, "--help"), "  throughput Measure continuous batching");
    expect_output(RUN(NULL, "--help"), "  make-model Write a model file");
    expect_output(RUN(NULL, "throughput", "--help"), "usage: sterna-bench throughput [options]");
    expect_output(RUN(NULL, "throughput", "--help"), "(default 1,8,32)");
    expect_output(RUN(NULL, "serve", "--help"), "nearest rank");
    expect_output(RUN(NULL, "make-model", "--help"), "-o, --output FILE");
    expect_output(RUN(NULL, "make-model", "--list"), "\nbitnet-2b    bitnet-b1.58   128256     4096   2560");
    expect_failure(RUN(NULL, "fly"), 2, "sterna-bench: unknown command 'fly' (try sterna-bench --help)\n");
    EXPECT_USAGE("serve: unknown option '--wings' (try sterna-bench serve --help)", "serve", "--wings");
}

Test(bench, usage_errors)
{
    EXPECT_USAGE("throughput: no model: give one with --model FILE or --shape NAME", "throughput");
    EXPECT_USAGE("throughput: --model and --shape exclude each other", "throughput", "-m", "x", "--shape",
                 "tiny");
    EXPECT_USAGE("serve: --layers is for --shape", "serve", "-m", "x", "--layers", "2");
    EXPECT_USAGE("serve: --model-dir is for --shape", "serve", "-m", "x", "--model-dir", "d");
    EXPECT_USAGE("throughput: --shape: there is no shape 'huge' (sterna-bench make-model --list names them)",
                 "throughput", "--shape", "huge");
    EXPECT_USAGE("throughput: --encoding: 'f16' is not i2_s, tq2_0 or tq1_0", "throughput", "--shape", "tiny",
                 "--encoding", "f16");
    EXPECT_USAGE("make-model: --embedding: 'tq2_0' is not f16, q8_0, bf16 or f32", "make-model", "--shape",
                 "tiny", "--embedding", "tq2_0");
    EXPECT_USAGE("make-model: no shape: give one with --shape NAME (see --list)", "make-model");
    EXPECT_USAGE("make-model: no file: give one with --output FILE", "make-model", "--shape", "tiny");
    EXPECT_USAGE("throughput: --output: 'xml' is not table, md, csv or json", "throughput", "-o", "xml");
    EXPECT_USAGE("throughput: --sequences: '1,,2' is not a list of at most 16 numbers of 1 ... 1024",
                 "throughput", "-s", "1,,2");
    EXPECT_USAGE("throughput: --sequences: '1025' is not a list of at most 16 numbers of 1 ... 1024",
                 "throughput", "-s", "1025");
    EXPECT_USAGE("throughput: --prefix 128: it has to be shorter than --prompt, which is 128", "throughput",
                 "--prefix", "128");
    EXPECT_USAGE("throughput: --predict: 1 is out of range (2 ... 1048576)", "throughput", "-n", "1");
    EXPECT_USAGE("throughput: --prompt 500 and --predict 64: the model was made for 512 positions",
                 "throughput", "--shape", "tiny", "-p", "500");
    EXPECT_USAGE("throughput: --sequences 8: a step of --batch-size 4 tokens has no room for so many",
                 "throughput", "--shape", "tiny", "-s", "1,8", "-b", "4");
}

Test(bench, serve_usage_errors)
{
    EXPECT_USAGE("serve: --rate: '0' is not a list of at most 16 numbers greater than 0", "serve", "-r", "0");
    EXPECT_USAGE("serve: --rate: '1,nan' is not a list of at most 16 numbers greater than 0", "serve", "-r",
                 "1,nan");
    EXPECT_USAGE("serve: --prefill: 'lifo' is not fair, fifo or both", "serve", "--prefill", "lifo");
    EXPECT_USAGE("serve: --prefix-cache: 'yes' is not on or off", "serve", "--prefix-cache", "yes");
    EXPECT_USAGE("serve: --clock: 'sun' is not wall or cpu", "serve", "--clock", "sun");
    EXPECT_USAGE("serve: --clock cpu: threads that wait count as computing; it needs --threads 1", "serve",
                 "--clock", "cpu");
    EXPECT_USAGE("serve: --predict: '9..3' is not N or N..M with 1 <= N <= M <= 1048576", "serve",
                 "--predict", "9..3");
    EXPECT_USAGE("serve: --prompts: '16,64:1' is not N,N,... or N,N,...:W,W,... with at most 16 numbers of "
                 "1 ... 1048576 and as many weights greater than 0",
                 "serve", "--prompts", "16,64:1");
    EXPECT_USAGE("serve: --sequences 9: a step of --batch-size 8 tokens has no room for so many", "serve",
                 "-s", "9", "-b", "8");
    EXPECT_USAGE("serve: prompts of up to 556 tokens and 64 generated ones: the model was made for 512 "
                 "positions",
                 "serve", "--shape", "tiny", "--common", "300");
}

Test(bench, failures, .timeout = 60)
{
    expect_failure(RUN(NULL, "throughput", "-m", "/nowhere/x.gguf"), 1,
                   "sterna-bench throughput: /nowhere/x.gguf: cannot open: No such file or directory\n");
    expect_failure(
        RUN(NULL, "make-model", "--shape", "tiny", "-o", "/dev/full"), 1,
        "sterna-bench make-model: /dev/full: cannot write 131072 bytes: No space left on device\n");
    expect_failure(RUN(NULL, "make-model", "--shape", "bitnet-3b", "--encoding", "tq2_0", "-o", "/dev/null"),
                   1,
                   "sterna-bench make-model: /dev/null: tensor 'blk.0.attn_q.weight': 10240000 elements in "
                   "rows of 3200 cannot be stored as TQ2_0 (blocks of 256)\n");
    expect_failure(
        RUN(NULL, "throughput", "--shape", "tiny", "--model-dir", "/nowhere"), 1,
        "sterna-bench throughput: /nowhere: cannot make a file there: No such file or directory\n");
    expect_failure(
        SERVE("-n", "2", "--prompts", "8", "--predict", "2", "-r", "inf", "--device", "abacus"), 1,
        "sterna-bench serve: unknown device 'abacus' (known: auto, cpu, ref, cuda[:N], vulkan[:N])\n");
    spawn_options full = {.out_path = "/dev/full"};
    expect_failure(RUN(&full, "make-model", "--list"), 1,
                   "sterna-bench make-model: cannot write to standard output: No space left on device\n");
}

/* ---- models ---- */

static void temporary_path(char path[64])
{
    strcpy(path, "/tmp/sterna-bench-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}

static unsigned char *file_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = malloc(1 << 20);
    cr_assert(file && data);
    *size = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

Test(bench, make_model_repeats)
{
    char path[3][64];
    unsigned char *data[3];
    size_t size[3];
    for (int i = 0; i < 3; i++) {
        temporary_path(path[i]);
        expect_output(RUN(NULL, "make-model", "--shape", "tiny", "-o", path[i], "--seed", i == 2 ? "8" : "7"),
                      "");
        data[i] = file_bytes(path[i], &size[i]);
        unlink(path[i]);
    }
    cr_expect(size[0] == size[1] && memcmp(data[0], data[1], size[0]) == 0);
    cr_assert_eq(size[0], size[2]);
    size_t half = size[0] / 2; /* the name, which has the seed, is in the first */
    cr_expect(memcmp(data[0] + half, data[2] + half, size[0] - half) != 0);
    for (int i = 0; i < 3; i++)
        free(data[i]);
}

#define SMALL "-s", "1", "-r", "1", "-p", "8", "-n", "2"
Test(bench, models_are_temporary_unless_kept, .timeout = 60)
{
    char directory[64];
    make_directory(directory);
    setenv("TMPDIR", directory, 1);
    expect_output(THROUGHPUT(SMALL), "tok/s");
    cr_expect_eq(empty_directory(directory), 0);
    make_directory(directory);
    struct stat first, second;
    char path[160];
    snprintf(path, sizeof path, "%s/tiny-2l-I2_S-F16-seed1.gguf", directory);
    expect_output(THROUGHPUT(SMALL, "--model-dir", directory), "tok/s");
    cr_assert(stat(path, &first) == 0);
    expect_output(THROUGHPUT(SMALL, "--model-dir", directory), "tok/s");
    cr_assert(stat(path, &second) == 0);
    cr_expect_eq(first.st_ino, second.st_ino); /* not written again */
    expect_output(THROUGHPUT(SMALL, "--model-dir", directory, "--layers", "3"), "layers: 3\n");
    cr_expect_eq(empty_directory(directory), 2);
}

/* ---- throughput ---- */

static json_t *parse(spawned s)
{
    json_error_t error;
    cr_assert(s.code == 0 && s.err[0] == '\0', "code %d: %s", s.code, s.err);
    json_t *root = json_loads(s.out, JSON_REJECT_DUPLICATES, &error);
    cr_assert(root, "%s (line %d): %s", error.text, error.line, s.out);
    spawned_free(&s);
    return root;
}

static double number(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    cr_assert(json_is_number(value), "%s is not a number", key);
    return json_number_value(value);
}

static const char *text(const json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    cr_assert(value, "%s is not a text", key);
    return value;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b));
}

static void check_run(const json_t *row, int n_prompt, int n_predict)
{
    double n = number(row, "sequences"), seconds = number(row, "seconds");
    double prompt = number(row, "prompt_seconds"), decode = number(row, "decode_seconds");
    cr_expect(prompt > 0.0 && decode > 0.0 && prompt + decode <= seconds);
    cr_expect_eq(number(row, "prompt_tokens"), n * n_prompt);
    cr_expect_eq(number(row, "generated_tokens"), n * n_predict);
    cr_expect(near(number(row, "total_tokens_per_second") * seconds, n * (n_prompt + n_predict)));
    cr_expect(near(number(row, "decode_tokens_per_second") * decode, number(row, "decode_generated_tokens")));
    cr_expect(near(number(row, "prompt_tokens_per_second") * prompt, number(row, "prompt_step_tokens")));
    cr_expect(near(number(row, "decode_step_ms") * number(row, "decode_steps"), 1e3 * decode));
    cr_expect(near(number(row, "bytes_per_token") * number(row, "decode_generated_tokens"),
                   number(row, "decode_bytes")));
    cr_expect(near(number(row, "gigabytes_per_second") * decode, 1e-9 * number(row, "decode_bytes")));
    cr_expect(near(number(row, "step_overhead_seconds") + prompt + decode, seconds));
    double host = number(row, "host_percent");
    cr_expect(host > 0.0 && host < 100.0);
    cr_expect(near(host * (prompt + decode) / 100.0,
                   number(row, "prompt_host_seconds") + number(row, "decode_host_seconds")));
    cr_expect_leq(number(row, "accepted_tokens"), number(row, "draft_tokens"));
}

Test(bench, throughput_adds_up, .timeout = 60)
{
    json_t *root = parse(THROUGHPUT("-s", "1,3", "-r", "3", "-p", "20", "-n", "6", "-o", "json"));
    cr_expect_str_eq(text(root, "command"), "throughput");
    cr_expect_str_eq(text(root, "model"), "tiny (random weights, seed 1)");
    cr_expect_str_eq(text(root, "device"), "cpu");
    cr_expect(number(root, "prompt") == 20 && number(root, "predict") == 6);
    json_t *rows = json_object_get(root, "rows");
    cr_assert_eq(json_array_size(rows), 10u); /* for each count: three runs, median and spread */
    for (size_t i = 0; i < 10; i++) {
        const json_t *row = json_array_get(rows, i);
        cr_expect_eq(number(row, "sequences"), i < 5 ? 1 : 3);
        cr_expect_str_eq(text(row, "kind"), i % 5 < 3 ? "run" : i % 5 == 3 ? "median" : "spread_percent");
        if (i % 5 < 3) {
            cr_expect_eq(number(row, "repetition"), (double)(i % 5 + 1));
            check_run(row, 20, 6);
            cr_expect_eq(number(row, "decode_step_tokens"), number(row, "decode_generated_tokens"));
            cr_expect_eq(number(row, "draft_tokens"), 0);
        }
    }
    for (size_t i = 0; i < 10; i += 5) {
        double rate[3], low = INFINITY, high = 0.0;
        for (size_t r = 0; r < 3; r++) {
            rate[r] = number(json_array_get(rows, i + r), "total_tokens_per_second");
            low = fmin(low, rate[r]);
            high = fmax(high, rate[r]);
        }
        double median = fmax(fmin(rate[0], rate[1]), fmin(fmax(rate[0], rate[1]), rate[2]));
        cr_expect(near(number(json_array_get(rows, i + 3), "total_tokens_per_second"), median));
        cr_expect(fabs(number(json_array_get(rows, i + 4), "total_tokens_per_second") -
                       100.0 * (high - low) / median) < 1e-3);
    }
    json_decref(root);
}

/* Hashes of the generated tokens of all runs. */
static void hashes(spawned s, char out[256])
{
    json_t *root = parse(s);
    json_t *rows = json_object_get(root, "rows");
    size_t i, used = 0;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (strcmp(text(row, "kind"), "run") == 0)
            used += (size_t)snprintf(out + used, 256 - used, "%s ", text(row, "token_hash"));
    }
    json_decref(root);
}

#define SIZES "-s", "2,5", "-r", "2", "-p", "70", "-n", "24", "-o", "json"
Test(bench, throughput_repeats, .timeout = 120)
{
    char first[256], other[256];
    hashes(THROUGHPUT(SIZES), first);
    cr_expect_eq(strlen(first), 68u);
    cr_expect(strncmp(first, first + 17, 16) != 0, "repetitions have the same prompts");
    hashes(THROUGHPUT(SIZES), other);
    cr_expect_str_eq(first, other);
    hashes(THROUGHPUT(SIZES, "-b", "7"), other);
    cr_expect_str_eq(first, other);
    hashes(THROUGHPUT(SIZES, "--draft", "3"), other);
    cr_expect_str_eq(first, other);
    hashes(THROUGHPUT(SIZES, "--encoding", "TQ1_0"), other);
    cr_expect_str_eq(first, other);
    hashes(THROUGHPUT(SIZES, "--seed", "2"), other);
    cr_expect_str_neq(first, other);
}

Test(bench, throughput_shares_a_prefix, .timeout = 60)
{
    json_t *root = parse(THROUGHPUT("-s", "4", "-r", "2", "-p", "140", "--prefix", "128", "-n", "40",
                                    "--draft", "4", "-o", "json"));
    const json_t *rows = json_object_get(root, "rows");
    for (size_t i = 0; i < 2; i++) {
        const json_t *row = json_array_get(rows, i);
        check_run(row, 140, 40);
        cr_expect_eq(number(row, "cached_tokens"), 3 * 128);
        cr_expect_gt(number(row, "draft_tokens"), 0);
    }
    json_decref(root);
}

Test(bench, throughput_formats, .timeout = 60)
{
    spawned s = THROUGHPUT("-s", "1,2", "-r", "2", "-p", "9", "-n", "4", "-o", "csv");
    cr_assert_eq(s.code, 0, "%s", s.err);
    csv *table = calloc(1, sizeof *table);
    cr_assert(table && csv_read(table, s.out), "%s", s.out);
    cr_expect_eq(table->n_row, 8);
    cr_expect_str_eq(csv_text(table, 0, "model"), "tiny (random weights, seed 1)");
    cr_expect_eq(csv_number(table, 5, "generated_tokens"), 8);
    cr_expect(csv_number(table, 0, "seconds") > 0.0 && isnan(csv_number(table, 2, "seconds")));
    cr_expect_str_eq(csv_text(table, 2, "kind"), "median");
    csv_free(table);
    free(table);
    spawned_free(&s);
    s = THROUGHPUT("-s", "1,2", "-r", "2", "-p", "9", "-n", "4", "-o", "md");
    const char *header = strstr(s.out, "\n| seqs | prompt tok/s | decode tok/s | total tok/s | ");
    cr_assert(header, "%s", s.out);
    int lines = 0, bars = 0;
    for (const char *c = header + 1; *c; c++) {
        lines += *c == '\n';
        bars += *c == '|';
    }
    cr_expect(lines == 4 && bars % 4 == 0, "%d lines, %d bars: %s", lines, bars, s.out);
    cr_expect(strstr(s.out, "- model: tiny"), "%s", s.out);
    spawned_free(&s);
}

/* ---- serve ---- */

#define LOAD                                                                                                 \
    "-n", "24", "-r", "400,inf", "--prompts", "4,90:3,1", "--predict", "2..9", "-s", "4", "-b", "32",        \
        "--prefill", "both", "-o", "json"

static void check_order(const json_t *row)
{
    static const char *const names[] = {"ttft", "itl", "e2e", "queue"};
    for (int i = 0; i < 4; i++) {
        char low[32], high[32];
        snprintf(low, sizeof low, "%s_p50_ms", names[i]);
        snprintf(high, sizeof high, "%s_p99_ms", names[i]);
        cr_expect_leq(number(row, low), number(row, high), "%s", names[i]);
        cr_expect_geq(number(row, low), 0.0);
    }
    cr_expect_leq(number(row, "ttft_p50_ms"), number(row, "ttft_p90_ms"));
    cr_expect_leq(number(row, "ttft_p90_ms"), number(row, "ttft_p99_ms"));
    cr_expect_leq(number(row, "queue_p50_ms"), number(row, "ttft_p50_ms"));
    cr_expect_leq(number(row, "ttft_p99_ms"), number(row, "e2e_p99_ms"));
    double n = number(row, "requests"), tokens = number(row, "generated_tokens");
    cr_expect(near(n * number(row, "ttft_mean_ms") + (tokens - n) * number(row, "itl_mean_ms"),
                   n * number(row, "e2e_mean_ms")));
    cr_expect(near(number(row, "output_tokens_per_second") * number(row, "seconds"),
                   number(row, "generated_tokens")));
    cr_expect(near(number(row, "requests_per_second") * number(row, "seconds"), number(row, "requests")));
}

/* Rows "all", "4" and "90" of fifo, of fair, and of their ratio. */
static void check_rate(const json_t *rows, size_t first)
{
    static const char *const ways[] = {"fifo", "fair", "fair/fifo"}, *const classes[] = {"all", "4", "90"};
    static const char *const sums[] = {"requests", "prompt_tokens", "cached_tokens", "generated_tokens"};
    for (size_t i = 0; i < 9; i++) {
        const json_t *row = json_array_get(rows, first + i);
        cr_expect_str_eq(text(row, "prefill"), ways[i / 3]);
        cr_expect_str_eq(text(row, "prompt_class"), classes[i % 3]);
        if (i >= 6) {
            double fair = number(json_array_get(rows, first + i - 3), "ttft_p90_ms");
            double fifo = number(json_array_get(rows, first + i - 6), "ttft_p90_ms");
            cr_expect(near(number(row, "ttft_p90_ms") * fifo, fair));
            continue;
        }
        check_order(row);
        if (i % 3 != 0)
            continue;
        for (size_t s = 0; s < sizeof sums / sizeof sums[0]; s++)
            cr_expect_eq(number(row, sums[s]),
                         number(json_array_get(rows, first + i + 1), sums[s]) +
                             number(json_array_get(rows, first + i + 2), sums[s]),
                         "%s", sums[s]);
        cr_expect_eq(number(row, "requests"), 24);
        cr_expect_leq(number(row, "step_seconds"), number(row, "seconds"));
        cr_expect_leq(number(row, "host_seconds"), number(row, "step_seconds"));
    }
}

Test(bench, serve_adds_up, .timeout = 60)
{
    json_t *root = parse(SERVE(LOAD));
    cr_expect_str_eq(text(root, "percentiles"), "nearest rank");
    cr_expect_str_eq(text(root, "prompt_mix"), "4,90:3,1");
    const json_t *rows = json_object_get(root, "rows");
    cr_assert_eq(json_array_size(rows), 18u);
    check_rate(rows, 0);
    check_rate(rows, 9);
    cr_expect_eq(number(json_array_get(rows, 0), "rate"), 400);
    cr_expect_str_eq(text(json_array_get(rows, 9), "rate"), "inf");
    const char *hash = text(json_array_get(rows, 0), "token_hash"); /* the same whatever the order */
    for (size_t i = 3; i < 18; i += i == 3 ? 6 : 3)
        if (i != 15)
            cr_expect_str_eq(text(json_array_get(rows, i), "token_hash"), hash);
    json_decref(root);
}

/* Waiting for requests that come every thousand seconds takes no time. */
Test(bench, serve_by_computing_time, .timeout = 60)
{
    json_t *root = parse(
        SERVE("--clock", "cpu", "-r", "0.001", "-n", "5", "--prompts", "9", "--predict", "3", "-o", "json"));
    const json_t *row = json_array_get(json_object_get(root, "rows"), 0);
    cr_expect_str_eq(text(root, "clock"), "cpu");
    cr_expect_gt(number(row, "seconds"), 100.0);
    cr_expect_lt(number(row, "e2e_p99_ms"), 100e3);
    cr_expect_gt(number(row, "ttft_p50_ms"), 0.0);
    cr_expect(json_is_null(json_object_get(row, "queue_p50_ms")));
    json_decref(root);
}

/* The trace of a run; its file is gone. */
static csv *trace_of(const char *seed, const char *cache)
{
    char path[64];
    temporary_path(path);
    spawned s = SERVE(LOAD, "--common", "70", "--common-share", "0.5", "--seed", seed, "--prefix-cache",
                      cache, "--trace", path);
    cr_assert_eq(s.code, 0, "%s", s.err);
    spawned_free(&s);
    size_t size;
    char *data = (char *)file_bytes(path, &size);
    unlink(path);
    data[size] = '\0';
    csv *table = calloc(1, sizeof *table);
    cr_assert(table && csv_read(table, data), "%s", data);
    free(data);
    cr_assert_eq(table->n_row, 4 * 24);
    return table;
}

static bool same_column(const csv *a, const csv *b, const char *column)
{
    for (int i = 0; i < a->n_row; i++)
        if (strcmp(csv_text(a, i, column), csv_text(b, i, column)) != 0)
            return false;
    return true;
}

Test(bench, serve_repeats, .timeout = 120)
{
    static const char *const fixed[] = {"arrival_s", "prompt_class",     "common",    "prompt_tokens",
                                        "predict",   "generated_tokens", "token_hash"};
    csv *a = trace_of("3", "on"), *b = trace_of("3", "off"), *c = trace_of("4", "on");
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        cr_expect(same_column(a, b, fixed[i]), "%s", fixed[i]);
        cr_expect(!same_column(a, c, fixed[i]), "%s", fixed[i]);
    }
    double cached = 0.0, uncached = 0.0;
    int common = 0;
    for (int i = 0; i < a->n_row; i++) {
        cached += csv_number(a, i, "cached");
        uncached += csv_number(b, i, "cached");
        common += csv_number(a, i, "common") == 1.0;
        cr_expect_eq(csv_number(a, i, "generated_tokens"), csv_number(a, i, "predict"));
        cr_expect_eq(csv_number(a, i, "prompt_tokens"),
                     csv_number(a, i, "prompt_class") + 70 * csv_number(a, i, "common"));
        cr_expect(csv_number(a, i, "queue_s") <= csv_number(a, i, "ttft_s") &&
                  csv_number(a, i, "ttft_s") <= csv_number(a, i, "e2e_s"));
        cr_expect_geq(csv_number(a, i, "submitted_s"), csv_number(a, i, "arrival_s"));
        if (i % 24 > 0)
            cr_expect_str_neq(csv_text(a, i, "token_hash"), csv_text(a, i - 1, "token_hash"));
        if (i % 24 > 0)
            cr_expect_geq(csv_number(a, i, "arrival_s"), csv_number(a, i - 1, "arrival_s"));
    }
    cr_expect(cached > 0.0 && uncached == 0.0, "%g and %g", cached, uncached);
    cr_expect(common > 0 && common < a->n_row);
    csv_free(a);
    csv_free(b);
    csv_free(c);
    free(a);
    free(b);
    free(c);
}
