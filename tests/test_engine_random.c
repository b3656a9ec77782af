/* Whole engines on the scripted backend, driven by random schedules: whatever runs beside a request, however
 * steps are cut, and whenever something is cancelled or aborted, each sample gives what is predicted from its
 * request alone, and nothing is lost, leaked or starved.
 *
 * STERNA_TEST_SEED=n runs the engine of that number alone; STERNA_TEST_QUICK=1 runs one engine of sixteen. */
#include "host/engine/engine.h"
#include "tests/support/random_request.h"
#include "tests/support/replay_backend.h"
#include "tests/support/script_backend.h"
#include "tests/support/script_sample.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENGINES = 1250, SCHEDULES = 8 /* of an engine */, MAX_JOB = 9, MODELS = 3, PUT_OFF = INT32_MAX };

/* ---- what is going on ---- */

typedef struct sample {
    script_sample expected;
    bool ended;
    int32_t n;       /* tokens so far */
    int32_t n_shown; /* bytes of text so far */
} sample;

typedef struct job {
    random_request r;
    sterna_request_id id;
    bool cancelled;
    sample sample[RANDOM_MAX_SAMPLE];
} job;

/* What happened, so that a test that no longer reaches something fails. */
typedef struct tally {
    int64_t steps, rows, tokens, requests, refused, aborted_before, aborted_within;
    int64_t preempted, cached, drafts, accepted, finish[5], stop_text, stop_token, tops, hashed;
    int64_t cancelled_waiting, cancelled_prompt, cancelled_decoding, cancelled_paused;
    int64_t keys, most_keys;
} tally;

typedef struct run {
    int number; /* of the engine: its seed */
    int schedule;
    uint64_t random;
    const sterna_model *model;
    sterna_engine_params params;
    random_world world;
    sterna_engine *engine;
    script_shadow *shadow;
    sterna_request_id last_id;
    bool abort_now;
    /* of the schedule */
    job job[MAX_JOB];
    int32_t n_job, n_submitted; /* those that are to come, too; submitted */
    int64_t n_unfinished;       /* samples, when all events are taken */
    int64_t n_step;             /* that happened */
    /* sums over all last events and rows */
    uint64_t hash, n_row, n_generated, n_draft, n_accepted, n_preempted, n_cached;
    tally tally;
} run;

static _Noreturn void give_up(const run *r, int line, const char *condition, const char *format, ...)
    ST_PRINTF(4, 5);
static _Noreturn void give_up(const run *r, int line, const char *condition, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "STERNA_TEST_SEED=%d, schedule %d, step %d, line %d: not %s: %s\n", r->number,
            r->schedule, (int)r->n_step, line, condition, text);
    abort();
}

/* cr_assert costs too much for every token. */
#define CHECK(r, condition, ...)                                                                             \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            give_up(r, __LINE__, #condition, __VA_ARGS__);                                                   \
    } while (0)

/* ---- events ---- */

static void check_token(run *r, const job *j, const sample *s, const sterna_event *e, const script_event *x)
{
    CHECK(r, e->token == x->token, "request %d sample %d: token %d of the answer is %d, not %d", (int)e->id,
          e->sample, s->n, e->token, x->token);
    if (e->token < 0)
        return;
    int32_t n_top = j->r.request.n_logprob;
    CHECK(r, memcmp(&e->logprob, &x->logprob, sizeof e->logprob) == 0,
          "request %d sample %d: token %d has %g, not %g", (int)e->id, e->sample, s->n, (double)e->logprob,
          (double)x->logprob);
    CHECK(r, e->n_top == n_top && memcmp(e->top, x->top, (size_t)n_top * sizeof *e->top) == 0,
          "request %d sample %d: the likeliest %d of token %d are others", (int)e->id, e->sample, n_top,
          s->n);
    r->tally.tops += n_top > 0;
}

