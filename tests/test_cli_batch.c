/* sterna run --batch, from outside. */
#include "tests/support/cli_rig.h"

static char model[TINY_PATH]; /* of the test at hand */

/* More requests than the engine's queue holds at once: they wait their turn. */
Test(cli_batch, batch_longer_than_the_queue, .timeout = 60)
{
    static char lines[1100 * 32];
    size_t size = 0;
    for (int i = 0; i < 1100; i++)
        size += (size_t)sprintf(lines + size, "{\"prompt\":\"ab\",\"n\":1}\n");
    make_model(128, model);
    spawn_options options = {.input = lines, .input_size = size};
    spawned s = RUN(&options, "run", "-m", model, "--batch", "-", "-np", "1000", "-b", "1000");
    cr_expect_eq(s.code, 0, "%s", s.err);
    int n = 0;
    for (const char *at = s.out; (at = strchr(at, '\n')); at++)
        n++;
    cr_expect_eq(n, 1100);
    spawned_free(&s);
    unlink(model);
}

/* ---- sterna run --batch ---- */

static spawned run_batch(const char *lines, size_t size, const char *parallel)
{
    spawn_options options = {.input = lines, .input_size = size};
    return RUN(&options, "run", "-m", model, "--batch", "-", "-np", parallel, "--ignore-eos", "-n", "9");
}

static void expect_bad_line(const char *line, const char *message)
{
    char lines[512], expected[512];
    int size = snprintf(lines, sizeof lines, "{\"prompt\":\"fine\"}\n\n%s\n", line);
    snprintf(expected, sizeof expected, "sterna run: standard input:3: %s\n", message);
    expect_failure(run_batch(lines, (size_t)size, "4"), 1, expected);
}

Test(cli_batch, bad_values, .timeout = 60)
{
    make_model(128, model);
    static const char seed[] =
        "\"seed\" is not an integer from 0 to 9223372036854775807, or a string of one up to "
        "18446744073709551615";
    expect_bad_line("{\"prompt\":\"a\",\"seed\":-1}", seed);
    expect_bad_line("{\"prompt\":\"a\",\"seed\":\"\"}", seed);
    expect_bad_line("{\"prompt\":\"a\",\"seed\":\"-1\"}", seed);
    expect_bad_line("{\"prompt\":\"a\",\"seed\":\"18446744073709551616\"}", seed);
    expect_bad_line("{\"prompt\":\"a\",\"n_samples\":0}", "\"n_samples\" is not an integer from 1 to 128");
    expect_bad_line("{\"prompt\":\"a\",\"logprobs\":21}", "\"logprobs\" is not an integer from 0 to 20");
    expect_bad_line("{\"prompt\":\"a\",\"logprobs\":true}", "\"logprobs\" is not an integer from 0 to 20");
    expect_bad_line("{\"prompt\":\"a\",\"draft\":16}", "\"draft\" is not an integer from 0 to 15");
    expect_bad_line("{\"prompt\":\"a\",\"ignore_eos\":1}", "\"ignore_eos\" is not true or false");
    expect_bad_line("{\"prompt\":\"a\",\"repeat_penalty\":0}",
                    "\"repeat_penalty\" is not a number from 0.01 to 100");
    expect_bad_line("{\"prompt\":\"a\",\"presence_penalty\":\"1\"}",
                    "\"presence_penalty\" is not a number from -1000 to 1000");
    expect_bad_line("{\"prompt\":\"a\",\"n\":1,\"max_tokens\":1}",
                    "\"max_tokens\" is a second name of a key that is there already");
    unlink(model);
}

