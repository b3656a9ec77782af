/* sterna perplexity, from outside, against log-probabilities that the engine reports with generated tokens.
 */
#include "tests/support/cli_rig.h"

#include <math.h>
#include <signal.h>

#define TEXT STERNA_SOURCE_DIR "/models/heldout.txt"

enum { CHUNK = 48, CHUNKS = 3 };

/* ln p of `next` after the prompt: a bias makes it the token that is generated; what is reported with it
 * comes from before biases. */
static double forced_logprob(sterna_engine *engine, const sterna_token *prompt, int32_t n, sterna_token next)
{
    sterna_logit_bias bias = {next, 1e6f};
    sterna_request request;
    sterna_error error;
    sterna_request_defaults(&request);
    request.prompt = prompt;
    request.n_prompt = n;
    request.n_predict = 1;
    request.temperature = 0.0f;
    request.ignore_end = true;
    request.bias = &bias;
    request.n_bias = 1;
    cr_assert_eq(sterna_submit(engine, &request, NULL, &error), STERNA_OK, "%s", error.message);
    double logprob = 1.0;
    while (sterna_step(engine, &error) > 0)
        ;
    for (const sterna_event *e; (e = sterna_next(engine)) != NULL;)
        if (e->token >= 0) {
            cr_assert_eq(e->token, next);
            logprob = (double)e->logprob;
        }
    cr_assert(logprob <= 0.0);
    return logprob;
}

/* -ln p of every scored token, by the protocol's words: chunks of CHUNK tokens, the first one replaced by
 * the begin of text, the tokens after the first half scored. Returns their number. */
static int expected_losses(double loss[CHUNK * CHUNKS])
{
    sterna_model *model;
    sterna_engine *engine;
    sterna_error error;
    sterna_engine_params params;
    cr_assert_eq(sterna_model_open(DEMO_MODEL, NULL, &model, &error), STERNA_OK);
    sterna_engine_defaults(&params);
    params.device = "cpu";
    params.n_context = CHUNK + 1;
    params.n_sequence = 1;
    cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_OK, "%s", error.message);
    sterna_model_info info = {.struct_size = sizeof info};
    sterna_model_describe(model, &info);
    cr_assert(info.add_bos);
    char *text = read_file(TEXT);
    static sterna_token token[1 << 15];
    int64_t n_token = sterna_tokenize(model, text, strlen(text), token, 1 << 15, true, false, &error);
    cr_assert(n_token >= CHUNK * CHUNKS && n_token <= 1 << 15);
    int n = 0;
    for (int c = 0; c < CHUNKS; c++) {
        sterna_token chunk[CHUNK];
        memcpy(chunk, token + c * CHUNK, sizeof chunk);
        chunk[0] = info.bos;
        for (int i = CHUNK / 2 + 1; i < CHUNK; i++)
            loss[n++] = -forced_logprob(engine, chunk, i, chunk[i]);
    }
    free(text);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
    return n;
}

static bool near(double a, double b, double relative)
{
    return fabs(a - b) <= relative * fabs(b);
}

Test(cli_perplexity, agrees_with_forced_generation, .timeout = 120)
{
    double loss[CHUNK * CHUNKS], sum = 0.0, squares = 0.0, running[CHUNKS];
    int n = expected_losses(loss), per_chunk = CHUNK / 2 - 1;
    cr_assert_eq(n, CHUNKS * per_chunk);
    char expected[256] = "";
    for (int i = 0; i < n; i++) {
        sum += loss[i];
        squares += loss[i] * loss[i];
        if ((i + 1) % per_chunk == 0) {
            running[i / per_chunk] = exp(sum / (i + 1));
            sprintf(expected + strlen(expected), "[%d]%.4f,", (i + 1) / per_chunk, running[i / per_chunk]);
        }
    }
    double mean = sum / n, error = exp(mean) * sqrt((squares / n - mean * mean) / (n - 1));
    sprintf(expected + strlen(expected), "\nFinal estimate: PPL = %.4f +/- %.5f\n", exp(mean), error);
    spawned s = RUN(NULL, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "-c", "48", "--chunks", "3");
    cr_expect(s.code == 0 && strcmp(s.out, expected) == 0, "%s instead of %s: %s", s.out, expected, s.err);
    cr_expect(strstr(s.err,
                     "perplexity: calculating perplexity over 3 chunks, n_ctx=48, batch_size=512, n_seq=1\n"),
              "%s", s.err);
    cr_expect(strstr(s.err, " seconds per pass - ETA ") && strstr(s.err, " minutes\n"), "%s", s.err);
    spawned_free(&s);
    s = RUN(NULL, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "-c", "48", "--chunks", "3", "--json", "-b",
            "7", "--device", "ref");
    json_t *result = json_loads(s.out, 0, NULL), *list = json_object_get(result, "running");
    cr_assert(s.code == 0 && result && json_array_size(list) == CHUNKS, "%s%s", s.out, s.err);
    for (size_t i = 0; i < CHUNKS; i++)
        cr_expect(near(json_real_value(json_array_get(list, i)), running[i], 1e-9));
    cr_expect(near(json_real_value(json_object_get(result, "perplexity")), exp(mean), 1e-9));
    cr_expect(near(json_real_value(json_object_get(result, "error")), error, 1e-7));
    cr_expect(near(json_real_value(json_object_get(result, "nll")), sum, 1e-9));
    cr_expect(number_of(result, "n_scored") == n && number_of(result, "n_chunk") == CHUNKS &&
              number_of(result, "n_ctx") == CHUNK && number_of(result, "n_token") == 15027);
    json_decref(result);
    spawned_free(&s);
}

