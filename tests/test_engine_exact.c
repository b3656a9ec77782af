/* A request gives the same bits alone and in company, in one piece and in chunks, on every CPU backend, with
 * any number of threads. */
#include "tests/support/company.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define DEMO STERNA_SOURCE_DIR "/models/sterna-demo.gguf"

/* ---- chunks ---- */

Test(engine_exact, chunks_of_any_size_give_the_same_bits, .timeout = 120)
{
    sterna_model *model = company_model(5);
    static const int32_t batches[] = {1, 2, 3, 7, 16, 63, 64, 65, 100, 199};
    static company c;
    company_fill(&c, model, 11, COMPANY_MAX_PROMPT, "ref");
    for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++)
        for (int i = 0; i < COMPANY_POOL; i += 6) {
            sterna_engine_params params = company_params(1, batches[b]);
            rig_result chunked =
                rig_alone(model, &params, rig_device("ref", 1, COMPANY_NAN_F32), &c.request[i], 0);
            rig_compare(&chunked, &c.alone[i][0], false, "n_batch", batches[b]);
        }
    sterna_model_close(&model);
}

Test(engine_exact, scores_are_those_of_generation, .timeout = 60)
{
    sterna_model *model = company_model(6);
    static company c;
    company_fill(&c, model, 12, 100, "cpu");
    for (int i = 0; i < COMPANY_POOL; i++) {
        sterna_token tokens[RIG_MAX_TOKEN];
        float logprob[RIG_MAX_TOKEN];
        int32_t n = c.request[i].n_prompt;
        memcpy(tokens, c.prompt[i], (size_t)n * sizeof *tokens);
        memcpy(tokens + n, c.alone[i][0].token, (size_t)c.alone[i][0].n * sizeof *tokens);
        sterna_engine_params params = company_params(1, 1 + 17 * i);
        sterna_engine *engine;
        sterna_error error;
        cr_assert_eq(
            st_engine_open_on(model, &params, rig_device("cpu", 1, COMPANY_NAN_ALL), &engine, &error),
            STERNA_OK);
        cr_assert_eq(sterna_score(engine, tokens, n + c.alone[i][0].n, 1, logprob, &error), STERNA_OK, "%s",
                     error.message);
        cr_assert_arr_eq(logprob + n - 1, c.alone[i][0].logprob, (size_t)c.alone[i][0].n * sizeof *logprob);
        sterna_engine_close(&engine);
    }
    sterna_model_close(&model);
}

/* ---- company ---- */

/* STERNA_TEST_QUICK=1 runs a part under ThreadSanitizer, where everything takes a quarter of an hour. */
static bool is_quick(void)
{
#if defined(__SANITIZE_THREAD__)
    const char *quick = getenv("STERNA_TEST_QUICK");
    return quick && *quick == '1';
#else
    return false;
#endif
}

Test(engine_exact, company_changes_nothing, .timeout = 300)
{
    const uint64_t n = is_quick() ? 40 : 200;
    sterna_model *model = company_model(7);
    static company c;
    company_fill(&c, model, 13, COMPANY_MAX_PROMPT, "ref");
    company_tally t = {0};
    for (int number = 0; number < (int)n; number++)
        company_run(&c, model, "cpu", 1000, number, &t);
    cr_log_info("cached %d, preempted %d, drafts %d right %d wrong, cancelled %d, stopped %d",
                (int)t.n_cached, (int)t.n_preempted, (int)t.n_accepted, (int)t.n_wrong, (int)t.n_cancelled,
                (int)t.n_stop);
    cr_assert(t.n_cached > 5 * n && t.n_preempted > n / 10 && t.n_accepted > n / 2 && t.n_wrong > n / 2 &&
              t.n_cancelled > n / 4 && t.n_stop > n / 4);
    sterna_model_close(&model);
}

Test(engine_exact, company_changes_nothing_in_the_demo_model, .timeout = 300)
{
    sterna_model *model;
    sterna_error error;
    cr_assert_eq(sterna_model_open(DEMO, NULL, &model, &error), STERNA_OK, "%s", error.message);
    static company c;
    company_fill(&c, model, 14, 30, "cpu");
    company_tally t = {0};
    for (int number = 0; number < 10; number++)
        company_run(&c, model, "cpu", 2000, number, &t);
    sterna_model_close(&model);
}

/* ---- backends and threads ---- */

/* Makes each op use its variant number `rank`, or its last one if it has fewer. False if no op has that many.
 */
static bool force_rank(st_device *dev, int rank)
{
    bool any = false;
    for (int op = 0; op < ST_OP_COUNT; op++) {
        const char *const *names;
        int n = dev->backend->variants(dev, (st_op)op, &names);
        sterna_error error;
        const char *name = names[rank < n ? rank : n - 1];
        cr_assert_eq(dev->backend->force(dev, (st_op)op, name, &error), STERNA_OK, "%s", error.message);
        any = any || rank < n;
    }
    return any;
}

/* Automatic choice, then every variant of every op in turn, with one thread and with two. */
static void expect_every_variant(const sterna_model *model, const sterna_engine_params *params,
                                 const sterna_request *request, const rig_result *ref, int number)
{
    for (int32_t n_thread = 1; n_thread <= 2; n_thread++)
        for (int rank = -1;; rank++) {
            st_device *dev = rig_device("cpu", n_thread, COMPANY_NAN_ALL);
            if (rank >= 0 && !force_rank(dev, rank)) {
                cr_assert_gt(rank, 0);
                st_device_close(&dev);
                break;
            }
            rig_result cpu = rig_alone(model, params, dev, request, 0);
            rig_compare(&cpu, ref, false, "model", number);
        }
}