Test(cli_batch, bad_lists, .timeout = 60)
{
    make_model(128, model);
    expect_bad_line("{\"prompt\":\"a\",\"stop\":1}", "\"stop\" is not a string or an array of strings");
    expect_bad_line("{\"prompt\":\"a\",\"stop\":[1]}", "\"stop\" is not a string or an array of strings");
    expect_bad_line("{\"prompt\":\"a\",\"stop\":\"\"}", "\"stop\" has a string that is empty or holds a NUL");
    expect_bad_line("{\"prompt\":\"a\",\"stop\":[\"b\",\"c\\u0000\"]}",
                    "\"stop\" has a string that is empty or holds a NUL");
    expect_bad_line(
        "{\"prompt\":\"a\",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\","
        "\"l\",\"m\",\"n\",\"o\",\"p\",\"q\"]}",
        "\"stop\" has 17 strings, but at most 16 are possible");
    expect_bad_line("{\"prompt\":\"a\",\"stop_tokens\":3}", "\"stop_tokens\" is not an array of integers");
    expect_bad_line("{\"prompt\":\"a\",\"stop_tokens\":[1.5]}",
                    "\"stop_tokens\" is not an array of integers");
    expect_bad_line("{\"prompt\":\"a\",\"stop_tokens\":[272]}",
                    "\"stop_tokens\" has 272, but the vocabulary has 272 tokens");
    expect_bad_line("{\"prompt\":\"a\",\"stop_tokens\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
                    "\"stop_tokens\" has 17 tokens, but at most 16 are possible");
    expect_bad_line("{\"prompt\":\"a\",\"logit_bias\":[[5,1]]}",
                    "\"logit_bias\" is not an object such as {\"15043\": -1.5}");
    static const char *const tokens[] = {"272", "", "-1", "07", "x", "7 ", "99999999999999999999"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        char line[128], message[128];
        snprintf(line, sizeof line, "{\"prompt\":\"a\",\"logit_bias\":{\"%s\":1}}", tokens[i]);
        snprintf(message, sizeof message,
                 "\"logit_bias\" has \"%s\", which is not the number of one of the 272 tokens", tokens[i]);
        expect_bad_line(line, message);
    }
    expect_bad_line("{\"prompt\":\"a\",\"logit_bias\":{\"7\":true}}",
                    "\"logit_bias\" of token 7 is not a number, or false to ban it");
    expect_bad_line("{\"prompt\":\"a\",\"logit_bias\":{\"7\":1e99}}",
                    "\"logit_bias\" of token 7 is not a number, or false to ban it");
    unlink(model);
}

Test(cli_batch, batch_bad_lines, .timeout = 60)
{
    make_model(128, model);
    expect_bad_line("[]", "not a JSON object");
    expect_bad_line("{}", "there is no \"prompt\"");
    expect_bad_line("{\"prompt\":5}", "\"prompt\" is not a string");
    expect_bad_line("{\"prompt\":\"\"}", "the prompt is empty");
    expect_bad_line("{\"prompt\":\"a\",\"temprature\":1}", "unknown key \"temprature\"");
    expect_bad_line("{\"prompt\":\"a\",\"n\":-2}", "\"n\" is not an integer from -1 to 1048576");
    expect_bad_line("{\"prompt\":\"a\",\"n\":1.5}", "\"n\" is not an integer from -1 to 1048576");
    expect_bad_line("{\"prompt\":\"a\",\"temperature\":-1}",
                    "\"temperature\" is not a number from 0 to 1000");
    expect_bad_line("{\"prompt\":\"a\",\"top_p\":2}", "\"top_p\" is not a number from 0 to 1");
    expect_bad_line("{\"prompt\":\"a\",\"min_p\":\"x\"}", "\"min_p\" is not a number from 0 to 1");
    expect_bad_line("{\"prompt\":\"a\",\"top_k\":-1}", "\"top_k\" is not an integer from 0 to 1048576");
    expect_bad_line("{\"prompt\":\"a\",\"id\":[]}", "\"id\" is not a string or an integer");
    char prompt[300] = "{\"prompt\":\"";
    memset(prompt + 11, 'x', 200);
    strcpy(prompt + 211, "\"}");
    expect_bad_line(prompt, "the prompt has 201 tokens, but the context holds 128 (see --ctx-size)");
    /* jansson says what is wrong with the JSON itself */
    static const char *const broken[] = {"{\"prompt\":\"a\"", "{\"prompt\":\"\xff\"}",
                                         "{\"prompt\":\"a\",\"prompt\":\"b\"}", "{\"prompt\":\"\\ud800\"}"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char lines[100];
        int size = snprintf(lines, sizeof lines, "%s\n", broken[i]);
        spawned s = run_batch(lines, (size_t)size, "4");
        cr_expect(s.code == 1 && s.out_size == 0, "%s", broken[i]);
        cr_expect(strncmp(s.err, "sterna run: standard input:1: invalid JSON at byte ", 51) == 0, "%s",
                  s.err);
        cr_expect(strchr(s.err, '\n') == s.err + strlen(s.err) - 1, "one line: %s", s.err);
        spawned_free(&s);
    }
    expect_failure(run_batch("\n \n", 3, "4"), 1, "sterna run: standard input: there are no requests\n");
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", "/nowhere/x"), 1,
                   "sterna run: cannot read /nowhere/x: No such file or directory\n");
    unlink(model);
}

