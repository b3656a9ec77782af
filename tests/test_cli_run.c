/* sterna run with one prompt, from outside. */
#include "tests/support/cli_rig.h"

#include <signal.h>

static char model[TINY_PATH]; /* of the test at hand */

/* ---- sterna run: what cannot run ---- */

Test(cli_run, run_usage_errors)
{
    expect_failure(RUN(NULL, "run", "-p", "x"), 2, "sterna run: no model: give one with --model FILE\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", "x", "-f", "y"), 2,
                   "sterna run: --prompt and --file exclude each other\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", "x", "--batch", "y"), 2,
                   "sterna run: --batch and --prompt exclude each other\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", ""), 2, "sterna run: --prompt: the prompt is empty\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", "x", "--text"), 2,
                   "sterna run: --text is for --batch\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "--batch", "x", "--text", "--json"), 2,
                   "sterna run: --text and --json exclude each other\n");
    static const char needs_json[] =
        "sterna run: --logprobs needs JSON results: --json, or --batch without --text\n";
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", "x", "--logprobs", "0"), 2, needs_json);
    expect_failure(RUN(NULL, "run", "-m", "a", "--batch", "x", "--text", "--logprobs", "0"), 2, needs_json);
    static const char needs_both[] = "sterna run: --resume needs --batch and --output\n";
    expect_failure(RUN(NULL, "run", "-m", "a", "--batch", "x", "--resume"), 2, needs_both);
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", "x", "-o", "y", "--resume"), 2, needs_both);
    expect_failure(RUN(NULL, "run", "-m", "a", "--batch", "x", "-o", "y", "--resume", "--text"), 2,
                   "sterna run: --resume needs JSON results, not --text\n");
    spawn_options terminal = {.input_terminal = true};
    expect_failure(RUN(&terminal, "run", "-m", "a"), 2,
                   "sterna run: no prompt: give --prompt, --file or --batch, or text on standard input\n");
}

Test(cli_run, run_failures, .timeout = 60)
{
    make_model(128, model);
    expect_failure(RUN(NULL, "run", "-m", "/nowhere/x.gguf", "-p", "x"), 1,
                   "sterna run: /nowhere/x.gguf: cannot open: No such file or directory\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-f", "/nowhere/x"), 1,
                   "sterna run: cannot read /nowhere/x: No such file or directory\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-f", "/tmp"), 1,
                   "sterna run: cannot read /tmp: Is a directory\n");
    expect_failure(RUN(NULL, "run", "-m", model), 1, "sterna run: standard input: the prompt is empty\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-f", "/dev/zero"), 1,
                   "sterna run: cannot read /dev/zero: it has more than 67108864 bytes\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", "-o", "/nowhere/x"), 1,
                   "sterna run: cannot write to /nowhere/x: No such file or directory\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", "-c", "129"), 2,
                   "sterna run: --ctx-size: 129, but the model was made for 128 positions\n");
    spawned s = RUN(NULL, "run", "-m", model, "-p", "x", "--device", "abacus");
    cr_expect(s.code == 1 && strstr(s.err, "sterna run: ") == s.err && strstr(s.err, "'abacus'"), "%s",
              s.err);
    spawned_free(&s);
    char long_prompt[201];
    memset(long_prompt, 'x', 200);
    long_prompt[200] = '\0';
    expect_failure(RUN(NULL, "run", "-m", model, "-p", long_prompt), 1,
                   "sterna run: the prompt has 201 tokens, but the context holds 128 (see --ctx-size)\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-p", long_prompt, "--json"), 1,
                   "sterna run: the prompt has 201 tokens, but the context holds 128 (see --ctx-size)\n");
    s = RUN(NULL, "run", "-m", model, "-p", "x", "-n", "3", "-o", "/dev/full");
    cr_expect_eq(s.code, 1);
    cr_expect(strstr(s.err, "sterna run: cannot write to /dev/full: No space left on device\n"), "%s", s.err);
    spawned_free(&s);
    unlink(model);
}