/* Text comes whole, in order, and nothing of a stop string. */
static void check_text(run *r, sample *s, const sterna_event *e)
{
    const script_sample *x = &s->expected;
    CHECK(r,
          s->n_shown + e->n_text <= x->n_text &&
              memcmp(x->text + s->n_shown, e->text, (size_t)e->n_text) == 0,
          "request %d sample %d: text after %d of %d bytes", (int)e->id, e->sample, s->n_shown, x->n_text);
    s->n_shown += e->n_text;
    CHECK(r, e->finish == STERNA_FINISH_NONE || s->n_shown == x->n_text,
          "request %d sample %d: %d of %d bytes of text", (int)e->id, e->sample, s->n_shown, x->n_text);
}

static void check_last(run *r, const job *j, sample *s, const sterna_event *e)
{
    const sterna_request *q = &j->r.request;
    int32_t n_draft = q->n_draft < 0 ? r->params.n_draft : q->n_draft;
    s->ended = true;
    r->n_unfinished--;
    r->tally.finish[e->finish]++;
    CHECK(r, e->n_prompt == q->n_prompt && e->n_generated == s->n, "%d and %d tokens", e->n_prompt,
          e->n_generated);
    CHECK(r,
          e->n_cached % ST_KV_PAGE == 0 && e->n_cached >= 0 && e->n_cached < q->n_prompt &&
              (e->n_cached == 0 || !r->params.no_prefix_cache),
          "%d of %d tokens cached", e->n_cached, q->n_prompt);
    CHECK(r,
          e->n_accepted >= 0 && e->n_accepted <= e->n_draft && (e->n_draft == 0 || n_draft > 0) &&
              e->n_accepted <= s->n,
          "%d of %d drafts right in %d tokens", e->n_accepted, e->n_draft, s->n);
    CHECK(r, e->seconds_queued >= 0.0 && e->seconds_prompt >= 0.0 && e->seconds_decode >= 0.0, "seconds");
    r->hash += s->expected.hash;
    r->n_draft += (uint64_t)e->n_draft;
    r->n_accepted += (uint64_t)e->n_accepted;
    r->n_preempted += (uint64_t)e->n_preempted;
    r->n_cached += (uint64_t)e->n_cached;
}

static void take_event(run *r, const sterna_event *e)
{
    job *j = r->job;
    while (j < r->job + r->n_submitted && j->id != e->id)
        j++;
    CHECK(r, j < r->job + r->n_submitted && e->sample >= 0 && e->sample < j->r.request.n_sample,
          "an event of request %d sample %d", (int)e->id, e->sample);
    sample *s = &j->sample[e->sample];
    CHECK(r, !s->ended, "request %d sample %d: an event after the last", (int)e->id, e->sample);
    if (e->finish == STERNA_FINISH_CANCEL) {
        CHECK(r, j->cancelled && e->token == -1, "request %d was not cancelled", (int)e->id);
    } else {
        script_event x;
        script_sample_next(&s->expected, &x);
        check_token(r, j, s, e, &x);
        CHECK(r, e->finish == x.finish && e->stop == x.stop,
              "request %d sample %d, token %d: finish %d and stop %d, not %d and %d", (int)e->id, e->sample,
              s->n, e->finish, e->stop, x.finish, x.stop);
        s->n += e->token >= 0;
        r->n_generated += e->token >= 0;
        r->n_row += e->token >= 0 || e->finish == STERNA_FINISH_ERROR;
        r->tally.stop_text += e->stop >= 0;
        for (int32_t i = 0; e->token >= 0 && i < j->r.request.n_stop_token; i++)
            r->tally.stop_token += j->r.stop_token[i] == e->token;
    }
    check_text(r, s, e);
    if (e->finish != STERNA_FINISH_NONE)
        check_last(r, j, s, e);
}

static void take_events(run *r)
{
    for (const sterna_event *e; (e = sterna_next(r->engine));)
        take_event(r, e);
}

/* ---- requests ---- */