/* Results by index: the tokens as text. */
static void collect(spawned s, char *tokens[], int n)
{
    int seen = 0;
    cr_assert_eq(s.code, 0, "%s", s.err);
    for (char *line = strtok(s.out, "\n"); line; line = strtok(NULL, "\n"), seen++) {
        json_t *result = json_loads(line, 0, NULL);
        cr_assert_not_null(result, "%s", line);
        json_int_t index = json_integer_value(json_object_get(result, "index"));
        cr_assert(index >= 0 && index < n && !tokens[index]);
        json_t *list = json_object_get(result, "tokens");
        cr_expect_eq((json_int_t)json_array_size(list),
                     json_integer_value(json_object_get(result, "n_generated")));
        cr_expect_str_eq(json_string_value(json_object_get(result, "finish")), "length");
        cr_expect(json_is_string(json_object_get(result, "text")));
        cr_expect(json_is_real(json_object_get(result, "seconds_queued")));
        json_t *id = json_object_get(result, "id");
        cr_expect(index == 0   ? json_integer_value(id) == 77
                  : index == 1 ? strcmp(json_string_value(id), "b") == 0
                               : !id);
        tokens[index] = json_dumps(list, JSON_COMPACT);
        json_decref(result);
    }
    cr_assert_eq(seen, n);
}

Test(cli_batch, batch_results_do_not_depend_on_company, .timeout = 60)
{
    enum { N = 5 };
    static const char lines[] =
        "{\"prompt\":\"The tern\",\"id\":77,\"temperature\":0}\n"
        "{\"id\":\"b\",\"prompt\":\"nul \\u0000 inside\",\"n\":3}\r\n"
        "{\"prompt\":\"\\u20ac\",\"seed\":5,\"top_k\":3,\"top_p\":0.5,\"min_p\":0.1}\n"
        "{\"prompt\":\"x\",\"n\":1}\n"
        "{\"prompt\":\"The tern\",\"n\":12}";
    make_model(256, model);
    char *together[N] = {NULL}, *alone[N] = {NULL};
    spawned a = run_batch(lines, sizeof lines - 1, "8"), b = run_batch(lines, sizeof lines - 1, "1");
    char *hash = strstr(a.err, "hash ");
    cr_assert(hash && strstr(b.err, hash), "%s%s", a.err, b.err);
    collect(a, together, N);
    collect(b, alone, N);
    for (int i = 0; i < N; i++) {
        cr_expect_str_eq(together[i], alone[i]);
        free(together[i]);
        free(alone[i]);
    }
    spawned_free(&a);
    spawned_free(&b);
    unlink(model);
}

/* ---- fields ---- */