/* A run that fails must not have touched its output file, and no input may be the output. */
Test(cli_run, output_files_are_safe, .timeout = 60)
{
    static const char good[] = "{\"prompt\":\"ab\",\"n\":1}\n", bad[] = "{\"n\":1}\n";
    char path[64], bad_path[64], message[256];
    make_model(128, model);
    write_file(path, good, sizeof good - 1);
    write_file(bad_path, bad, sizeof bad - 1);
    snprintf(message, sizeof message, "sterna run: --output: %s is also an input\n", path);
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", path, "-o", path), 1, message);
    expect_contents(path, good);
    expect_failure(RUN(NULL, "run", "-m", "/nowhere/x.gguf", "-p", "x", "-o", path), 1,
                   "sterna run: /nowhere/x.gguf: cannot open: No such file or directory\n");
    expect_contents(path, good);
    snprintf(message, sizeof message, "sterna run: %s:1: there is no \"prompt\"\n", bad_path);
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", bad_path, "-o", path), 1, message);
    expect_contents(path, good);
    unlink(path);
    unlink(bad_path);
    unlink(model);
}

/* ---- sterna run: one prompt ---- */

#define HOT "--temp", "9", "--top-k", "0", "--top-p", "1", "--min-p", "0"

Test(cli_run, run_prompt_from_anywhere, .timeout = 60)
{
    make_model(256, model);
    char path[64];
    write_file(path, "Tern a\n", 7);
    spawn_options piped = {.input = "Tern a\n", .input_size = 7};
    spawned a = RUN(NULL, "run", "-m", model, "-p", "Tern a", "-n", "20", "--ignore-eos", HOT),
            b = RUN(NULL, "run", "-m", model, "-f", path, "-n", "20", "--ignore-eos", HOT),
            c = RUN(&piped, "run", "-m", model, "-n", "20", "--ignore-eos", HOT),
            d = RUN(NULL, "run", "-m", model, "-p", "Tern a", "-n", "20", "--ignore-eos",
                    "--no-display-prompt", "-t", "2", "--device", "ref", "-b", "2", "--check", HOT),
            e = RUN(NULL, "run", "-m", model, "-p", "Tern a", "-n", "20", "--ignore-eos", "-s", "1", HOT);
    cr_assert(a.code == 0 && b.code == 0 && c.code == 0 && d.code == 0 && e.code == 0, "%s%s", a.err, d.err);
    cr_expect(strncmp(a.out, "Tern a", 6) == 0 && a.out[a.out_size - 1] == '\n');
    cr_expect(a.out_size == b.out_size && memcmp(a.out, b.out, a.out_size) == 0);
    cr_expect(a.out_size == c.out_size && memcmp(a.out, c.out, a.out_size) == 0);
    cr_expect(a.out_size == d.out_size + 6 && memcmp(a.out + 6, d.out, d.out_size) == 0);
    cr_expect(a.out_size != e.out_size || memcmp(a.out, e.out, a.out_size) != 0, "the seed has no effect");
    char *hash = strstr(a.err, "logits: 20 rows, hash ");
    cr_assert(hash && strlen(hash) == 22 + 16 + 1, "%s", a.err);
    cr_expect(strstr(d.err, hash), "another hash: %s%s", a.err, d.err);
    cr_expect(strstr(a.err, "prompt: 7 tokens in ") && strstr(a.err, "decode: 19 tokens in "), "%s", a.err);
    cr_expect(strstr(a.err, " tok/s, ") && strstr(a.err, " GB/s\n") && strstr(a.err, " per token"), "%s",
              a.err);
    cr_expect(!strchr(a.err, '\r'), "progress although standard error is no terminal");
    spawned_free(&a);
    spawned_free(&b);
    spawned_free(&c);
    spawned_free(&d);
    spawned_free(&e);
    spawned f = RUN(NULL, "run", "-m", model, "-p", "Tern", "-n", "4", "-o", path, "--no-hash");
    cr_expect(f.code == 0 && f.out_size == 0 && !strstr(f.err, "hash"), "%s", f.err);
    spawned_free(&f);
    FILE *file = fopen(path, "rb");
    char start[4];
    cr_expect(file && fread(start, 1, 4, file) == 4 && memcmp(start, "Tern", 4) == 0);
    if (file)
        fclose(file);
    unlink(path);
    unlink(model);
}

/* ---- sterna run: ended from outside ---- */