/* Independent of the scheduler: pages for all that may be stored; the last token never is. */
static bool can_never_run(const run *r, const sterna_request *q)
{
    int64_t n_context = r->engine->sched.limits.n_context, n = n_context;
    if (q->n_predict >= 0 && q->n_prompt + q->n_predict - 1 < n)
        n = q->n_predict > 0 ? q->n_prompt + q->n_predict - 1 : q->n_prompt;
    return q->n_prompt > n_context || (n + 63) / 64 > r->engine->sched.pages.n_page;
}

static void submit(run *r)
{
    job *j = &r->job[r->n_submitted];
    sterna_error error = {0};
    random_request_make(&j->r, &r->world, &r->random);
    sterna_status status = sterna_submit(r->engine, &j->r.request, &j->id, &error);
    r->tally.requests++;
    if (can_never_run(r, &j->r.request)) {
        CHECK(r, status == STERNA_E_LIMIT, "%s", error.message);
        r->tally.refused++;
        r->n_job--;
        return;
    }
    CHECK(r, status == STERNA_OK, "%s", error.message);
    CHECK(r, j->id > r->last_id, "id %d", (int)j->id);
    r->last_id = j->id;
    r->n_submitted++;
    r->n_unfinished += j->r.request.n_sample;
    j->cancelled = false;
    for (int32_t i = 0; i < j->r.request.n_sample; i++) {
        j->sample[i].ended = false;
        j->sample[i].n = j->sample[i].n_shown = 0;
        script_sample_start(&j->sample[i].expected, r->model, &j->r.request, &j->r.sampling, i,
                            r->engine->sched.limits.n_context);
    }
}

static void count_states(run *r, sterna_request_id id)
{
    const st_sched *sched = &r->engine->sched;
    r->tally.cancelled_waiting += st_sched_waiting(sched, id) != NULL;
    for (int32_t i = 0; i < sched->n_running; i++) {
        const st_sequence *q = &sched->sequence[sched->running[i]];
        if (q->request->id != id)
            continue;
        *(q->n_page == 0            ? &r->tally.cancelled_paused
          : q->n_done < q->n_prompt ? &r->tally.cancelled_prompt
                                    : &r->tally.cancelled_decoding) += 1;
    }
}

static void cancel(run *r)
{
    take_events(r);
    job *j = &r->job[random_below(&r->random, r->n_submitted)];
    bool open = false;
    for (int32_t i = 0; i < j->r.request.n_sample; i++)
        open = open || !j->sample[i].ended;
    count_states(r, j->id);
    sterna_error error = {0};
    sterna_status status = sterna_cancel(r->engine, j->id, &error);
    CHECK(r, status == (open ? STERNA_OK : STERNA_E_ARGUMENT), "%d: %s", status, error.message);
    j->cancelled = open;
    take_events(r);
    for (int32_t i = 0; i < j->r.request.n_sample; i++)
        CHECK(r, j->sample[i].ended, "request %d sample %d goes on", (int)j->id, i);
}

/* ---- steps ---- */

static bool abort_asked(void *user)
{
    return ((run *)user)->abort_now;
}

/* The sample that is first in the order, and how far it is. */
typedef struct progress {
    const st_request *request;
    sterna_request_id id;
    int32_t sample, n_done;
} progress;

static progress oldest(const run *r)
{
    const st_sched *sched = &r->engine->sched;
    if (sched->n_running == 0)
        return (progress){0};
    const st_sequence *q = &sched->sequence[sched->running[0]];
    return (progress){q->request, q->request->id, q->sample, q->n_done};
}

static sterna_statistics statistics_of(const run *r)
{
    sterna_statistics s = {.struct_size = sizeof s};
    sterna_engine_statistics(r->engine, &s);
    return s;
}

