#include "tests/support/company.h"
#include "tests/support/tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool good, const char *what, int number)
{
    if (good)
        return;
    fprintf(stderr, "company: %s (%d)\n", what, number);
    abort();
}

sterna_model *company_model(uint64_t seed)
{
    tiny_spec spec;
    tiny_small(&spec);
    spec.n_vocab = 320;
    spec.n_context = 320;
    spec.seed = seed;
    return tiny_open(&spec);
}

sterna_engine_params company_params(int32_t n_sequence, int32_t n_batch)
{
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.n_sequence = n_sequence;
    params.n_batch = n_batch;
    return params;
}

/* Every way to choose a token and to end, alone and together. */
static void random_options(company *c, int i, uint64_t *seed)
{
    sterna_request *r = &c->request[i];
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
            c->bias[i][b] =
                (sterna_logit_bias){20 * b + (int32_t)(tiny_random(seed) % 20), tiny_uniform(seed) * 4.0f};
        r->bias = c->bias[i];
        r->n_bias = 8;
    }
}

/* Ends that are met: a token and bytes from the middle of what the request generates without them. */
static void choose_stops(company *c, int i, const rig_result *plain)
{
    sterna_request *r = &c->request[i];
    if (i % 5 == 2 && plain->n > 0) {
        c->stop_token[i] = plain->token[plain->n / 2];
        r->stop_token = &c->stop_token[i];
        r->n_stop_token = 1;
    }
    if (i % 3 == 2 && plain->n_text > 2) {
        memcpy(c->stop[i][0], plain->text + plain->n_text / 2, 2);
        c->stops[i][0] = c->stop[i][0][0] ? c->stop[i][0] : "no such text";
        c->stops[i][1] = "another";
        r->stop = c->stops[i];
        r->n_stop = 2;
    }
}

void company_fill(company *c, const sterna_model *model, uint64_t seed, int32_t longest, const char *device)
{
    int32_t n_vocab = st_model_config(model)->n_vocab;
    sterna_engine_params params = company_params(1, 512);
    sterna_token begin[2][COMPANY_MAX_PROMPT];
    for (int32_t i = 0; i < 2 * COMPANY_MAX_PROMPT; i++)
        begin[i / COMPANY_MAX_PROMPT][i % COMPANY_MAX_PROMPT] =
            (int32_t)(tiny_random(&seed) % (uint64_t)n_vocab);
    for (int i = 0; i < COMPANY_POOL; i++) {
        sterna_request *r = &c->request[i];
        sterna_request_defaults(r);
        r->n_prompt = 1 + (int32_t)(tiny_random(&seed) % (i % 3 == 0 ? (uint64_t)longest : 20));
        r->n_predict = (int32_t)(tiny_random(&seed) % 12) + (i % 4 == 0 ? 110 : 1);
        r->prompt = c->prompt[i];
        random_options(c, i, &seed);
        int32_t n_common = (int32_t)(tiny_random(&seed) % (uint64_t)r->n_prompt);
        for (int32_t t = 0; t < r->n_prompt; t++)
            c->prompt[i][t] =
                i % 4 && t < n_common ? begin[i % 2][t] : (int32_t)(tiny_random(&seed) % (uint64_t)n_vocab);
        rig_result plain = rig_alone(model, &params, rig_device(device, 1, COMPANY_NAN_ALL), r, 0);
        choose_stops(c, i, &plain);
        for (int32_t k = 0; k < r->n_sample; k++)
            c->alone[i][k] = rig_alone(model, &params, rig_device(device, 1, COMPANY_NAN_ALL), r, k);
    }
}

static void count(company_tally *t, const rig *r)
{
    sterna_statistics s = {.struct_size = sizeof s};
    expect(sterna_engine_statistics(r->engine, &s) == STERNA_OK, "statistics fail", 0);
    expect(s.n_page_used == 0, "pages leak", s.n_page_used);
    expect(s.n_running == 0 && s.n_waiting == 0, "samples are left", s.n_running + s.n_waiting);
    t->n_cached += s.n_cached;
    t->n_preempted += s.n_preempted;
    t->n_accepted += s.n_accepted;
    t->n_wrong += s.n_draft - s.n_accepted;
    for (int32_t i = 0; i < r->n_sample; i++) {
        t->n_cancelled += r->result[i].last.finish == STERNA_FINISH_CANCEL;
        t->n_stop += r->result[i].last.finish == STERNA_FINISH_STOP;
    }
}

void company_run(const company *c, const sterna_model *model, const char *device, uint64_t seed, int number,
                 company_tally *tally)
{
    static rig r;
    uint64_t state = seed + (uint64_t)number;
    int32_t n_sequence = 1 + (int32_t)(tiny_random(&state) % 9);
    sterna_engine_params params =
        company_params(n_sequence, n_sequence + (int32_t)(tiny_random(&state) % 40));
    const st_config *config = st_model_config(model);
    if (number % 3 == 0) /* pages are scarce: five at least, as many as the longest request takes */
        params.kv_bytes = (int64_t)st_kv_bytes(5 + (int32_t)(tiny_random(&state) % 3), config->n_layer,
                                               config->n_kv_head, config->head_dim);
    params.n_draft = number % 2 ? 1 + (int32_t)(tiny_random(&state) % STERNA_MAX_DRAFT) : 0;
    params.prefill = number % 5 == 1 ? STERNA_PREFILL_FIFO : STERNA_PREFILL_FAIR;
    params.no_prefix_cache = number % 7 == 3;
    rig_open(&r, model, &params,
             rig_device(device, number % 20 ? 1 : 2, number % 4 < 2 ? COMPANY_NAN_ALL : COMPANY_NAN_F32));
    int32_t total = (number % 6 ? 3 : 14) + (int32_t)(tiny_random(&state) % 14), which[RIG_MAX_SAMPLE];
    bool cancelled[RIG_MAX_SAMPLE] = {false};
    int64_t left = 0;
    while (left > 0 || r.n_sample < total) {
        while (r.n_sample < total && (left == 0 || tiny_random(&state) % 3 == 0)) {
            int32_t pick = (int32_t)(tiny_random(&state) % COMPANY_POOL);
            if (number % 6 == 0)
                pick -= pick % 4; /* those that grow by pages */
            int32_t first = rig_submit(&r, &c->request[pick]);
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
            expect((sterna_cancel(r.engine, r.id[victim], NULL) == STERNA_OK) == any, "cancelled", number);
            rig_events(&r);
        }
        left = rig_step(&r);
    }
    for (int32_t i = 0; i < r.n_sample; i++) {
        expect((r.result[i].last.finish == STERNA_FINISH_CANCEL) == cancelled[i], "finish", number);
        rig_compare(&r.result[i], &c->alone[which[i]][r.sample[i]], cancelled[i], "scenario", number);
    }
    count(tally, &r);
    rig_close(&r);
}
