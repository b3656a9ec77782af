/* What a request can ask for: samples, stops, text, log-probabilities, penalties, drafts; aborted steps;
 * structs of other versions. */
#include "tests/support/engine_rig.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sterna_model *model;
static rig r;

static void open_model(void)
{
    tiny_spec spec;
    tiny_small(&spec);
    model = tiny_open(&spec);
}

static void close_model(void)
{
    sterna_model_close(&model);
}

TestSuite(requests, .init = open_model, .fini = close_model, .timeout = 60);

static sterna_engine_params params_of(int32_t n_sequence)
{
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.n_sequence = n_sequence;
    params.n_batch = 64;
    return params;
}

static void open_rig(const sterna_engine_params *params)
{
    rig_open(&r, model, params, rig_device("cpu", 1, UINT32_C(0xffffffff)));
}

static const sterna_token text[100] = {70, 71, 72, 73, 74, 75, 76, 77, 78, 79};

static sterna_request request_of(int32_t n_prompt, int32_t n_predict)
{
    sterna_request q;
    sterna_request_defaults(&q);
    q.prompt = text;
    q.n_prompt = n_prompt;
    q.n_predict = n_predict;
    q.ignore_end = true;
    return q;
}

static void run_all(void)
{
    while (rig_step(&r) > 0)
        ;
}

static rig_result alone(const sterna_request *q, int32_t sample)
{
    sterna_engine_params params = params_of(1);
    return rig_alone(model, &params, rig_device("cpu", 1, 0), q, sample);
}

/* ---- samples ---- */

/* Drawn from the whole row, and (top_k) from candidates. */
static void check_samples(int32_t top_k)
{
    sterna_request q = request_of(100, 20);
    q.n_sample = 6;
    q.temperature = 2.0f;
    q.top_k = top_k;
    q.seed = 9;
    sterna_engine_params params = params_of(4);
    open_rig(&params);
    rig_submit(&r, &q);
    cr_assert_eq(sterna_step(r.engine, NULL), 6);
    sterna_statistics s = {.struct_size = sizeof s};
    cr_assert_eq(sterna_engine_statistics(r.engine, &s), STERNA_OK);
    cr_assert(s.n_running == 4 && s.n_waiting == 1 && s.n_page_used > 0 && s.n_page_used <= 8, "%d pages",
              s.n_page_used);
    run_all();
    for (int32_t i = 0; i < 6; i++) {
        rig_result one = alone(&q, i);
        rig_compare(&r.result[i], &one, false, "sample", i);
        cr_assert_eq(r.result[i].last.sample, i);
        for (int32_t j = 0; j < i; j++)
            cr_assert_neq(memcmp(r.result[i].token, r.result[j].token, 20 * sizeof(sterna_token)), 0);
        cr_assert_eq(r.result[i].last.n_cached, i == 0 ? 0 : 64);
    }
    sterna_request first = q;
    first.n_sample = 1;
    rig_result one = alone(&first, 0);
    rig_compare(&r.result[0], &one, false, "a request for one", 0);
    rig_close(&r);
}

Test(requests, samples_differ_and_each_is_its_own)
{
    check_samples(0);
    check_samples(40);
}

Test(requests, cancelling_ends_every_sample)
{
    sterna_request q = request_of(10, 50);
    q.n_sample = 5;
    sterna_engine_params params = params_of(2);
    open_rig(&params);
    rig_submit(&r, &q);
    sterna_request other = request_of(5, 3);
    rig_submit(&r, &other);
    rig_step(&r);
    cr_assert_eq(sterna_cancel(r.engine, r.id[0], NULL), STERNA_OK);
    rig_events(&r);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(r.result[i].last.finish, STERNA_FINISH_CANCEL);
        cr_assert_eq(r.result[i].last.n_generated, i < 2 ? 1 : 0);
    }
    cr_assert_eq(sterna_cancel(r.engine, r.id[0], NULL), STERNA_E_ARGUMENT);
    run_all();
    cr_assert_eq(r.result[5].n, 3);
    rig_close(&r);
}

/* ---- text and stops ---- */

static rig_result some_text(sterna_request *q)
{
    *q = request_of(10, 60);
    q->temperature = 1.0f;
    for (q->seed = 0;; q->seed++) { /* byte tokens only, so that the text is as long as the tokens are */
        rig_result plain = alone(q, 0);
        if (plain.n_text == 60)
            return plain;
        cr_assert_lt(q->seed, 1000u);
    }
}