Test(cli_run, run_interrupted, .timeout = 60)
{
    make_model(16384, model);
    spawn_options interrupt = {.signal = SIGINT};
    spawned s = RUN(&interrupt, "run", "-m", model, "-p", "Tern", "-c", "0", "--ignore-eos");
    cr_expect_eq(s.code, 130, "%d: %s", s.code, s.err);
    cr_expect(strncmp(s.out, "Tern", 4) == 0 && strstr(s.err, "prompt: 5 tokens"), "%s", s.err);
    spawned_free(&s);
    const char lines[] = "{\"prompt\":\"a\",\"n\":1}\n{\"prompt\":\"b\"}\n{\"prompt\":\"c\"}\n";
    interrupt.input = lines;
    interrupt.input_size = sizeof lines - 1;
    s = RUN(&interrupt, "run", "-m", model, "--batch", "-", "-c", "0", "--ignore-eos", "-np", "2");
    cr_expect_eq(s.code, 130, "%d: %s", s.code, s.err);
    int n_line = 0, n_cancel = 0;
    for (char *line = strtok(s.out, "\n"); line; line = strtok(NULL, "\n"), n_line++) {
        json_t *result = json_loads(line, 0, NULL);
        cr_assert_not_null(result, "%s", line);
        n_cancel += strcmp(json_string_value(json_object_get(result, "finish")), "cancel") == 0;
        json_decref(result);
    }
    cr_expect(n_line == 3 && n_cancel == 2, "%d lines, %d cancelled", n_line, n_cancel);
    cr_expect(strstr(s.err, "logits: "));
    spawned_free(&s);
    unlink(model);
}

Test(cli_run, run_without_a_reader, .timeout = 60)
{
    make_model(16384, model);
    spawn_options leave = {.stop_reading = true};
    spawned s = RUN(&leave, "run", "-m", model, "-p", "Tern", "-c", "0", "--ignore-eos");
    cr_expect_eq(s.code, 141, "%d: %s", s.code, s.err);
    cr_expect(!strstr(s.err, "sterna run:"), "%s", s.err);
    spawned_free(&s);
    unlink(model);
}

/* ---- sampling ---- */

/* "bad" options whose values need the model to be judged. */
Test(cli_run, list_errors, .timeout = 60)
{
    static const struct {
        const char *option, *value, *message;
    } cases[] = {
        {"--logit-bias", "15", "'15' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "+1", "'+1' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "5+", "'5+' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "5+-1", "'5+-1' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "5+1x", "'5+1x' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "5+inf", "'5+inf' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "5+1e99", "'5+1e99' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "5-1e99", "'5-1e99' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "5-nan", "'5-nan' is not of the form 15043+1, 15043-1.5 or 15043-inf"},
        {"--logit-bias", "272+1", "'272+1', but the vocabulary has 272 tokens"},
        {"--logit-bias", "99999999999999999999+1",
         "'99999999999999999999+1', but the vocabulary has 272 tokens"},
        {"--stop-token", "-1", "'-1' is not the number of a token"},
        {"--stop-token", "7.5", "'7.5' is not the number of a token"},
        {"--stop-token", "272", "272, but the vocabulary has 272 tokens"},
        {"--stop", "", "the text is empty"},
        {"--stop", "a\\q", "'a\\q': \\q is not one of the escapes \\n \\t \\r \\\\ \\x01 ... \\xff"},
    };
    make_model(128, model);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[256];
        snprintf(message, sizeof message, "sterna run: %s: %s\n", cases[i].option, cases[i].message);
        expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", cases[i].option, cases[i].value), 2, message);
    }
    expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", "--logit-bias", "5+1", "--logit-bias=5-inf"), 2,
                   "sterna run: --logit-bias: token 5 is given twice\n");
    char text[300];
    memset(text, 'x', 257);
    text[257] = '\0';
    expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", "--stop", text), 2,
                   "sterna run: --stop: a text of 257 bytes, but at most 256 are possible\n");
    const char *args[48] = {STERNA_BINARY, "run", "-m", model, "-p", "x"};
    for (int i = 0; i < 17; i++) {
        args[6 + 2 * i] = "--stop";
        args[7 + 2 * i] = "y";
    }
    expect_failure(spawn(args, NULL), 2, "sterna run: --stop: 17 texts, but at most 16 are possible\n");
    for (int i = 0; i < 17; i++)
        args[6 + 2 * i] = "--stop-token";
    for (int i = 0; i < 17; i++)
        args[7 + 2 * i] = "9";
    expect_failure(spawn(args, NULL), 2,
                   "sterna run: --stop-token: 17 tokens, but at most 16 are possible\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", "--kv-memory", "1K"), 1,
                   "sterna run: kv_bytes is 1024, but a page of 64 positions has 65536 bytes\n");
    unlink(model);
}