/* The hash of all that determines a result, of the only request. */
static void hash_of(spawned s, char hash[32])
{
    json_t *list = results_of(s);
    snprintf(hash, 32, "%s", text_of(json_array_get(list, 0), "request"));
    cr_expect_eq(strlen(hash), 16);
    json_decref(list);
}

/* A field of a line and the option of the same meaning make the same request, and another one than without.
 */
Test(cli_batch, fields_are_the_options, .timeout = 120)
{
    static const struct {
        const char *field, *option, *value;
    } pairs[] = {
        {"\"n\":1", "-n", "1"},
        {"\"n_predict\":1", "-n", "1"},
        {"\"max_tokens\":1", "-n", "1"},
        {"\"n_samples\":2", "--samples", "2"},
        {"\"logprobs\":0", "--logprobs", "0"},
        {"\"logprobs\":3", "--logprobs", "3"},
        {"\"temperature\":0.5", "--temp", "0.5"},
        {"\"top_k\":7", "--top-k", "7"},
        {"\"typical_p\":0.5", "--typical", "0.5"},
        {"\"top_p\":0.5", "--top-p", "0.5"},
        {"\"min_p\":0.5", "--min-p", "0.5"},
        {"\"seed\":9223372036854775807", "-s", "9223372036854775807"},
        {"\"seed\":\"18446744073709551615\"", "-s", "18446744073709551615"},
        {"\"repeat_penalty\":1.5", "--repeat-penalty", "1.5"},
        {"\"presence_penalty\":-1.5", "--presence-penalty", "-1.5"},
        {"\"frequency_penalty\":1.5", "--frequency-penalty", "1.5"},
        {"\"repeat_last_n\":5", "--repeat-last-n", "5"},
        {"\"stop\":\"q\\n\"", "--stop", "q\\n"},
        {"\"stop\":[\"q\"]", "--stop", "q"},
        {"\"stop_tokens\":[9]", "--stop-token", "9"},
        {"\"logit_bias\":{\"9\":-1.5}", "--logit-bias", "9-1.5"},
        {"\"logit_bias\":{\"9\":-2.5}", "--logit-bias", "9-2.5"},
        {"\"logit_bias\":{\"9\":false}", "--logit-bias", "9-inf"},
        {"\"logit_bias\":{\"0\":2}", "--logit-bias", "0+2"},
    };
    enum { N = sizeof pairs / sizeof pairs[0] };
    static char by_option[N][32];
    char plain[32], by_field[32], line[128];
    make_model(128, model);
    hash_of(RUN(NULL, "run", "-m", model, "-p", "ab", "--json", "-n", "2"), plain);
    for (size_t i = 0; i < N; i++) {
        hash_of(
            RUN(NULL, "run", "-m", model, "-p", "ab", "--json", "-n", "2", pairs[i].option, pairs[i].value),
            by_option[i]);
        int size = snprintf(line, sizeof line, "{\"prompt\":\"ab\",%s}", pairs[i].field);
        spawn_options input = {.input = line, .input_size = (size_t)size};
        hash_of(RUN(&input, "run", "-m", model, "--batch", "-", "-n", "2"), by_field);
        cr_expect_str_eq(by_field, by_option[i], "%s", pairs[i].field);
        for (size_t j = 0; j < i; j++)
            cr_expect((strcmp(by_option[j], by_option[i]) == 0) ==
                          (strcmp(pairs[j].value, pairs[i].value) == 0 &&
                           strcmp(pairs[j].option, pairs[i].option) == 0),
                      "%s, %s", pairs[j].field, pairs[i].field);
        cr_expect(strcmp(by_field, plain) != 0, "%s", pairs[i].field);
    }
    /* what a line says replaces lists, too, and drafts change nothing */
    static const char empty[] =
        "{\"prompt\":\"ab\",\"stop\":[],\"logit_bias\":{},\"stop_tokens\":[],\"draft\":3}";
    spawn_options input = {.input = empty, .input_size = sizeof empty - 1};
    hash_of(RUN(&input, "run", "-m", model, "--batch", "-", "-n", "2", "--stop", "x", "--logit-bias", "9+1",
                "--stop-token", "9"),
            by_field);
    cr_expect_str_eq(by_field, plain);
    unlink(model);
}