static void check_step(run *r, int64_t left, const sterna_statistics *before, const progress *first,
                       int32_t n_event)
{
    sterna_statistics s = statistics_of(r);
    const script_shadow *shadow = r->shadow;
    if (s.n_step == before->n_step) {
        CHECK(r, left == 0 && first->id == 0, "nothing done, but %d samples left", (int)left);
        return;
    }
    uint64_t rows = s.n_prompt_token + s.n_decode_token - before->n_prompt_token - before->n_decode_token;
    r->n_step++;
    r->tally.steps++;
    r->tally.rows += (int64_t)rows;
    CHECK(r,
          s.n_step == before->n_step + 1 && rows == (uint64_t)shadow->n_row &&
              rows <= (uint64_t)r->params.n_batch && shadow->n_sequence <= r->params.n_sequence &&
              s.n_running <= r->params.n_sequence && s.n_page_used <= s.n_page,
          "%d rows of %d, %d sequences of %d", (int)rows, r->params.n_batch, shadow->n_sequence,
          r->params.n_sequence);
    CHECK(r, r->engine->events.count - n_event <= r->params.n_sequence * (1 + r->params.n_draft), "%d events",
          r->engine->events.count - n_event);
    progress now = oldest(r);
    CHECK(r,
          first->id == 0 || now.id != first->id || now.sample != first->sample || now.n_done > first->n_done,
          "the oldest, request %d sample %d, does not get on from %d", (int)now.id, now.sample, now.n_done);
}

static bool counts_are_equal(const sterna_statistics *a, const sterna_statistics *b)
{
    return a->n_step == b->n_step && a->n_generated == b->n_generated && a->n_draft == b->n_draft &&
           a->n_logits_row == b->n_logits_row && a->n_prompt_token == b->n_prompt_token &&
           a->n_decode_token == b->n_decode_token;
}

/* One step, which is aborted first once in a while: before it begins, or at one of its ops. Returns the
 * number of unfinished samples, or PUT_OFF if the step is still to be run. */
static int64_t step(run *r)
{
    sterna_error error = {0};
    int32_t n_event = r->engine->events.count;
    sterna_statistics before = statistics_of(r);
    progress first = oldest(r);
    r->abort_now = random_once(&r->random, 40);
    r->shadow->abort_at = random_once(&r->random, 40) ? random_below(&r->random, 20) : -1;
    int64_t left = sterna_step(r->engine, &error);
    bool within = !r->abort_now && r->shadow->aborted && left == STERNA_E_ABORTED;
    if (left == STERNA_E_ABORTED && (r->abort_now || within)) {
        sterna_statistics after = statistics_of(r);
        CHECK(r, counts_are_equal(&before, &after) && r->engine->events.count == n_event,
              "an aborted step did something");
        *(within ? &r->tally.aborted_within : &r->tally.aborted_before) += 1;
        r->abort_now = false;
        r->shadow->abort_at = -1;
        if (random_once(&r->random, 2)) /* other things may happen before it is run again */
            return PUT_OFF;
        left = sterna_step(r->engine, &error);
    }
    CHECK(r, left >= 0, "%d: %s", (int)left, error.message);
    check_step(r, left, &before, &first, n_event);
    return left;
}

/* ---- schedules ---- */

/* Each step brings the oldest sample on by a position or more, and only a step does. */
static void check_bound(run *r)
{
    int64_t positions = 0;
    for (int32_t i = 0; i < r->n_submitted; i++)
        for (int32_t k = 0; k < r->job[i].r.request.n_sample; k++)
            positions += r->job[i].r.request.n_prompt + r->job[i].sample[k].n;
    CHECK(r, r->n_step <= positions, "%d steps for %d positions", (int)r->n_step, (int)positions);
}