Test(requests, text_is_that_of_the_tokens)
{
    sterna_request q;
    rig_result plain = some_text(&q);
    for (int i = 0; i < 60; i++)
        cr_assert_eq((unsigned char)plain.text[i], plain.token[i] - TINY_BYTE);
}

Test(requests, stop_strings_end_a_sample)
{
    sterna_request q;
    rig_result plain = some_text(&q);
    int n_late = 0;
    for (int at = 0; at < 50; at++)
        for (int length = 1; length <= 5; length++) {
            char stop[8] = {0};
            memcpy(stop, plain.text + at, (size_t)length);
            if (strlen(stop) != (size_t)length)
                continue; /* a NUL among the bytes */
            int first = 0;
            while (memcmp(plain.text + first, stop, (size_t)length) != 0)
                first++;
            const char *stops[2] = {"no such text", stop};
            q.stop = stops;
            q.n_stop = 2;
            rig_result cut = alone(&q, 0);
            cr_assert_eq(cut.last.finish, STERNA_FINISH_STOP);
            cr_assert(cut.last.stop == 1 && cut.n == first + length, "%d tokens", cut.n);
            cr_assert(cut.n_text == first && memcmp(cut.text, plain.text, (size_t)first) == 0);
            n_late += first > 0 && length > 1;
        }
    cr_assert_gt(n_late, 50);
    const char *never = "no such text";
    q.stop = &never;
    q.n_stop = 1; /* never met: the text is whole, whatever was held back on the way */
    rig_result whole = alone(&q, 0);
    rig_compare(&whole, &plain, false, "no stop", 0);
    cr_assert_eq(whole.last.stop, -1);
}

Test(requests, stop_tokens_end_a_sample_even_if_ends_are_ignored)
{
    sterna_request q;
    rig_result plain = some_text(&q);
    sterna_token stop[2] = {TINY_BOS, plain.token[20]};
    int first = 0;
    while (plain.token[first] != stop[1])
        first++;
    q.stop_token = stop;
    q.n_stop_token = 2;
    rig_result cut = alone(&q, 0);
    cr_assert_eq(cut.last.finish, STERNA_FINISH_STOP);
    cr_assert(cut.n == first + 1 && cut.token[first] == stop[1] && cut.last.stop == -1);
    cr_assert_eq(cut.n_text, first, "the text of the last token is not shown");
}

/* A text that ends in what might have become a stop string comes out whole. */
Test(requests, what_was_held_back_comes_out_at_the_end)
{
    sterna_request q;
    rig_result plain = some_text(&q);
    char stop[8] = {0};
    memcpy(stop, plain.text + 57, 3);
    cr_assert_eq(strlen(stop), 3u);
    strcat(stop, "~~~");
    const char *stops = stop;
    q.stop = &stops;
    q.n_stop = 1;
    rig_result held = alone(&q, 0);
    rig_compare(&held, &plain, false, "held back", 0);
    cr_assert_geq(held.last.n_text, 3, "the last event brings what was held and its own");
}

/* ---- log-probabilities ---- */

static float row_copy[300];

static void copy_row(void *user, sterna_request_id id, int32_t sample, int32_t position, const float *logits)
{
    (void)user, (void)id, (void)sample, (void)position;
    memcpy(row_copy, logits, (size_t)r.n_vocab * sizeof *logits);
}

/* With and without penalties, which must not show in what is reported. */
static void check_logprobs(sterna_request q, int32_t n_draft)
{
    sterna_engine_params params = params_of(1);
    params.n_draft = n_draft;
    q.n_logprob = STERNA_MAX_LOGPROB;
    open_rig(&params);
    st_engine_watch(r.engine, copy_row, NULL);
    cr_assert_eq(sterna_submit(r.engine, &q, NULL, NULL), STERNA_OK);
    int n = 0;
    while (sterna_step(r.engine, NULL) > 0)
        for (const sterna_event *e; (e = sterna_next(r.engine)); n++) {
            double total = 0.0;
            for (int32_t i = 0; i < r.n_vocab; i++)
                total += exp((double)row_copy[i]);
            cr_assert_eq(e->n_top, STERNA_MAX_LOGPROB);
            bool seen[300] = {false};
            for (int32_t k = 0; k < e->n_top; k++) {
                int32_t best = -1;
                for (int32_t i = 0; i < r.n_vocab; i++)
                    if (!seen[i] && (best < 0 || row_copy[i] > row_copy[best]))
                        best = i;
                seen[best] = true;
                cr_assert_eq(e->top[k].token, best, "rank %d", k);
                cr_assert_float_eq((double)e->top[k].logprob, log(exp((double)row_copy[best]) / total), 1e-5);
            }
            cr_assert_float_eq((double)e->logprob, log(exp((double)row_copy[e->token]) / total), 1e-5);
        }
    cr_assert_gt(n, 20);
    rig_close(&r);
}