#define DEMO "run", "-m", DEMO_MODEL, "-p", "It is a truth", "--json", "--ignore-eos", "--no-hash"

/* The only result of a run, owned by *list. */
static json_t *only_result(spawned s, json_t **list)
{
    *list = results_of(s);
    cr_assert_eq(json_array_size(*list), 1);
    return json_array_get(*list, 0);
}

/* What the run generates, to compare; free it. */
static char *tokens_of(spawned s)
{
    json_t *list;
    char *text = json_dumps(json_object_get(only_result(s, &list), "tokens"), JSON_COMPACT);
    json_decref(list);
    return text;
}

static void expect_tokens(spawned s, const char *expected, bool equal)
{
    char *tokens = tokens_of(s);
    cr_expect((strcmp(tokens, expected) == 0) == equal, "%s%s: %s", expected, equal ? "" : " again", tokens);
    free(tokens);
}

/* Every filter at its narrowest leaves one token, whatever the temperature and the seed. */
Test(cli_run, filters, .timeout = 120)
{
#define HOTTER "-n", "12", "--temp", "5", "--seed", "7", "--top-k", "0", "--top-p", "1", "--min-p", "0"
    char *greedy = tokens_of(RUN(NULL, DEMO, "-n", "12", "--temp", "0")),
         *hot = tokens_of(RUN(NULL, DEMO, HOTTER));
    cr_expect(strcmp(greedy, hot) != 0);
    expect_tokens(RUN(NULL, DEMO, HOTTER, "--top-k", "1"), greedy, true);
    expect_tokens(RUN(NULL, DEMO, HOTTER, "--top-p", "0.000001"), greedy, true);
    expect_tokens(RUN(NULL, DEMO, HOTTER, "--min-p", "1"), greedy, true);
    char *typical = tokens_of(RUN(NULL, DEMO, HOTTER, "--typical", "0.000001"));
    expect_tokens(RUN(NULL, DEMO, HOTTER, "--typical", "0.000001", "--seed", "8"), typical, true);
    expect_tokens(RUN(NULL, DEMO, HOTTER, "--seed", "8"), hot, false);
    expect_tokens(RUN(NULL, DEMO, HOTTER, "--draft", "4", "-b", "32", "--kv-memory", "2M", "--prefill",
                      "fifo", "--no-prefix-cache"),
                  hot, true);
    free(greedy);
    free(hot);
    free(typical);
}

static bool all_distinct(const char *tokens)
{
    json_t *list = json_loads(tokens, 0, NULL);
    bool distinct = true;
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t j = 0; j < i; j++)
            distinct = distinct && !json_equal(json_array_get(list, i), json_array_get(list, j));
    json_decref(list);
    return distinct;
}

Test(cli_run, penalties_and_biases, .timeout = 120)
{
#define GREEDY DEMO, "-n", "30", "--temp", "0"
    char *plain = tokens_of(RUN(NULL, GREEDY)), *other;
    cr_expect(!all_distinct(plain), "no repetition to penalise: %s", plain);
    other = tokens_of(RUN(NULL, GREEDY, "--presence-penalty", "100"));
    cr_expect(all_distinct(other), "%s", other);
    free(other);
    other = tokens_of(RUN(NULL, GREEDY, "--frequency-penalty", "100"));
    cr_expect(all_distinct(other), "%s", other);
    free(other);
    other = tokens_of(RUN(NULL, GREEDY, "--repeat-penalty", "100"));
    cr_expect(all_distinct(other), "%s", other);
    free(other);
    expect_tokens(RUN(NULL, GREEDY, "--presence-penalty", "100", "--repeat-last-n", "0"), plain, true);
    int first = atoi(plain + 1);
    char ban[32], push[32], expected[256] = "[";
    snprintf(ban, sizeof ban, "%d-inf", first);
    snprintf(push, sizeof push, "%d+1000", 100);
    for (int i = 0; i < 30; i++)
        strcat(expected, i ? ",100" : "100");
    strcat(expected, "]");
    expect_tokens(RUN(NULL, GREEDY, "--logit-bias", push), expected, true);
    other = tokens_of(RUN(NULL, GREEDY, "--logit-bias", ban));
    cr_expect(atoi(other + 1) != first && strcmp(other, plain) != 0, "%s", other);
    free(other);
    free(plain);
}

