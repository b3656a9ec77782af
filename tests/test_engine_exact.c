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

enum { POOL = 24, MAX_PROMPT = 200, MAX_SAMPLE = 3 };

typedef struct pool {
    sterna_token prompt[POOL][MAX_PROMPT];
    sterna_logit_bias bias[POOL][8];
    sterna_token stop_token[POOL];
    char stop[POOL][2][4];
    const char *stops[POOL][2];
    sterna_request request[POOL];
    rig_result alone[POOL][MAX_SAMPLE];
} pool;

/* Every way to choose a token and to end, alone and together. */
static void random_options(pool *p, int i, uint64_t *seed)
{
    sterna_request *r = &p->request[i];
    r->ignore_end = i % 2;
    r->temperature = i % 4 == 0 ? 0.0f : 1.0f;
    r->top_k = i % 5 == 0 ? 40 : 0;
    r->top_p = i % 3 == 0 ? 0.9f : 1.0f;
    r->min_p = i % 7 == 0 ? 0.05f : 0.0f;
    r->typical_p = i % 11 == 3 ? 0.8f : 1.0f;
    r->repetition_penalty = i % 6 == 1 ? 1.2f : 1.0f;
    r->presence_penalty = i % 8 == 2 ? 0.5f : 0.0f;
    r->frequency_penalty = i % 8 == 5 ? 0.3f : 0.0f;
    r->penalty_last_n = i % 3 == 1 ? 1000 : 20;
    r->n_logprob = i % 4 == 3 ? 1 + i % 20 : 0;
    r->n_sample = i % 6 == 4 ? 1 + i % 3 : 1;
    r->seed = tiny_random(seed);
    if (i % 7 == 2) {
        for (int b = 0; b < 8; b++) /* ascending in steps of 20: distinct */
            p->bias[i][b] =
                (sterna_logit_bias){20 * b + (int32_t)(tiny_random(seed) % 20), tiny_uniform(seed) * 4.0f};
        r->bias = p->bias[i];
        r->n_bias = 8;
    }
}

/* Ends that are met: a token and bytes from the middle of what the request generates without them. */
static void choose_stops(pool *p, int i, const rig_result *plain)
{
    sterna_request *r = &p->request[i];
    if (i % 5 == 2 && plain->n > 0) {
        p->stop_token[i] = plain->token[plain->n / 2];
        r->stop_token = &p->stop_token[i];
        r->n_stop_token = 1;
    }
    if (i % 3 == 2 && plain->n_text > 2) {
        memcpy(p->stop[i][0], plain->text + plain->n_text / 2, 2);
        p->stops[i][0] = p->stop[i][0][0] ? p->stop[i][0] : "no such text";
        p->stops[i][1] = "another";
        r->stop = p->stops[i];
        r->n_stop = 2;
    }
}

/* Prompts begin alike, with one of two texts, so that pages are shared. */
static void fill_pool(pool *p, const sterna_model *model, uint64_t seed, int32_t longest, const char *device)
{
    int32_t n_vocab = st_model_config(model)->n_vocab;
    sterna_engine_params params = params_of(1, 512);
    sterna_token begin[2][MAX_PROMPT];
    for (int32_t i = 0; i < 2 * MAX_PROMPT; i++)
        begin[i / MAX_PROMPT][i % MAX_PROMPT] = (int32_t)(tiny_random(&seed) % (uint64_t)n_vocab);
    for (int i = 0; i < POOL; i++) {
        sterna_request *r = &p->request[i];
        sterna_request_defaults(r);
        r->n_prompt = 1 + (int32_t)(tiny_random(&seed) % (i % 3 == 0 ? (uint64_t)longest : 20));
        r->n_predict = (int32_t)(tiny_random(&seed) % 12) + (i % 4 == 0 ? 110 : 1);
        r->prompt = p->prompt[i];
        random_options(p, i, &seed);
        int32_t n_common = (int32_t)(tiny_random(&seed) % (uint64_t)r->n_prompt);
        for (int32_t t = 0; t < r->n_prompt; t++)
            p->prompt[i][t] =
                i % 4 && t < n_common ? begin[i % 2][t] : (int32_t)(tiny_random(&seed) % (uint64_t)n_vocab);
        rig_result plain = rig_alone(model, &params, rig_device(device, 1, NAN_ALL), r, 0);
        choose_stops(p, i, &plain);
        for (int32_t k = 0; k < r->n_sample; k++)
            p->alone[i][k] = rig_alone(model, &params, rig_device(device, 1, NAN_ALL), r, k);
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
            rig_compare(&chunked, &p.alone[i][0], false, "n_batch", batches[b]);
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
        memcpy(tokens + n, p.alone[i][0].token, (size_t)p.alone[i][0].n * sizeof *tokens);
        sterna_engine_params params = params_of(1, 1 + 17 * i);
        sterna_engine *engine;
        sterna_error error;
        cr_assert_eq(st_engine_open_on(model, &params, rig_device("cpu", 1, NAN_ALL), &engine, &error),
                     STERNA_OK);
        cr_assert_eq(sterna_score(engine, tokens, n + p.alone[i][0].n, 1, logprob, &error), STERNA_OK, "%s",
                     error.message);
        cr_assert_arr_eq(logprob + n - 1, p.alone[i][0].logprob, (size_t)p.alone[i][0].n * sizeof *logprob);
        sterna_engine_close(&engine);
    }
    sterna_model_close(&model);
}

