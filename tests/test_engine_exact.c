/* A request gives the same bits alone and in company, in one piece and in chunks, on every CPU backend, with
 * any number of threads. */
#include "tests/support/engine_rig.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define DEMO    STERNA_SOURCE_DIR "/models/sterna-demo.gguf"
#define NAN_F32 UINT32_C(0x7fc00000)
#define NAN_ALL UINT32_C(0xffffffff) /* NaN as f32 and as f16 */

/* Two layers and 320 tokens; small enough for hundreds of engines. */
static sterna_model *small_model(uint64_t seed)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    spec.n_embd = 128;
    spec.head_dim = 32;
    spec.n_rot = 32;
    spec.n_ff = 128;
    spec.n_vocab = 320;
    spec.n_context = 320;
    spec.matrix = ST_ENC_I2_S;
    spec.seed = seed;
    return tiny_open(&spec);
}

static sterna_engine_params params_of(int32_t n_sequence, int32_t n_batch)
{
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.n_sequence = n_sequence;
    params.n_batch = n_batch;
    return params;
}

/* ---- a pool of requests with their results when run alone ---- */

enum { POOL = 24, MAX_PROMPT = 200 };

typedef struct pool {
    sterna_token prompt[POOL][MAX_PROMPT];
    sterna_request request[POOL];
    rig_result alone[POOL];
} pool;

static void fill_pool(pool *p, const sterna_model *model, uint64_t seed, int32_t longest, const char *device)
{
    int32_t n_vocab = st_model_config(model)->n_vocab;
    sterna_engine_params params = params_of(1, 512);
    for (int i = 0; i < POOL; i++) {
        sterna_request *r = &p->request[i];
        sterna_request_defaults(r);
        r->n_prompt = 1 + (int32_t)(tiny_random(&seed) % (i % 3 == 0 ? (uint64_t)longest : 20));
        r->n_predict = (int32_t)(tiny_random(&seed) % 12) + (i % 8 == 0 ? 40 : 1);
        r->ignore_end = i % 2;
        r->prompt = p->prompt[i];
        for (int32_t t = 0; t < r->n_prompt; t++)
            p->prompt[i][t] = (int32_t)(tiny_random(&seed) % (uint64_t)n_vocab);
        r->temperature = i % 4 == 0 ? 0.0f : 1.0f;
        r->top_k = i % 5 == 0 ? 40 : 0;
        r->top_p = i % 3 == 0 ? 0.9f : 1.0f;
        r->seed = tiny_random(&seed);
        p->alone[i] = rig_alone(model, &params, rig_device(device, 1, NAN_ALL), r, 0);
    }
}

/* ---- chunks ---- */

Test(engine_exact, chunks_of_any_size_give_the_same_bits, .timeout = 120)
{
    sterna_model *model = small_model(5);
    static const int32_t batches[] = {1, 2, 3, 7, 16, 63, 64, 65, 100, 199};
    static pool p;
    fill_pool(&p, model, 11, MAX_PROMPT, "ref");
    for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++)
        for (int i = 0; i < POOL; i += 6) {
            sterna_engine_params params = params_of(1, batches[b]);
            rig_result chunked = rig_alone(model, &params, rig_device("ref", 1, NAN_F32), &p.request[i], 0);
            rig_compare(&chunked, &p.alone[i], false, "n_batch", batches[b]);
        }
    sterna_model_close(&model);
}

Test(engine_exact, scores_are_those_of_generation, .timeout = 60)
{
    sterna_model *model = small_model(6);
    static pool p;
    fill_pool(&p, model, 12, 100, "cpu");
    for (int i = 0; i < POOL; i++) {
        sterna_token tokens[RIG_MAX_TOKEN];
        float logprob[RIG_MAX_TOKEN];
        int32_t n = p.request[i].n_prompt;
        memcpy(tokens, p.prompt[i], (size_t)n * sizeof *tokens);
        memcpy(tokens + n, p.alone[i].token, (size_t)p.alone[i].n * sizeof *tokens);
        sterna_engine_params params = params_of(1, 1 + 17 * i);
        sterna_engine *engine;
        sterna_error error;
        cr_assert_eq(st_engine_open_on(model, &params, rig_device("cpu", 1, NAN_ALL), &engine, &error),
                     STERNA_OK);
        cr_assert_eq(sterna_score(engine, tokens, n + p.alone[i].n, 1, logprob, &error), STERNA_OK, "%s",
                     error.message);
        cr_assert_arr_eq(logprob + n - 1, p.alone[i].logprob, (size_t)p.alone[i].n * sizeof *logprob);
        sterna_engine_close(&engine);
    }
    sterna_model_close(&model);
}

/* ---- company ---- */