Test(cli_run, stops, .timeout = 120)
{
    json_t *list, *whole = only_result(RUN(NULL, GREEDY), &list), *again;
    const char *text = text_of(whole, "text");
    cr_assert(strlen(text) > 12, "%s", text);
    char stop[8], token[16];
    memcpy(stop, text + 5, 6); /* across the borders of tokens */
    stop[6] = '\0';
    size_t kept = (size_t)(strstr(text, stop) - text);
    json_t *cut = only_result(RUN(NULL, GREEDY, "--stop", "never there", "--stop", stop), &again);
    cr_expect_str_eq(text_of(cut, "finish"), "stop");
    cr_expect_str_eq(text_of(cut, "stop"), stop);
    cr_expect(strlen(text_of(cut, "text")) == kept && memcmp(text_of(cut, "text"), text, kept) == 0,
              "%s of %s", text_of(cut, "text"), text);
    json_decref(again);
    json_t *tokens = json_object_get(whole, "tokens");
    snprintf(token, sizeof token, "%d", (int)json_integer_value(json_array_get(tokens, 3)));
    cut = only_result(RUN(NULL, GREEDY, "--stop-token", token), &again);
    cr_expect_str_eq(text_of(cut, "finish"), "stop");
    cr_expect(!json_object_get(cut, "stop") && number_of(cut, "n_generated") <= 4);
    size_t n = json_array_size(json_object_get(cut, "tokens"));
    cr_expect(n > 0 &&
              json_integer_value(json_array_get(json_object_get(cut, "tokens"), n - 1)) == atoi(token));
    json_decref(again);
    json_decref(list);
    /* as text: the stop is left out, and an escape is one byte */
    spawned s = RUN(NULL, "run", "-m", DEMO_MODEL, "-p", "It is a truth", "-n", "9", "--temp", "0", "--stop",
                    "\\x20");
    cr_expect(s.code == 0 && strcmp(s.out, "It is a truth\n") == 0, "%s%s", s.out, s.err);
    spawned_free(&s);
}

/* ---- several samples, JSON, log-probabilities ---- */

Test(cli_run, samples, .timeout = 120)
{
    /* they end at different times, and not in order */
#define SAMPLES                                                                                              \
    "run", "-m", DEMO_MODEL, "-p", "It is", "-n", "40", "--samples", "5", "--stop", "n", "--seed", "3"
    json_t *list = results_of(RUN(NULL, SAMPLES, "--json"));
    spawned together = RUN(NULL, SAMPLES), one_by_one = RUN(NULL, SAMPLES, "-np", "1");
    cr_assert(together.code == 0 && json_array_size(list) == 5, "%s", together.err);
    char expected[2048] = "";
    bool in_order = true;
    for (int sample = 0; sample < 5; sample++)
        for (size_t i = 0; i < 5; i++)
            if (number_of(json_array_get(list, i), "sample") == sample) {
                sprintf(expected + strlen(expected), "[%d] It is%s\n\n", sample,
                        text_of(json_array_get(list, i), "text"));
                in_order = in_order && i == (size_t)sample;
            }
    cr_assert(!in_order, "nothing to put in order");
    cr_expect_str_eq(together.out, expected);
    cr_expect_str_eq(one_by_one.out, expected);
    cr_expect(strcmp(text_of(json_array_get(list, 0), "text"), text_of(json_array_get(list, 1), "text")) !=
              0);
    json_decref(list);
    spawned_free(&together);
    spawned_free(&one_by_one);
    spawn_options interrupt = {.signal = SIGINT};
    make_model(16384, model);
    spawned s =
        RUN(&interrupt, "run", "-m", model, "-p", "Tern", "-c", "0", "--ignore-eos", "--samples", "2");
    cr_expect(s.code == 130 && strncmp(s.out, "[0] Tern", 8) == 0 && strstr(s.out, "\n\n[1] Tern"), "%d: %s",
              s.code, s.err);
    spawned_free(&s);
    unlink(model);
}

