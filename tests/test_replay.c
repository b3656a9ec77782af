/* Engines on a device that replays recordings as a GPU does, around the CPU backend: the same bits, and few
 * recordings. */
#include "tests/support/engine_rig.h"
#include "tests/support/random_request.h"
#include "tests/support/replay_backend.h"
#include "tests/support/script_backend.h"

#include <criterion/criterion.h>

enum { REQUESTS = 40 };

static sterna_model *small_model(void)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    spec.n_embd = spec.n_ff = 128;
    spec.head_dim = spec.n_rot = 32;
    spec.n_vocab = 320;
    spec.n_context = 512;
    spec.matrix = ST_ENC_I2_S;
    return tiny_open(&spec);
}

typedef struct mix {
    random_request request[REQUESTS];
    uint64_t random;
    replay_device *replay;
} mix;

/* Requests of every kind, those of `mix`, one after the other at random times. */
static void run_mix(rig *r, const sterna_model *model, const sterna_engine_params *params, mix *m,
                    st_device *dev)
{
    uint64_t random = m->random;
    int32_t n = 0;
    int64_t left = 0;
    rig_open(r, model, params, dev);
    while (left > 0 || n < REQUESTS) {
        while (n < REQUESTS && r->n_sample < RIG_MAX_SAMPLE && (left == 0 || random_once(&random, 6))) {
            rig_submit(r, &m->request[n++].request);
            left = 1;
        }
        left = rig_step(r);
    }
}

static void make_mix(mix *m, const sterna_engine_params *params, int32_t n_vocab)
{
    static random_world world;
    world.n_vocab = n_vocab;
    world.n_context = params->n_context;
    world.n_draft = params->n_draft;
    world.text = true;
    random_world_fill(&world, &m->random);
    for (int i = 0; i < REQUESTS; i++) {
        random_request *q = &m->request[i];
        do
            random_request_make(q, &world, &m->random);
        while (q->request.n_prompt > params->n_context || q->request.n_predict < 0);
        q->request.n_sample = i % 10 == 9 ? 3 : 1;
    }
}

/* Plain and replayed, with `max_recording` recordings; reports and returns how many keys there were. */
static int compare(const sterna_model *model, int32_t n_sequence, int32_t n_batch, int32_t n_draft,
                   int max_recording, uint64_t seed)
{
    static mix m;
    static rig plain, replayed;
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.n_context = 512;
    params.n_sequence = n_sequence;
    params.n_batch = n_batch;
    params.n_draft = n_draft;
    m.random = seed;
    make_mix(&m, &params, st_model_config(model)->n_vocab);
    run_mix(&plain, model, &params, &m, rig_device("cpu", 1, 0xffffffff));
    replay_device *d = replay_open(rig_device("cpu", 1, 0x7fc00000), max_recording);
    run_mix(&replayed, model, &params, &m, &d->base);
    cr_assert_eq(plain.n_sample, replayed.n_sample);
    for (int32_t i = 0; i < plain.n_sample; i++)
        rig_compare(&replayed.result[i], &plain.result[i], false, "replayed sample", i);
    cr_log_info(
        "n_sequence %d, n_batch %d, n_draft %d: %d steps, %d keys; %d recordings of at most %d, %d replays",
        n_sequence, n_batch, n_draft, (int)d->n_step, d->n_key, (int)d->n_recorded, max_recording,
        (int)d->n_replayed);
    cr_assert_eq(d->n_recorded + d->n_replayed, d->n_step);
    cr_assert_eq(d->n_forgotten, d->n_recorded - st_min(d->n_recorded, (uint64_t)max_recording));
    cr_assert_gt(d->n_replayed, d->n_step / 8);
    int n_key = d->n_key;
    rig_close(&plain);
    rig_close(&replayed);
    return n_key;
}

Test(replay, recordings_change_nothing, .timeout = 120)
{
    sterna_model *model = small_model();
    for (uint64_t seed = 1; seed <= 4; seed++)
        compare(model, 1 + (int32_t)seed * 2, 12 * (int32_t)seed, 3 * (int32_t)seed, 4, seed);
    sterna_model_close(&model);
}

/* A server's load, without arithmetic: always a request more than there are sequences. */
static void serve(const sterna_model *model, sterna_engine_params params, int n_request, int least_percent,
                  replay_device *d)
{
    static random_world world;
    static random_request request;
    sterna_engine *engine;
    sterna_error error = {0};
    uint64_t random = 7;
    world.n_vocab = st_model_config(model)->n_vocab;
    world.n_context = params.n_context;
    world.n_draft = params.n_draft;
    random_world_fill(&world, &random);
    cr_assert_eq(st_engine_open_on(model, &params, &d->base, &engine, &error), STERNA_OK, "%s",
                 error.message);
    int64_t left = 0;
    for (int n = 0; n < n_request || left > 0;) {
        while (n < n_request && left <= params.n_sequence) {
            do
                random_request_make(&request, &world, &random);
            while (request.request.n_prompt > params.n_context);
            request.request.n_predict = 20 + random_below(&random, 200);
            cr_assert_eq(sterna_submit(engine, &request.request, NULL, &error), STERNA_OK, "%s",
                         error.message);
            left += request.request.n_sample;
            n++;
        }
        left = sterna_step(engine, &error);
        cr_assert_geq(left, 0, "%s", error.message);
        while (sterna_next(engine))
            ;
    }
    int percent = (int)(100 * d->n_replayed / d->n_step);
    cr_log_info("n_sequence %d, n_batch %d, n_draft %d: %d steps, %d keys, %d recordings, %d%% replays",
                params.n_sequence, params.n_batch, params.n_draft, (int)d->n_step, d->n_key,
                (int)d->n_recorded, percent);
    cr_expect_geq(percent, least_percent);
    cr_expect(d->n_key < REPLAY_MAX_KEY / 8);
    sterna_engine_close(&engine);
}

/* What a GPU would keep, and how often it helps. */
Test(replay, few_recordings_serve_most_steps, .timeout = 120)
{
    static const struct {
        int32_t n_sequence, n_batch, n_draft, n_request;
        int least_percent; /* replays among steps; what was measured is in the log */
    } loads[] = {{1, 64, 0, 20, 95},
                 {1, 64, 8, 20, 90},
                 {16, 128, 0, 200, 90},
                 {16, 128, 8, 200, 70},
                 {64, 512, 0, 300, 90}};
    sterna_model *model = small_model();
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        sterna_engine_params params;
        sterna_engine_defaults(&params);
        params.n_context = 512;
        params.n_sequence = loads[i].n_sequence;
        params.n_batch = loads[i].n_batch;
        params.n_draft = loads[i].n_draft;
        serve(model, params, loads[i].n_request, loads[i].least_percent,
              replay_open(&script_open_shadow()->base, 64));
    }
    sterna_model_close(&model);
}