/* Requests of the pool arrive, run and are cancelled at random. */
static void run_scenario(const sterna_model *model, const pool *p, const char *device, uint64_t seed,
                         int number)
{
    static rig r;
    uint64_t state = seed + (uint64_t)number;
    int32_t n_sequence = 1 + (int32_t)(tiny_random(&state) % 9);
    sterna_engine_params params = params_of(n_sequence, n_sequence + (int32_t)(tiny_random(&state) % 40));
    const st_config *c = st_model_config(model);
    if (number % 3 == 0) /* pages are scarce: six at least, as many as the longest request takes */
        params.kv_bytes = (int64_t)st_kv_bytes(6 + (int32_t)(tiny_random(&state) % 6), c->n_layer,
                                               c->n_kv_head, c->head_dim);
    rig_open(&r, model, &params, rig_device(device, number % 20 ? 1 : 2, number % 2 ? NAN_ALL : NAN_F32));
    int32_t total = 3 + (int32_t)(tiny_random(&state) % 10), which[RIG_MAX_SAMPLE];
    bool cancelled[RIG_MAX_SAMPLE] = {false};
    int64_t left = 0;
    while (left > 0 || r.n_sample < total) {
        while (r.n_sample < total && (left == 0 || tiny_random(&state) % 3 == 0)) {
            int32_t pick = (int32_t)(tiny_random(&state) % POOL);
            which[r.n_sample] = pick;
            rig_submit(&r, &p->request[pick]);
            left++;
        }
        if (tiny_random(&state) % 8 == 0) {
            int32_t victim = (int32_t)(tiny_random(&state) % (uint64_t)r.n_sample);
            bool open = r.result[victim].last.finish == STERNA_FINISH_NONE;
            cr_assert_eq(sterna_cancel(r.engine, r.id[victim], NULL) == STERNA_OK, open);
            cancelled[victim] = cancelled[victim] || open;
            rig_events(&r);
        }
        left = rig_step(&r);
    }
    for (int32_t i = 0; i < total; i++) {
        cr_assert_eq(r.result[i].last.finish == STERNA_FINISH_CANCEL, cancelled[i]);
        rig_compare(&r.result[i], &p->alone[which[i]], cancelled[i], "scenario", number);
    }
    rig_close(&r);
}

Test(engine_exact, company_changes_nothing, .timeout = 300)
{
    sterna_model *model = small_model(7);
    static pool p;
    fill_pool(&p, model, 13, MAX_PROMPT, "ref");
    for (int number = 0; number < 200; number++)
        run_scenario(model, &p, "cpu", 1000, number);
    sterna_model_close(&model);
}

Test(engine_exact, company_changes_nothing_in_the_demo_model, .timeout = 300)
{
    sterna_model *model;
    sterna_error error;
    cr_assert_eq(sterna_model_open(DEMO, NULL, &model, &error), STERNA_OK, "%s", error.message);
    static pool p;
    fill_pool(&p, model, 14, 30, "cpu");
    for (int number = 0; number < 10; number++)
        run_scenario(model, &p, "cpu", 2000, number);
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
            st_device *dev = rig_device("cpu", n_thread, NAN_ALL);
            if (rank >= 0 && !force_rank(dev, rank)) {
                cr_assert_gt(rank, 0);
                st_device_close(&dev);
                break;
            }
            rig_result cpu = rig_alone(model, params, dev, request, 0);
            rig_compare(&cpu, ref, false, "model", number);
        }
}

/* The families differ in norms, activation, pairing, heads, factors: each runs the same on both backends. */
Test(engine_exact, backends_and_threads_agree, .timeout = 120)
{
    static const struct {
        const char *arch;
        bool tied, biases, tensor_scales, rope_freqs;
        tiny_scales scales;
        st_encoding embedding, output;
        int32_t n_kv_head, n_rot;
    } cases[] = {
        {"bitnet-b1.58", true, false, false, false, TINY_SCALE_TENSOR, ST_ENC_F16, ST_ENC_F16, 2, 64},
        {"bitnet-b1.58", false, false, false, false, TINY_SCALE_ROW, ST_ENC_F32, ST_ENC_BF16, 4, 64},
        {"bitnet-25", true, false, false, false, TINY_SCALE_GROUP, ST_ENC_BF16, ST_ENC_F16, 1, 64},
        {"bitnet", true, false, true, false, TINY_SCALE_TENSOR, ST_ENC_F16, ST_ENC_F16, 4, 64},
        {"llama", false, true, false, true, TINY_SCALE_GROUP, ST_ENC_F16, ST_ENC_TQ2_0, 2, 64},
        {"llama", false, false, false, false, TINY_SCALE_TENSOR, ST_ENC_TQ2_0, ST_ENC_F32, 2, 64},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tiny_spec spec;
        tiny_defaults(&spec);
        spec.arch = cases[i].arch;
        spec.tied = cases[i].tied;
        spec.biases = cases[i].biases;
        spec.tensor_scales = cases[i].tensor_scales;
        spec.rope_freqs = cases[i].rope_freqs;
        spec.scales = cases[i].scales;
        spec.embedding = cases[i].embedding;
        spec.output = cases[i].output;
        spec.n_kv_head = cases[i].n_kv_head;
        spec.n_rot = cases[i].n_rot;
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
        sterna_engine_params params = params_of(1, 64), checked = params;
        checked.check = true;
        checked.device = "cpu";
        rig_result ref = rig_alone(model, &params, rig_device("ref", 1, NAN_F32), &request, 0);
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
    sterna_model *model = small_model(8);
    static pool p;
    static rig r;
    fill_pool(&p, model, 15, 60, "cpu");
    uint64_t hash[3];
    for (int order = 0; order < 3; order++) {
        sterna_engine_params params = params_of(order == 0 ? 1 : 8, 16 + 8 * order);
        params.hash_logits = true;
        rig_open(&r, model, &params, rig_device("cpu", 1, NAN_ALL));
        for (int i = 0; i < POOL; i++)
            rig_submit(&r, &p.request[order == 2 ? POOL - 1 - i : i]);
        while (rig_step(&r) > 0)
            ;
        sterna_statistics s = {.struct_size = sizeof s};
        sterna_engine_statistics(r.engine, &s);
        uint64_t rows = 0;
        for (int i = 0; i < POOL; i++)
            rows += (uint64_t)p.alone[i].n;
        cr_assert_eq(s.n_logits_row, rows);
        hash[order] = s.logits_hash;
        rig_close(&r);
    }
    cr_assert(hash[0] != 0 && hash[0] == hash[1] && hash[0] == hash[2]);
    sterna_model_close(&model);
}