/* --against: the figures of a run with the other head, the sides exchanged. */
Test(cli_perplexity, compares_heads, .timeout = 60)
{
    json_t *result[2], *against[2];
    static const char *const heads[] = {"f16", "q8"};
    for (int i = 0; i < 2; i++) {
        spawned s = RUN(NULL, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "-c", "128", "--chunks", "8",
                        "--json", "--head", heads[i], "--against", heads[1 - i]);
        result[i] = json_loads(s.out, 0, NULL);
        against[i] = json_object_get(result[i], "against");
        cr_assert(s.code == 0 && against[i], "%s%s", s.out, s.err);
        cr_expect_str_eq(json_string_value(json_object_get(against[i], "head")), heads[1 - i]);
        spawned_free(&s);
    }
    double ppl[2], n = (double)number_of(result[0], "n_scored"),
                   same = (double)number_of(against[0], "same_top");
    for (int i = 0; i < 2; i++)
        ppl[i] = json_real_value(json_object_get(result[i], "perplexity"));
    cr_expect(ppl[0] != ppl[1] && near(ppl[0], ppl[1], 0.01), "%g %g", ppl[0], ppl[1]);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(json_real_value(json_object_get(against[i], "perplexity")), ppl[1 - i]);
        cr_expect(near(json_real_value(json_object_get(against[i], "change_percent")),
                       100 * (ppl[i] / ppl[1 - i] - 1), 1e-9));
        cr_expect_eq((double)number_of(against[i], "same_top"), same);
        cr_expect(
            near(json_real_value(json_object_get(against[i], "same_top_percent")), 100 * same / n, 1e-9));
        json_decref(result[i]);
    }
    cr_expect(same > 0.9 * n && same < n, "%g of %g", same, n);
    expect_failure(RUN(NULL, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "--against", "f16"), 2,
                   "sterna perplexity: --against f16: that is --head itself\n");
}

/* A text that mentions control tokens is a text. */
Test(cli_perplexity, names_of_tokens_are_words, .timeout = 60)
{
    char text[20 * 17 + 1] = "";
    for (int i = 0; i < 20; i++)
        strcat(text, "<|end_of_text|> ");
    spawn_options input = {.input = text, .input_size = strlen(text)};
    spawned s = RUN(&input, "perplexity", "-m", DEMO_MODEL, "-f", "-", "-c", "16", "--json");
    json_t *result = json_loads(s.out, 0, NULL);
    cr_expect(result && number_of(result, "n_token") > 100, "%s%s", s.out, s.err);
    json_decref(result);
    spawned_free(&s);
}

Test(cli_perplexity, errors, .timeout = 60)
{
    spawn_options empty = {.input = ""}, full = {.out_path = "/dev/full"};
    expect_failure(RUN(NULL, "perplexity", "-f", "x"), 2,
                   "sterna perplexity: no model: give one with --model FILE\n");
    expect_failure(RUN(NULL, "perplexity", "-m", "x"), 2,
                   "sterna perplexity: no text: give one with --file FILE\n");
    expect_failure(RUN(NULL, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "-c", "7"), 2,
                   "sterna perplexity: --ctx-size: 7, but a chunk needs at least 8\n");
    expect_failure(RUN(NULL, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "-c", "513"), 2,
                   "sterna perplexity: --ctx-size: 513, but the model was made for 512 positions\n");
    expect_failure(RUN(NULL, "perplexity", "-m", DEMO_MODEL, "-f", "/nowhere/x"), 1,
                   "sterna perplexity: cannot read /nowhere/x: No such file or directory\n");
    spawned s = RUN(&empty, "perplexity", "-m", DEMO_MODEL, "-f", "-");
    cr_expect(
        s.code == 1 && s.out_size == 0 &&
            strstr(s.err,
                   "sterna perplexity: standard input has 1 tokens, but chunks of 512 need at least 1024 "
                   "(a smaller --ctx-size needs fewer)\n"),
        "%s", s.err);
    spawned_free(&s);
    s = RUN(&full, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "-c", "64");
    cr_expect(s.code == 1 && strstr(s.err, "sterna perplexity: cannot write to standard output: "), "%d: %s",
              s.code, s.err);
    spawned_free(&s);
}

Test(cli_perplexity, interrupted, .timeout = 60)
{
    spawn_options interrupt = {.signal = SIGINT};
    spawned s = RUN(&interrupt, "perplexity", "-m", DEMO_MODEL, "-f", TEXT, "-c", "256", "--device", "ref");
    cr_expect(s.code == 130 && strncmp(s.out, "[1]", 3) == 0 && !strstr(s.out, "Final"), "%d: %s", s.code,
              s.out);
    cr_expect(strstr(s.err, "sterna perplexity: interrupted after ") && strstr(s.err, " of 58 chunks\n"),
              "%s", s.err);
    spawned_free(&s);
}
