#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
/* What sterna-bench is made of: order statistics, lists, arrivals, and models with random weights. */
#include "bench/compare.h"
#include "bench/lists.h"
#include "bench/measure.h"
#include "bench/workload.h"
#include "host/cli/tool.h"
#include "host/convert/synthetic.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char st_tool_name[] = "test";

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b));
}

/* ---- synthetic models ---- */

/* The model scores random tokens: finite, different ones at different places, and about as likely as logits
 * of deviation 1 make them. */
static void expect_sound(const st_synthetic *shape)
{
    enum { N = 48 };
    char path[] = "/tmp/sterna-bench-XXXXXX";
    sterna_error error = {0};
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    cr_assert_eq(st_synthetic_write(shape, path, NULL, NULL, &error), STERNA_OK, "%s", error.message);
    sterna_model *model;
    sterna_engine *engine;
    cr_assert_eq(sterna_model_open(path, NULL, &model, &error), STERNA_OK, "%s", error.message);
    unlink(path);
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.n_context = N;
    params.n_thread = 1;
    cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_OK, "%s", error.message);
    sterna_token tokens[N];
    float logprob[N];
    uint64_t state = 7;
    double sum = 0.0, low = 0.0, high = -INFINITY;
    st_draw_tokens(&state, shape->n_vocab, tokens, N);
    cr_assert_eq(sterna_score(engine, tokens, N, 1, logprob, &error), STERNA_OK, "%s", error.message);
    for (int i = 0; i < N - 1; i++) {
        cr_assert(isfinite(logprob[i]), "%s: %g", shape->name, (double)logprob[i]);
        sum += logprob[i];
        low = fmin(low, logprob[i]);
        high = fmax(high, logprob[i]);
    }
    double expected = -log(shape->n_vocab) - 0.5; /* -log of the sum of n lognormal values */
    cr_expect(fabs(sum / (N - 1) - expected) < 0.7, "%s: mean %g instead of %g", shape->name, sum / (N - 1),
              expected);
    cr_expect(high - low > 1.5 && high < -1.0, "%s: %g ... %g", shape->name, low, high);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
}

Test(bench_parts, synthetic_models_are_sound, .timeout = 120)
{
    static const char *const archs[] = {"bitnet-b1.58", "bitnet", "llama"};
    static const char *const matrices[] = {"I2_S", "TQ2_0", "TQ1_0"};
    static const char *const embeddings[] = {"F16", "Q8_0", "BF16", "F32"};
    for (int i = 0; i < 4; i++) {
        st_synthetic shape = *st_synthetic_find("tiny");
        shape.arch = archs[i % 3];
        shape.matrix = matrices[i % 3];
        shape.embedding = embeddings[i];
        shape.tied = i % 3 != 2;
        shape.n_layer = 1 + 3 * i;
        expect_sound(&shape);
    }
    st_synthetic odd = *st_synthetic_find("tiny"); /* rows that are no multiple of I2_S's blocks, as in 3B */
    odd.n_ff = 544;
    odd.head_dim = 36;
    odd.n_head = odd.n_kv_head = 8;
    expect_sound(&odd);
}

static bool stop_halfway(void *user, uint64_t done, uint64_t total)
{
    uint64_t *last = user;
    cr_expect(done > *last && done <= total);
    *last = done;
    return done < total / 2;
}