Test(cli_run, logprobs, .timeout = 60)
{
    json_t *list, *result = only_result(RUN(NULL, DEMO, "-n", "5", "--temp", "0", "--logprobs", "3"), &list),
                  *tokens = json_object_get(result, "tokens"), *all = json_object_get(result, "logprobs");
    cr_assert_eq(json_array_size(all), 5);
    char text[256] = "";
    for (size_t i = 0; i < 5; i++) {
        json_t *one = json_array_get(all, i), *top = json_object_get(one, "top_logprobs");
        strcat(text, text_of(one, "token"));
        cr_expect(json_equal(json_object_get(one, "id"), json_array_get(tokens, i)));
        cr_expect_eq(json_array_size(json_object_get(one, "bytes")), strlen(text_of(one, "token")));
        cr_assert_eq(json_array_size(top), 3);
        cr_expect(json_equal(json_object_get(json_array_get(top, 0), "id"), json_object_get(one, "id")));
        double before = json_real_value(json_object_get(one, "logprob"));
        cr_expect(before < 0.0 && before > -20.0, "%g", before);
        for (size_t j = 0; j < 3; j++) {
            double logprob = json_real_value(json_object_get(json_array_get(top, j), "logprob"));
            cr_expect(logprob <= before, "%g after %g", logprob, before);
            before = logprob;
        }
    }
    cr_expect_str_eq(text, text_of(result, "text"));
    json_decref(list);
    result = only_result(RUN(NULL, DEMO, "-n", "2", "--logprobs", "0"), &list);
    cr_expect_eq(json_array_size(json_object_get(result, "logprobs")), 2);
    json_decref(list);
    result = only_result(RUN(NULL, DEMO, "-n", "2"), &list);
    cr_expect_null(json_object_get(result, "logprobs"));
    json_decref(list);
}

/* ---- statistics ---- */

Test(cli_run, statistics_of_cache_drafts_and_memory, .timeout = 120)
{
    char prompt[100], lines[512];
    memset(prompt, 'x', 99);
    prompt[99] = '\0';
    make_model(512, model);
    int size = snprintf(lines, sizeof lines,
                        "{\"prompt\":\"%s\"}\n{\"prompt\":\"%s.\"}\n{\"prompt\":\"y\"}\n", prompt, prompt);
    spawn_options input = {.input = lines, .input_size = (size_t)size};
#define BATCH "run", "-m", model, "--batch", "-", "--ignore-eos", "-n", "160", "--temp", "0"
    spawned plain = RUN(&input, BATCH, "--no-prefix-cache"), cached = RUN(&input, BATCH, "-np", "1"),
            drafts = RUN(&input, BATCH, "--draft", "8"), small = RUN(&input, BATCH, "--kv-memory", "384K");
    char *hash = strstr(plain.err, "hash ");
    cr_assert(plain.code == 0 && hash, "%s", plain.err);
    cr_expect(!strstr(plain.err, "cached:") && !strstr(plain.err, "drafts:") &&
                  !strstr(plain.err, "preempted:"),
              "%s", plain.err);
    cr_expect(cached.code == 0 && strstr(cached.err, "cached: ") && strstr(cached.err, hash), "%s",
              cached.err);
    cr_expect(drafts.code == 0 && strstr(drafts.err, "drafts: ") && strstr(drafts.err, " tokens accepted, "),
              "%s", drafts.err);
    cr_expect(small.code == 0 && strstr(small.err, "preempted: ") && strstr(small.err, hash), "%s",
              small.err);
    spawned_free(&plain);
    spawned_free(&cached);
    spawned_free(&drafts);
    spawned_free(&small);
    unlink(model);
}