Test(requests, logprobs_are_those_of_the_model)
{
    sterna_request q = request_of(10, 30);
    check_logprobs(q, 0);
    q.temperature = 3.0f;
    check_logprobs(q, 0);
    const sterna_logit_bias bias[3] = {{70, 30.0f}, {80, -INFINITY}, {81, -2.0f}};
    q.bias = bias;
    q.n_bias = 3;
    q.repetition_penalty = 1.3f;
    check_logprobs(q, 0);
}

/* ---- penalties and biases ---- */

Test(requests, biases_ban_and_force)
{
    sterna_request q = request_of(10, 40);
    q.temperature = 1.0f;
    sterna_logit_bias force = {123, 1000.0f};
    q.bias = &force;
    q.n_bias = 1;
    rig_result forced = alone(&q, 0);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(forced.token[i], 123);
    static sterna_logit_bias ban[260];
    for (int i = 0; i < 260; i++)
        ban[i] = (sterna_logit_bias){i, -INFINITY};
    q.bias = ban;
    q.n_bias = 260;
    q.temperature = 5.0f;
    rig_result banned = alone(&q, 0);
    for (int i = 0; i < 40; i++)
        cr_assert_geq(banned.token[i], 260);
}

Test(requests, penalties_look_back_as_far_as_they_say)
{
    sterna_request q = request_of(1, 100);
    q.presence_penalty = 1000.0f;
    static const int32_t windows[] = {1, 5, 64};
    for (size_t w = 0; w < 3; w++) {
        q.penalty_last_n = windows[w];
        rig_result one = alone(&q, 0);
        bool came_back = false;
        for (int i = 0; i < 100; i++)
            for (int j = i - 1; j >= 0 && i - j <= windows[w] + 3; j--)
                if (one.token[i] == one.token[j]) {
                    cr_assert_gt(i - j, windows[w], "token %d again after %d", one.token[i], i - j);
                    came_back = true;
                }
        cr_assert(came_back || windows[w] == 64, "nothing came back just behind a window of %d", windows[w]);
    }
}

/* ---- drafts ---- */

Test(requests, drafts_change_nothing_but_the_number_of_steps)
{
    uint64_t n_accepted = 0;
    for (int i = 0; i < 20; i++) {
        sterna_request q = request_of(5 + 3 * i, 100);
        q.temperature = i % 3 == 0 ? 0.0f : 0.1f * (float)i;
        q.repetition_penalty = i % 4 == 0 ? 1.1f : 1.0f;
        q.frequency_penalty = i % 4 == 1 ? 0.02f : 0.0f; /* each draft counts for those after it */
        q.presence_penalty =
            i % 4 == 2 ? 0.5f : 0.0f; /* what a draft pushes out of the window is free again */
        q.penalty_last_n = i % 4 == 2 ? 3 : 500;
        q.seed = (uint64_t)i;
        q.n_logprob = i % 5;
        rig_result plain = alone(&q, 0);
        sterna_engine_params params = params_of(1);
        params.n_draft = 1 + i % STERNA_MAX_DRAFT;
        open_rig(&params);
        rig_submit(&r, &q);
        run_all();
        rig_compare(&r.result[0], &plain, false, "drafted request", i);
        sterna_statistics s = {.struct_size = sizeof s};
        cr_assert_eq(sterna_engine_statistics(r.engine, &s), STERNA_OK);
        cr_assert_eq(s.n_accepted, (uint64_t)r.result[0].last.n_accepted);
        cr_assert_eq(s.n_draft, (uint64_t)r.result[0].last.n_draft);
        cr_assert_leq(s.n_accepted, s.n_draft);
        if (q.n_prompt <= 64) /* one step for the prompt */
            cr_assert_eq(s.n_step, 100 - s.n_accepted);
        n_accepted += s.n_accepted;
        rig_close(&r);
    }
    cr_assert_gt(n_accepted, 100u);
}