static void check_idle(run *r)
{
    sterna_statistics s = statistics_of(r);
    const st_pages *pages = &r->engine->sched.pages;
    CHECK(r, s.n_running == 0 && s.n_waiting == 0 && s.n_page_used == 0, "%d run, %d wait, %d pages in use",
          s.n_running, s.n_waiting, s.n_page_used);
    int32_t n = 0;
    for (int32_t p = pages->oldest; p >= 0; p = pages->page[p].newer, n++)
        CHECK(r, n < pages->n_page && pages->page[p].n_user == 0, "page %d is listed and in use", p);
    CHECK(r, n == pages->n_page, "%d of %d pages are listed", n, pages->n_page);
    CHECK(r, r->n_unfinished == 0, "%d samples have no last event", (int)r->n_unfinished);
    CHECK(r,
          s.n_generated == r->n_generated && s.n_draft == r->n_draft && s.n_accepted == r->n_accepted &&
              s.n_preempted == r->n_preempted && s.n_cached == r->n_cached,
          "statistics: %d tokens (%d), %d drafts (%d), %d right (%d), %d preempted (%d), %d cached (%d)",
          (int)s.n_generated, (int)r->n_generated, (int)s.n_draft, (int)r->n_draft, (int)s.n_accepted,
          (int)r->n_accepted, (int)s.n_preempted, (int)r->n_preempted, (int)s.n_cached, (int)r->n_cached);
    if (r->params.hash_logits)
        CHECK(r, s.n_logits_row == r->n_row && s.logits_hash == r->hash, "%d rows (%d), or another hash",
              (int)s.n_logits_row, (int)r->n_row);
}

static void run_schedule(run *r)
{
    int64_t left = 0;
    bool burst = r->world.lasting || random_once(&r->random, 6);
    int32_t lazy = random_below(&r->random, 4), cancels = random_once(&r->random, 2) ? 12 : 100;
    r->n_job = 2 + random_below(&r->random, r->world.lasting ? 5 : MAX_JOB - 1);
    r->n_submitted = 0;
    r->n_step = 0;
    while (left > 0 || r->n_submitted < r->n_job) {
        while (r->n_submitted < r->n_job && (left == 0 || burst || random_once(&r->random, 3))) {
            submit(r);
            left = 1;
        }
        if (r->n_submitted > 0 && random_once(&r->random, cancels))
            cancel(r);
        left = step(r);
        if (lazy == 0 || random_once(&r->random, 1 + lazy)) {
            take_events(r);
            CHECK(r, left == PUT_OFF || left == r->n_unfinished, "%d samples left, not %d", (int)left,
                  (int)r->n_unfinished);
        }
    }
    take_events(r);
    check_bound(r);
    check_idle(r);
}

static void choose_params(run *r)
{
    uint64_t *random = &r->random;
    const st_config *c = st_model_config(r->model);
    sterna_engine_params *p = &r->params;
    static const int32_t contexts[] = {63, 64, 65, 128, 200, 300, 512};
    sterna_engine_defaults(p);
    r->world.lasting = random_once(random, 6);
    p->n_context = contexts[r->world.lasting ? 5 + random_below(random, 2) : random_below(random, 7)];
    p->n_sequence = r->world.lasting ? 3 + random_below(random, 7) : 1 + random_below(random, 9);
    p->n_batch = p->n_sequence + random_below(random, 4) * random_below(random, 24);
    p->n_draft = random_once(random, 4) ? 0 : 1 + random_below(random, STERNA_MAX_DRAFT);
    p->prefill = random_once(random, 2) ? STERNA_PREFILL_FAIR : STERNA_PREFILL_FIFO;
    p->no_prefix_cache = random_once(random, 4);
    p->hash_logits = random_once(random, 2);
    p->abort = abort_asked;
    p->user = r;
    int32_t useful = p->n_sequence * st_pages_for(p->n_context);
    int32_t least = st_pages_for(p->n_context);
    if (r->world.lasting || random_once(random, 2)) /* pages are scarce */
        p->kv_bytes = (int64_t)st_kv_bytes(
            (int32_t)st_min(least + random_below(random, r->world.lasting ? 2 : 4), useful), c->n_layer,
            c->n_kv_head, c->head_dim);
}