Test(bench_parts, an_abandoned_model_leaves_no_file)
{
    char directory[64], path[96];
    uint64_t last = 0;
    sterna_error error;
    strcpy(directory, "/tmp/sterna-bench-XXXXXX");
    cr_assert(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/x", directory);
    sterna_status status = st_synthetic_write(st_synthetic_find("tiny"), path, stop_halfway, &last, &error);
    cr_expect_eq(status, STERNA_E_ABORTED);
    cr_expect(strstr(error.message, "/x: stopped after "), "%s", error.message);
    st_synthetic unknown = *st_synthetic_find("tiny");
    unknown.arch = "gpt2";
    cr_expect_eq(st_synthetic_write(&unknown, path, NULL, NULL, &error), STERNA_E_UNSUPPORTED);
    cr_expect_eq(rmdir(directory), 0); /* it is empty */
}

Test(bench_parts, shapes_are_those_of_the_table)
{
    int n = 0;
    for (const st_synthetic *shape; (shape = st_synthetic_shape(n)); n++) {
        cr_expect_eq(st_synthetic_find(shape->name), shape);
        cr_expect(shape->n_head % shape->n_kv_head == 0 && shape->head_dim % 2 == 0);
    }
    cr_expect_eq(n, 13);
    const st_synthetic *b = st_synthetic_find("bitnet-2b");
    cr_expect(b->n_embd == 2560 && b->n_ff == 6912 && b->n_layer == 30 && b->n_head == 20 &&
              b->n_kv_head == 5 && b->head_dim == 128 && b->n_vocab == 128256 && b->tied);
}

/* ---- the parts ---- */

Test(bench_parts, percentiles_are_by_nearest_rank)
{
    double values[] = {5, 1, 4, 2, 3}, ten[10];
    st_sort(values, 5);
    cr_expect(values[0] == 1 && values[4] == 5);
    cr_expect_eq(st_percentile(values, 5, 50), 3);
    cr_expect_eq(st_percentile(values, 5, 40), 2);
    cr_expect_eq(st_percentile(values, 5, 41), 3);
    cr_expect_eq(st_percentile(values, 5, 99), 5);
    cr_expect_eq(st_percentile(values, 5, 0), 1);
    cr_expect_eq(st_percentile(values, 5, 100), 5);
    for (int i = 0; i < 10; i++)
        ten[i] = i + 1;
    cr_expect_eq(st_percentile(ten, 10, 90), 9);
    cr_expect_eq(st_percentile(ten, 1, 99), 1);
    cr_expect(isnan(st_percentile(ten, 0, 50)) && isnan(st_median(ten, 0)));
    cr_expect(st_median(values, 5) == 3 && st_median(ten, 10) == 5.5);
}

Test(bench_parts, lists)
{
    int32_t counts[ST_MAX_LIST], range[2];
    double rates[ST_MAX_LIST];
    int n;
    cr_expect(st_parse_counts("1,20,3", '\0', 1, 20, counts, &n) && n == 3 && counts[1] == 20);
    static const char *const bad_counts[] = {"",   "1,", ",1", "0",   "21",
                                             "1 ", "-1", "+1", "1;2", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"};
    for (size_t i = 0; i < sizeof bad_counts / sizeof bad_counts[0]; i++)
        cr_expect(!st_parse_counts(bad_counts[i], '\0', 1, 20, counts, &n), "%s", bad_counts[i]);
    cr_expect(st_parse_rates("0.5,2,inf", rates, &n) && n == 3 && rates[0] == 0.5 && isinf(rates[2]));
    static const char *const bad_rates[] = {"", "0", "-1", "nan", "1,", "1x", "1,,2"};
    for (size_t i = 0; i < sizeof bad_rates / sizeof bad_rates[0]; i++)
        cr_expect(!st_parse_rates(bad_rates[i], rates, &n), "%s", bad_rates[i]);
    cr_expect(st_parse_range("3..9", 1, 9, range) && range[0] == 3 && range[1] == 9);
    cr_expect(st_parse_range("5", 1, 9, range) && range[0] == 5 && range[1] == 5);
    static const char *const bad_ranges[] = {"", "..", "3..", "9..3", "0..3", "3..10", "3.9", "3..9x"};
    for (size_t i = 0; i < sizeof bad_ranges / sizeof bad_ranges[0]; i++)
        cr_expect(!st_parse_range(bad_ranges[i], 1, 9, range), "%s", bad_ranges[i]);
    st_mix mix;
    cr_expect(st_parse_mix("8,16:1,3", 100, &mix) && mix.n == 2 && mix.weight[1] == 0.75);
    cr_expect(st_parse_mix("8,16", 100, &mix) && mix.weight[0] == 0.5);
    static const char *const bad_mixes[] = {"8:", "8:0", "8:1,2", "8,9:1", "101", ":1", "8:inf"};
    for (size_t i = 0; i < sizeof bad_mixes / sizeof bad_mixes[0]; i++)
        cr_expect(!st_parse_mix(bad_mixes[i], 100, &mix), "%s", bad_mixes[i]);
}

Test(bench_parts, series)
{
    static const struct {
        const char *text;
        int32_t list[8];
        int n;
    } good[] = {
        {"7", {7}, 1},
        {"0,5", {0, 5}, 2},
        {"2-5", {2, 3, 4, 5}, 4},
        {"0-90+40", {0, 40, 80}, 3},
        {"1-64*4", {1, 4, 16, 64}, 4},
        {"3-50*3,4,6-7+1", {3, 9, 27, 4, 6, 7}, 6},
        {"5-5", {5}, 1},
        {"50-100*2147483647", {50}, 1},
        {"99-100+2147483647", {99}, 1},
    };
    int32_t list[ST_MAX_SERIES];
    int n;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_expect(st_parse_series(good[i].text, 0, 100, list, &n), "%s", good[i].text);
        cr_expect(n == good[i].n && memcmp(list, good[i].list, (size_t)n * sizeof *list) == 0, "%s",
                  good[i].text);
    }
    static const char *const bad[] = {"",     "1,",    ",1",    "101",   "5-4",     "1-",    "-1",
                                      "1-5+", "1-5+0", "1-5*1", "0-5*2", "1-5*2*2", "1+2",   "1-5-6",
                                      "1 ",   "0-64",  "1-200", "a",     "1-5/2",   "1-9+-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect(!st_parse_series(bad[i], 0, 100, list, &n), "%s", bad[i]);
    cr_expect(st_parse_series("0-63", 0, 100, list, &n) && n == 64 && list[63] == 63);
}

Test(bench_parts, verdicts)
{
    cr_expect_str_eq(st_compare_verdict(1.11, 10.0), "faster");
    cr_expect_str_eq(st_compare_verdict(1.09, 10.0), "same");
    cr_expect_str_eq(st_compare_verdict(0.92, 10.0), "same");
    cr_expect_str_eq(st_compare_verdict(0.90, 10.0), "slower");
    cr_expect_str_eq(st_compare_verdict(1.01, NAN), "faster");
    cr_expect(near(st_compare_spread(3.0, 4.0), 5.0));
    char key[ST_COMPARE_KEY] = "";
    st_compare_key_text(key, "a");
    st_compare_key_number(key, 4096);
    st_compare_key_number(key, NAN);
    cr_expect_str_eq(key, "a|4096|-|");
}

Test(bench_parts, arrivals_are_poisson)
{
    enum { N = 20000 };
    st_workload w = {.n_request = N, .n_common = 5, .common_share = 0.25, .predict = {3, 6}, .seed = 11};
    cr_assert(st_parse_mix("10,20:1,4", 100, &w.mix) && st_workload_make(&w, 8.0));
    double squares = 0.0, first_at = w.arrival[0].at;
    int class[2] = {0}, shared = 0, predict[8] = {0};
    for (int i = 0; i < N; i++) {
        const st_arrival *a = &w.arrival[i];
        double gap = a->at - (i ? w.arrival[i - 1].at : 0.0);
        cr_assert(gap > 0.0 && a->n_predict >= 3 && a->n_predict <= 6);
        squares += gap * gap;
        class[a->class]++;
        shared += a->shared;
        predict[a->n_predict]++;
        cr_assert_eq(a->n_prompt, (a->class ? 20 : 10) + (a->shared ? 5 : 0));
    }
    double mean = w.arrival[N - 1].at / N;
    cr_expect(fabs(8.0 * mean - 1.0) < 0.03, "mean gap %g", mean);
    cr_expect(fabs(squares / N / (2.0 * mean * mean) - 1.0) < 0.06, "as of an exponential distribution");
    cr_expect(fabs(class[0] / (double)N - 0.2) < 0.015 && fabs(shared / (double)N - 0.25) < 0.015);
    for (int i = 3; i <= 6; i++)
        cr_expect(fabs(predict[i] / (double)N - 0.25) < 0.015);
    sterna_token tokens[3][25];
    int with[2], n_with = 0, without = 0;
    for (int i = 0; i < N && n_with < 2; i++) {
        if (w.arrival[i].shared)
            with[n_with++] = i;
        else
            without = i;
    }
    st_workload_prompt(&w, with[0], 1000, tokens[0]);
    st_workload_prompt(&w, with[1], 1000, tokens[1]);
    st_workload_prompt(&w, without, 1000, tokens[2]);
    size_t common = 5 * sizeof tokens[0][0];
    cr_expect(memcmp(tokens[0], tokens[1], common) == 0 && memcmp(tokens[0], tokens[2], common) != 0);
    cr_expect(memcmp(tokens[0] + 5, tokens[1] + 5, 10 * sizeof tokens[0][0]) != 0);
    st_workload_free(&w);
    cr_assert(st_workload_make(&w, 2.0)); /* a rate stretches the same arrivals */
    cr_expect(near(w.arrival[0].at, 4.0 * first_at));
    st_workload_free(&w);
    cr_assert(st_workload_make(&w, INFINITY));
    cr_expect_eq(w.arrival[N - 1].at, 0.0);
    st_workload_free(&w);
}

/* ---- memory ---- */

Test(measure, the_peak_is_what_was_resident_at_most)
{
    enum { BYTES = 64 << 20 };
    st_peak_reset();
    uint64_t before = st_peak_bytes();
    /* Not malloc: AddressSanitizer keeps what is freed. */
    void *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(memory != MAP_FAILED && before > 0);
    memset(memory, 1, BYTES);
    cr_expect_geq(st_peak_bytes(), before + BYTES - (1 << 20));
    munmap(memory, BYTES);
    cr_expect_geq(st_peak_bytes(), before + BYTES - (1 << 20));
    st_peak_reset();
    cr_expect_lt(st_peak_bytes(), before + BYTES / 2);
}

/* ---- threads that still compute ---- */

static atomic_bool begun, ended;

static void *compute(void *unused)
{
    begun = true;
    for (double end = st_clock() + 0.03; st_clock() < end;)
        ;
    ended = true;
    return unused;
}

/* On a busy machine the thread may not get a core for a while and look as if it slept: one time of 20 will
 * do. */
Test(bench_parts, settling_waits_for_a_thread_that_computes, .timeout = 20)
{
    bool waited = false;
    for (int i = 0; i < 20 && !waited; i++) {
        pthread_t thread;
        begun = ended = false;
        cr_assert_eq(pthread_create(&thread, NULL, compute, NULL), 0);
        while (!begun)
            ;
        st_settle();
        waited = ended;
        pthread_join(thread, NULL);
    }
    cr_assert(waited);
}