Test(requests, a_request_may_draft_less_than_the_engine)
{
    sterna_engine_params params = params_of(1);
    params.n_draft = 4;
    for (int32_t n = 0; n <= 1; n++) {
        sterna_request q = request_of(10, 100);
        q.n_draft = n;
        open_rig(&params);
        rig_submit(&r, &q);
        run_all();
        cr_assert_eq(r.result[0].last.n_draft > 0, n > 0);
        cr_assert_leq(r.result[0].last.n_draft, 100 * n);
        rig_close(&r);
    }
    sterna_error error;
    sterna_request q = request_of(10, 100);
    q.n_draft = 5;
    open_rig(&params);
    cr_assert_eq(sterna_submit(r.engine, &q, NULL, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "n_draft is 5, not -1 ... 4");
    rig_close(&r);
}

/* ---- pages run out ---- */

Test(requests, exhausted_pages_delay_and_change_nothing)
{
    const st_config *c = st_model_config(model);
    sterna_engine_params params = params_of(6);
    params.kv_bytes = (int64_t)st_kv_bytes(4, c->n_layer, c->n_kv_head, c->head_dim);
    open_rig(&params);
    sterna_request q[6];
    for (int i = 0; i < 6; i++) {
        q[i] = request_of(58 + i, 150);
        q[i].temperature = 1.0f;
        q[i].seed = (uint64_t)i;
        rig_submit(&r, &q[i]);
    }
    run_all();
    int32_t n_preempted = 0;
    for (int i = 0; i < 6; i++) {
        rig_result one = alone(&q[i], 0);
        rig_compare(&r.result[i], &one, false, "request", i);
        n_preempted += r.result[i].last.n_preempted;
    }
    cr_assert_gt(n_preempted, 0);
    cr_assert_eq(r.result[0].last.n_preempted, 0, "the oldest lost its pages");
    sterna_statistics s = {.struct_size = sizeof s};
    cr_assert_eq(sterna_engine_statistics(r.engine, &s), STERNA_OK);
    cr_assert(s.n_preempted == (uint64_t)n_preempted && s.n_page == 4 && s.n_page_used == 0);
    cr_assert_eq(s.n_cached, 0,
                 "all prompts are shorter than a page"); /* finding one's own pages does not count */
    cr_assert(s.n_waiting == 0 && s.n_running == 0 && s.n_generated == 900);
    sterna_error error;
    sterna_request too_long = request_of(100, 156 + 1 + 1); /* 257 positions would be needed */
    rig_submit(&r, &too_long);                              /* the context ends it first */
    run_all();
    rig_close(&r);
    /* One sequence may have all pages, but there are no more than that. */
    params.kv_bytes = (int64_t)st_kv_bytes(3, c->n_layer, c->n_kv_head, c->head_dim);
    open_rig(&params);
    sterna_request whole = request_of(100, -1);
    rig_submit(&r, &whole);
    run_all();
    cr_assert(r.result[0].last.finish == STERNA_FINISH_LENGTH && r.result[0].n == 3 * 64 + 1 - 100);
    static sterna_token longest[193];
    whole.prompt = longest;
    whole.n_prompt = 193;
    cr_assert_eq(sterna_submit(r.engine, &whole, NULL, &error), STERNA_E_LIMIT);
    cr_assert_str_eq(error.message, "the prompt has 193 tokens, but the context holds 192");
    cr_assert_eq(sterna_score(r.engine, longest, 193, 1, (float[192]){0}, &error), STERNA_E_LIMIT);
    cr_assert_str_eq(error.message, "193 tokens to score, but the context holds 192");
    rig_close(&r);
}

/* ---- abort ---- */

static int64_t n_asked, abort_at; /* abort_at 0: never */

static bool abort_asked(void *user)
{
    cr_assert_eq(user, &n_asked);
    return ++n_asked == abort_at;
}

Test(requests, an_aborted_step_has_not_happened)
{
    sterna_request q = request_of(70, 6);
    q.temperature = 1.0f;
    rig_result plain = alone(&q, 0);
    int64_t n_total = 0;
    for (abort_at = 0; abort_at <= n_total; abort_at++) {
        sterna_engine_params params = params_of(2);
        params.device = "cpu";
        params.n_thread = 1;
        params.abort = abort_asked;
        params.user = &n_asked;
        sterna_engine *engine;
        sterna_error error;
        cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_OK, "%s", error.message);
        n_asked = 0;
        cr_assert_eq(sterna_submit(engine, &q, NULL, &error), STERNA_OK);
        int n_aborted = 0, n = 0;
        for (int64_t left = 1; left != 0;) {
            left = sterna_step(engine, &error);
            cr_assert(left >= 0 || left == STERNA_E_ABORTED, "%s", error.message);
            n_aborted += left < 0;
            for (const sterna_event *e; (e = sterna_next(engine)); n++)
                cr_assert(e->token == plain.token[n] && e->logprob == plain.logprob[n]);
        }
        cr_assert_eq(n, 6);
        cr_assert_eq(n_aborted, abort_at > 0, "call %d", (int)abort_at);
        float logprob[70];
        int64_t before = n_asked;
        if (abort_at > 0 && abort_at < 50) { /* scoring is aborted, too */
            n_asked = 0;
            cr_assert_eq(sterna_score(engine, text, 70, 1, logprob, &error), STERNA_E_ABORTED);
        }
        cr_assert_eq(sterna_score(engine, text, 70, 1, logprob, &error), STERNA_OK);
        n_total = abort_at == 0 ? before : n_total;
        sterna_engine_close(&engine);
    }
    cr_assert_gt(n_total, 100);
}