/* An engine and its schedules; one of eight behind the checking layer, one replays recordings. */
static void run_engine(run *r, sterna_model *const models[MODELS], int number)
{
    r->number = number;
    r->random = UINT64_C(0x5eed) + (uint64_t)number * 1000003;
    r->model = models[random_once(&r->random, 2) ? 0 : random_below(&r->random, MODELS)];
    choose_params(r);
    r->world.n_vocab = st_model_config(r->model)->n_vocab;
    r->world.n_context = r->params.n_context;
    r->world.n_draft = r->params.n_draft;
    r->world.text = sterna_token_text(r->model, 70, NULL, 0, false) >= 0;
    random_world_fill(&r->world, &r->random);
    script_device *script = script_open_shadow();
    st_device *dev = &script->base;
    sterna_error error = {0};
    if (number % 8 == 0)
        CHECK(r, st_checked_open(&script->base, &(st_device_params){0}, &dev, &error) == STERNA_OK, "%s",
              error.message);
    if (number % 8 == 4)
        dev = &replay_open(&script->base, 4)->base;
    r->shadow = script->shadow;
    CHECK(r, st_engine_open_on(r->model, &r->params, dev, &r->engine, &error) == STERNA_OK, "%s",
          error.message);
    r->last_id = 0;
    r->hash = r->n_row = r->n_generated = r->n_draft = r->n_accepted = r->n_preempted = r->n_cached = 0;
    for (r->schedule = 0; r->schedule < SCHEDULES; r->schedule++)
        run_schedule(r);
    tally *t = &r->tally;
    t->tokens += (int64_t)r->n_generated;
    t->drafts += (int64_t)r->n_draft;
    t->accepted += (int64_t)r->n_accepted;
    t->preempted += (int64_t)r->n_preempted;
    t->cached += (int64_t)r->n_cached;
    t->hashed += r->params.hash_logits ? (int64_t)r->n_row : 0;
    t->keys += r->shadow->n_key;
    t->most_keys = st_max(t->most_keys, r->shadow->n_key);
    sterna_engine_close(&r->engine);
}

static void open_models(sterna_model *models[MODELS])
{
    for (int i = 0; i < MODELS; i++) {
        tiny_spec spec;
        tiny_defaults(&spec);
        spec.n_vocab = (const int32_t[]){64, 97, TINY_VOCAB}[i];
        spec.tokenizer = spec.n_vocab >= TINY_VOCAB;
        spec.n_layer = spec.tokenizer ? 2 : 1;
        spec.n_context = 512;
        spec.n_embd = spec.n_ff = 128;
        spec.head_dim = spec.n_rot = 32;
        spec.n_kv_head = 1;
        spec.matrix = ST_ENC_I2_S;
        models[i] = tiny_open(&spec);
    }
}

/* A third of what was counted when this was written, or less. */
static void check_tally(const tally *t, int64_t n_engine)
{
    const struct {
        const char *what;
        int64_t n, least; /* in 100 engines */
    } all[] = {{"steps", t->steps, 20000},
               {"tokens", t->tokens, 20000},
               {"requests refused", t->refused, 10},
               {"steps aborted before", t->aborted_before, 400},
               {"steps aborted within", t->aborted_within, 300},
               {"preemptions", t->preempted, 15},
               {"cached tokens", t->cached, 30000},
               {"drafts accepted", t->accepted, 2000},
               {"drafts rejected", t->drafts - t->accepted, 2000},
               {"ends by stop", t->finish[STERNA_FINISH_STOP], 60},
               {"ends by length", t->finish[STERNA_FINISH_LENGTH], 1000},
               {"ends by cancelling", t->finish[STERNA_FINISH_CANCEL], 400},
               {"ends by error", t->finish[STERNA_FINISH_ERROR], 4},
               {"stop strings", t->stop_text, 3},
               {"stop tokens", t->stop_token, 50},
               {"lists of likeliest tokens", t->tops, 6000},
               {"hashed rows", t->hashed, 6000},
               {"cancelled waiting", t->cancelled_waiting, 100},
               {"cancelled in the prompt", t->cancelled_prompt, 100},
               {"cancelled decoding", t->cancelled_decoding, 100},
               {"cancelled paused", t->cancelled_paused, 20}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        cr_log_info("%9lld %s", (long long)all[i].n, all[i].what);
        cr_expect_geq(all[i].n * 100, all[i].least * n_engine, "%lld %s in %lld engines", (long long)all[i].n,
                      all[i].what, (long long)n_engine);
    }
    cr_log_info("%lld rows, %lld requests; %.1f keys of recordings per engine, at most %lld",
                (long long)t->rows, (long long)t->requests, (double)t->keys / (double)n_engine,
                (long long)t->most_keys);
}