/* ---- results ---- */

Test(cli_batch, samples_stops_and_logprobs, .timeout = 60)
{
    static const char lines[] =
        "{\"prompt\":\"It is a truth\",\"id\":\"a\",\"n\":6,\"n_samples\":3,\"logprobs\":1}\n"
        "{\"prompt\":\"It is a truth\",\"id\":\"b\",\"n\":6,\"stop\":[\"zzz\",\" \"],\"temperature\":0}\n";
    spawn_options input = {.input = lines, .input_size = sizeof lines - 1};
    json_t *list =
        results_of(RUN(&input, "run", "-m", DEMO_MODEL, "--batch", "-", "--ignore-eos", "--no-hash"));
    cr_assert_eq(json_array_size(list), 4);
    int samples = 0;
    for (size_t i = 0; i < 4; i++) {
        json_t *r = json_array_get(list, i);
        cr_expect(json_is_integer(json_object_get(r, "n_cached")));
        if (number_of(r, "index") == 0) {
            samples |= 1 << number_of(r, "sample");
            cr_expect_eq(json_array_size(json_object_get(r, "logprobs")), 6);
            cr_expect(strcmp(text_of(r, "id"), "a") == 0 && strcmp(text_of(r, "finish"), "length") == 0);
        } else {
            cr_expect(!json_object_get(r, "sample") && !json_object_get(r, "logprobs"));
            cr_expect(strcmp(text_of(r, "finish"), "stop") == 0 && strcmp(text_of(r, "stop"), " ") == 0);
            cr_expect(json_string_length(json_object_get(r, "text")) == 0);
        }
    }
    cr_expect_eq(samples, 7);
    json_decref(list);
    spawned s = RUN(&input, "run", "-m", DEMO_MODEL, "--batch", "-", "--text", "--ignore-eos");
    cr_expect(s.code == 0 && strstr(s.out, "[a/0] It is a truth") && strstr(s.out, "[a/2] It is a truth") &&
                  strstr(s.out, "[b] It is a truth\n\n"),
              "%s", s.out);
    spawned_free(&s);
    s = RUN(&input, "run", "-m", DEMO_MODEL, "--batch", "-", "--text", "--ignore-eos", "--no-display-prompt");
    cr_expect(s.code == 0 && !strstr(s.out, "truth") && strstr(s.out, "[b] \n\n"), "%s", s.out);
    spawned_free(&s);
}

/* A request that can never run is an error of its own; the others have their results. */
Test(cli_batch, refused_requests, .timeout = 60)
{
    static const char lines[] = /* the second has more tokens than the page holds */
        "{\"prompt\":\"a\",\"n\":2}\n{\"prompt\":"
        "\"0123456789012345678901234567890123456789012345678901234567890123456789\""
        ",\"n\":2}\n{\"prompt\":\"c\",\"n\":2}\n";
    spawn_options input = {.input = lines, .input_size = sizeof lines - 1};
    make_model(128, model);
    spawned s = RUN(&input, "run", "-m", model, "--batch", "-", "--ignore-eos", "--kv-memory", "64K");
    cr_assert_eq(s.code, 1);
    cr_expect(strstr(s.err, "sterna run: 1 results are errors, the first that of request 1: "), "%s", s.err);
    json_t *list = parse_lines(s.out);
    cr_assert_eq(json_array_size(list), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *r = json_array_get(list, i);
        bool refused = number_of(r, "index") == 1;
        cr_expect_str_eq(text_of(r, "finish"), refused ? "error" : "length");
        cr_expect_eq(number_of(r, "n_generated"), refused ? 0 : 2);
        cr_expect_eq(json_object_get(r, "error") != NULL, refused);
    }
    json_decref(list);
    spawned_free(&s);
    unlink(model);
}