/* ---- company ---- */

/* What happened in all scenarios together. */
typedef struct tally {
    uint64_t n_cached, n_preempted, n_accepted, n_wrong, n_cancelled, n_stop;
} tally;

static void count(tally *t, const rig *r)
{
    sterna_statistics s = {.struct_size = sizeof s};
    cr_assert_eq(sterna_engine_statistics(r->engine, &s), STERNA_OK);
    cr_assert(s.n_page_used == 0 && s.n_running == 0 && s.n_waiting == 0, "%d pages leak", s.n_page_used);
    t->n_cached += s.n_cached;
    t->n_preempted += s.n_preempted;
    t->n_accepted += s.n_accepted;
    t->n_wrong += s.n_draft - s.n_accepted;
    for (int32_t i = 0; i < r->n_sample; i++) {
        t->n_cancelled += r->result[i].last.finish == STERNA_FINISH_CANCEL;
        t->n_stop += r->result[i].last.finish == STERNA_FINISH_STOP;
    }
}

/* Requests of the pool arrive, run and are cancelled at random. */
static void run_scenario(const sterna_model *model, const pool *p, const char *device, uint64_t seed,
                         int number, tally *t)
{
    static rig r;
    uint64_t state = seed + (uint64_t)number;
    int32_t n_sequence = 1 + (int32_t)(tiny_random(&state) % 9);
    sterna_engine_params params = params_of(n_sequence, n_sequence + (int32_t)(tiny_random(&state) % 40));
    const st_config *c = st_model_config(model);
    if (number % 3 == 0) /* pages are scarce: five at least, as many as the longest request takes */
        params.kv_bytes = (int64_t)st_kv_bytes(5 + (int32_t)(tiny_random(&state) % 3), c->n_layer,
                                               c->n_kv_head, c->head_dim);
    params.n_draft = number % 2 ? 1 + (int32_t)(tiny_random(&state) % STERNA_MAX_DRAFT) : 0;
    params.prefill = number % 5 == 1 ? STERNA_PREFILL_FIFO : STERNA_PREFILL_FAIR;
    params.no_prefix_cache = number % 7 == 3;
    rig_open(&r, model, &params, rig_device(device, number % 20 ? 1 : 2, number % 4 < 2 ? NAN_ALL : NAN_F32));
    int32_t total = (number % 6 ? 3 : 14) + (int32_t)(tiny_random(&state) % 14), which[RIG_MAX_SAMPLE];
    bool cancelled[RIG_MAX_SAMPLE] = {false};
    int64_t left = 0;
    while (left > 0 || r.n_sample < total) {
        while (r.n_sample < total && (left == 0 || tiny_random(&state) % 3 == 0)) {
            int32_t pick = (int32_t)(tiny_random(&state) % POOL);
            if (number % 6 == 0)
                pick -= pick % 4; /* those that grow by pages */
            int32_t first = rig_submit(&r, &p->request[pick]);
            for (left += r.n_sample - first; first < r.n_sample; first++)
                which[first] = pick;
        }
        if (tiny_random(&state) % (number % 6 ? 8 : 100) == 0) {
            int32_t victim = (int32_t)(tiny_random(&state) % (uint64_t)r.n_sample);
            bool open[RIG_MAX_SAMPLE], any = false;
            for (int32_t i = 0; i < r.n_sample; i++) {
                open[i] = r.id[i] == r.id[victim] && r.result[i].last.finish == STERNA_FINISH_NONE;
                cancelled[i] = cancelled[i] || open[i];
                any = any || open[i];
            }
            cr_assert_eq(sterna_cancel(r.engine, r.id[victim], NULL) == STERNA_OK, any);
            rig_events(&r);
        }
        left = rig_step(&r);
    }
    for (int32_t i = 0; i < r.n_sample; i++) {
        cr_assert_eq(r.result[i].last.finish == STERNA_FINISH_CANCEL, cancelled[i]);
        rig_compare(&r.result[i], &p->alone[which[i]][r.sample[i]], cancelled[i], "scenario", number);
    }
    count(t, &r);
    rig_close(&r);
}

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
    sterna_model *model = small_model(7);
    static pool p;
    fill_pool(&p, model, 13, MAX_PROMPT, "ref");
    tally t = {0};
    for (int number = 0; number < (int)n; number++)
        run_scenario(model, &p, "cpu", 1000, number, &t);
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
    static pool p;
    fill_pool(&p, model, 14, 30, "cpu");
    tally t = {0};
    for (int number = 0; number < 10; number++)
        run_scenario(model, &p, "cpu", 2000, number, &t);
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
        sterna_engine_params params = params_of(1, 64), checked;
        params.head = families[i].head;
        checked = params;
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
            for (int k = 0; k < p.request[i].n_sample; k++)
                rows += (uint64_t)p.alone[i][k].n;
        cr_assert_eq(s.n_logits_row, rows);
        hash[order] = s.logits_hash;
        rig_close(&r);
    }
    cr_assert(hash[0] != 0 && hash[0] == hash[1] && hash[0] == hash[2]);
    sterna_model_close(&model);
}