Test(engine_random, every_sample_gives_what_it_gives_alone, .timeout = 600)
{
    static run r;
    sterna_model *models[MODELS];
    open_models(models);
    const char *quick = getenv("STERNA_TEST_QUICK"), *seed = getenv("STERNA_TEST_SEED");
    int n_engine = 0;
    if (seed)
        run_engine(&r, models, atoi(seed));
    for (int number = 0; !seed && number < ENGINES; number += quick && *quick == '1' ? 16 : 1, n_engine++)
        run_engine(&r, models, number);
    if (!seed)
        check_tally(&r.tally, n_engine);
    for (int i = 0; i < MODELS; i++)
        sterna_model_close(&models[i]);
}

/* ---- who waits for whom ---- */

/* Long prompts are being computed, 32 rows a step, when a short one comes. Steps from there to its first
 * token, and to that of the first long one. */
static void late_short_prompt(const sterna_model *model, sterna_prefill prefill, int *n_short, int *n_long)
{
    enum { LONG = 4, LENGTH = 480 };
    static sterna_token prompt[LONG + 1][LENGTH];
    sterna_engine_params params;
    sterna_engine *engine;
    sterna_request request;
    sterna_request_id id[LONG + 1];
    uint64_t random = 1;
    sterna_engine_defaults(&params);
    params.n_sequence = LONG + 2;
    params.n_batch = 32;
    params.prefill = prefill;
    cr_assert_eq(st_engine_open_on(model, &params, &script_open_shadow()->base, &engine, NULL), STERNA_OK);
    sterna_request_defaults(&request);
    request.n_predict = 2;
    *n_short = *n_long = 0;
    for (int i = 0; i <= LONG; i++) {
        for (int t = 0; t < LENGTH; t++)
            prompt[i][t] = random_below(&random, 64);
        for (int n = 0; i == LONG && n < 3; n++)
            cr_assert_gt(sterna_step(engine, NULL), 0);
        request.prompt = prompt[i];
        request.n_prompt = i < LONG ? LENGTH : 8;
        cr_assert_eq(sterna_submit(engine, &request, &id[i], NULL), STERNA_OK);
    }
    for (int n = 1; *n_short == 0 || *n_long == 0; n++) {
        cr_assert_gt(sterna_step(engine, NULL), 0);
        for (const sterna_event *e; (e = sterna_next(engine));) {
            *n_short = e->id == id[LONG] && *n_short == 0 ? n : *n_short;
            *n_long = e->id == id[0] && *n_long == 0 ? n : *n_long;
        }
    }
    sterna_engine_close(&engine);
}

Test(engine_random, a_short_prompt_does_not_wait_for_long_ones)
{
    sterna_model *models[MODELS];
    int n_short, n_long;
    open_models(models);
    late_short_prompt(models[0], STERNA_PREFILL_FAIR, &n_short, &n_long);
    cr_assert(n_short == 1 && n_long <= 480 / 16, "fair: %d steps, and %d to the first long one", n_short,
              n_long);
    late_short_prompt(models[0], STERNA_PREFILL_FIFO, &n_short, &n_long);
    cr_assert(n_short > 50 && n_long <= 480 / 32, "fifo: %d steps, and %d to the first long one", n_short,
              n_long);
    for (int i = 0; i < MODELS; i++)
        sterna_model_close(&models[i]);
}