/* ---- scores ---- */

Test(requests, scores_from_any_first_token)
{
    float all[70], some[70];
    sterna_engine_params params = params_of(1);
    sterna_error error;
    params.n_batch = 40;
    open_rig(&params);
    st_engine_watch(r.engine, NULL, NULL);
    cr_assert_eq(sterna_score(r.engine, text, 70, 1, all, &error), STERNA_OK);
    for (int32_t first = 1; first <= 70; first++) {
        for (int i = 0; i < 70; i++)
            some[i] = 5.0f;
        cr_assert_eq(sterna_score(r.engine, text, 70, first, some, &error), STERNA_OK, "%s", error.message);
        cr_assert_arr_eq(some, all + first - 1, (size_t)(70 - first) * sizeof *some, "from %d", first);
        cr_assert_eq(some[70 - first], 5.0f);
    }
    cr_assert_eq(sterna_score(r.engine, text, 70, 71, some, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "first is 71, not 1 ... 70");
    cr_assert_eq(sterna_score(r.engine, text, 70, 0, some, &error), STERNA_E_ARGUMENT);
    rig_close(&r);
}

/* ---- structs of other versions ---- */

Test(requests, structs_may_be_of_a_newer_header)
{
    struct {
        sterna_request request;
        int64_t more[2];
    } newer = {.request = request_of(5, 3)};
    newer.request.struct_size = sizeof newer;
    sterna_engine_params params = params_of(1);
    open_rig(&params);
    sterna_error error;
    cr_assert_eq(sterna_submit(r.engine, &newer.request, NULL, &error), STERNA_OK, "%s", error.message);
    newer.more[1] = 1;
    cr_assert_eq(sterna_submit(r.engine, &newer.request, NULL, &error), STERNA_E_UNSUPPORTED);
    char message[128];
    snprintf(message, sizeof message,
             "a request of %zu bytes, of which this version knows %zu: byte %zu is not zero", sizeof newer,
             sizeof newer.request, sizeof newer.request + 8);
    cr_assert_str_eq(error.message, message);
    newer.request.struct_size = SIZE_MAX;
    cr_assert_eq(sterna_submit(r.engine, &newer.request, NULL, &error), STERNA_E_ARGUMENT);

    struct {
        sterna_statistics s;
        int64_t more;
    } s = {.s.struct_size = sizeof s, .more = 77};
    cr_assert_eq(sterna_engine_statistics(r.engine, &s.s), STERNA_OK);
    cr_assert(s.s.n_waiting == 1 && s.s.n_page == 4 && s.more == 0 && s.s.struct_size == sizeof s);
    /* An older, shorter one: nothing is written past its end. */
    s.s.struct_size = offsetof(sterna_statistics, n_waiting);
    s.s.n_waiting = -5;
    cr_assert_eq(sterna_engine_statistics(r.engine, &s.s), STERNA_OK);
    cr_assert_eq(s.s.n_waiting, -5);
    s.s.struct_size = 0;
    cr_assert_eq(sterna_engine_statistics(r.engine, &s.s), STERNA_E_ARGUMENT);
    rig_close(&r);
}

/* A struct that has grown since the first version. */
typedef struct grown {
    size_t struct_size;
    int32_t old;
    int32_t added;
} grown;

Test(requests, structs_may_be_of_an_older_header)
{
    size_t first_size = offsetof(grown, added);
    grown ours = {sizeof ours, 1, 2}, theirs = {first_size, 10, 20};
    sterna_error error;
    cr_assert_eq(st_struct_read(&ours, sizeof ours, first_size, &theirs, "it", "f", &error), STERNA_OK);
    cr_assert(ours.struct_size == sizeof ours && ours.old == 10 && ours.added == 2);
    theirs.struct_size = first_size - 1;
    cr_assert_eq(st_struct_read(&ours, sizeof ours, first_size, &theirs, "it", "f", &error),
                 STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "it of 11 bytes instead of 16: f sets the size");
}