static const struct {
    const char *arch;
    bool tied, biases, tensor_scales, rope_freqs;
    tiny_scales scales;
    st_encoding embedding, output;
    int32_t n_kv_head, n_rot;
    sterna_head head;
} families[] = {
    {"bitnet-b1.58", true, false, false, false, TINY_SCALE_TENSOR, ST_ENC_F16, ST_ENC_F16, 2, 64,
     STERNA_HEAD_F16},
    {"bitnet-b1.58", false, false, false, false, TINY_SCALE_ROW, ST_ENC_F32, ST_ENC_BF16, 4, 64,
     STERNA_HEAD_F16},
    {"bitnet-25", true, false, false, false, TINY_SCALE_GROUP, ST_ENC_BF16, ST_ENC_F16, 1, 64,
     STERNA_HEAD_F16},
    {"bitnet", true, false, true, false, TINY_SCALE_TENSOR, ST_ENC_F16, ST_ENC_F16, 4, 64, STERNA_HEAD_F16},
    {"llama", false, true, false, true, TINY_SCALE_GROUP, ST_ENC_F16, ST_ENC_TQ2_0, 2, 64, STERNA_HEAD_F16},
    {"llama", false, false, false, false, TINY_SCALE_TENSOR, ST_ENC_TQ2_0, ST_ENC_F32, 2, 64,
     STERNA_HEAD_F16},
    {"bitnet-b1.58", true, false, false, false, TINY_SCALE_TENSOR, ST_ENC_F16, ST_ENC_F16, 2, 64,
     STERNA_HEAD_Q8},
    {"llama", false, true, false, true, TINY_SCALE_GROUP, ST_ENC_F16, ST_ENC_BF16, 2, 64, STERNA_HEAD_Q8},
    {"bitnet-25", false, false, false, false, TINY_SCALE_GROUP, ST_ENC_F16, ST_ENC_Q8_0, 1, 64,
     STERNA_HEAD_Q8},
};

/* The families differ in norms, activation, pairing, heads, factors: each runs the same on both backends. */
Test(engine_exact, backends_and_threads_agree, .timeout = 120)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i += is_quick() ? 3 : 1) {
        tiny_spec spec;
        tiny_defaults(&spec);
        spec.arch = families[i].arch;
        spec.tied = families[i].tied;
        spec.biases = families[i].biases;
        spec.tensor_scales = families[i].tensor_scales;
        spec.rope_freqs = families[i].rope_freqs;
        spec.scales = families[i].scales;
        spec.embedding = families[i].embedding;
        spec.output = families[i].output;
        spec.n_kv_head = families[i].n_kv_head;
        spec.n_rot = families[i].n_rot;
        spec.seed = 100 + i;
        sterna_model *model = tiny_open(&spec);
        sterna_request request;
        sterna_request_defaults(&request);
        sterna_token prompt[70];
        for (int t = 0; t < 70; t++)
            prompt[t] = (t * 37 + (int)i) % 256;
        request.prompt = prompt;
        request.n_prompt = 70;
        request.n_predict = 6;
        request.ignore_end = true;
        request.temperature = 0.9f;
        sterna_engine_params params = company_params(1, 64), checked;
        params.head = families[i].head;
        checked = params;
        checked.check = true;
        checked.device = "cpu";
        rig_result ref = rig_alone(model, &params, rig_device("ref", 1, COMPANY_NAN_F32), &request, 0);
        cr_assert_eq(ref.n, 6);
        expect_every_variant(model, &params, &request, &ref, (int)i);
        sterna_engine *engine; /* the checking layer finds nothing wrong with the engine's arguments */
        sterna_error error;
        cr_assert_eq(sterna_engine_open(model, &checked, &engine, &error), STERNA_OK, "%s", error.message);
        cr_assert_eq(sterna_submit(engine, &request, NULL, &error), STERNA_OK);
        int64_t left;
        while ((left = sterna_step(engine, &error)) > 0)
            ;
        cr_assert_eq(left, 0, "%s", error.message);
        const sterna_event *event;
        for (int32_t t = 0; (event = sterna_next(engine)); t++)
            cr_assert(event->token == ref.token[t] && event->logprob == ref.logprob[t]);
        sterna_engine_close(&engine);
        sterna_model_close(&model);
    }
}

/* The hash does not depend on the order of requests, but on every logit. */
Test(engine_exact, hash_is_independent_of_order, .timeout = 60)
{
    sterna_model *model = company_model(8);
    static company c;
    static rig r;
    company_fill(&c, model, 15, 60, "cpu");
    uint64_t hash[3];
    for (int order = 0; order < 3; order++) {
        sterna_engine_params params = company_params(order == 0 ? 1 : 8, 16 + 8 * order);
        params.hash_logits = true;
        rig_open(&r, model, &params, rig_device("cpu", 1, COMPANY_NAN_ALL));
        for (int i = 0; i < COMPANY_POOL; i++)
            rig_submit(&r, &c.request[order == 2 ? COMPANY_POOL - 1 - i : i]);
        while (rig_step(&r) > 0)
            ;
        sterna_statistics s = {.struct_size = sizeof s};
        sterna_engine_statistics(r.engine, &s);
        uint64_t rows = 0;
        for (int i = 0; i < COMPANY_POOL; i++)
            for (int k = 0; k < c.request[i].n_sample; k++)
                rows += (uint64_t)c.alone[i][k].n;
        cr_assert_eq(s.n_logits_row, rows);
        hash[order] = s.logits_hash;
        rig_close(&r);
    }
    cr_assert(hash[0] != 0 && hash[0] == hash[1] && hash[0] == hash[2]);
    sterna_model_close(&model);
}
