/* Requests on their way in, and events on their way out. */
#include "host/engine/engine.h"

#include <string.h>

void sterna_request_defaults(sterna_request *request)
{
    *request = (sterna_request){.struct_size = sizeof *request,
                                .n_predict = -1,
                                .n_sample = 1,
                                .n_draft = -1,
                                .typical_p = 1.0f,
                                .top_p = 1.0f,
                                .repetition_penalty = 1.0f,
                                .penalty_last_n = 64};
}

/* ---- in ---- */

static sterna_status check_range(const char *name, int32_t value, int32_t min, int32_t max,
                                 sterna_error *error)
{
    return value >= min && value <= max
               ? STERNA_OK
               : st_fail(error, STERNA_E_ARGUMENT, "%s is %d, not %d ... %d", name, value, min, max);
}

/* Makes engine->request of the caller's. */
static sterna_status read_request(sterna_engine *e, const sterna_request *r, sterna_error *error)
{
    int32_t n_vocab = e->config->n_vocab;
    if (!r->prompt)
        return st_fail(error, STERNA_E_ARGUMENT, "the prompt is NULL");
    if (r->n_prompt < 1)
        return st_fail(error, STERNA_E_ARGUMENT, "the prompt has %d tokens", r->n_prompt);
    for (int32_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= n_vocab)
            return st_fail(error, STERNA_E_ARGUMENT, "token %d of the prompt is %d, not 0 ... %d", i,
                           r->prompt[i], n_vocab - 1);
    if (r->n_predict < -1)
        return st_fail(error, STERNA_E_ARGUMENT, "n_predict is %d, not -1 or more", r->n_predict);
    sterna_status status = check_range("n_sample", r->n_sample, 1, STERNA_MAX_SAMPLE, error);
    if (status == STERNA_OK)
        status =
            check_range("n_logprob", r->n_logprob, 0, (int32_t)st_min(STERNA_MAX_LOGPROB, n_vocab), error);
    if (status == STERNA_OK)
        status = check_range("n_draft", r->n_draft, -1, e->n_draft, error);
    st_request *request = &e->request;
    if (status == STERNA_OK)
        status = st_sampling_set(&request->sampling, r, n_vocab, error);
    if (status == STERNA_OK)
        status = st_stops_set(&request->stops, r, n_vocab, error);
    if (status != STERNA_OK)
        return status;
    request->n_prompt = r->n_prompt;
    request->n_predict = r->n_predict;
    request->n_sample = r->n_sample;
    request->n_logprob = r->n_logprob;
    request->n_draft = r->n_draft < 0 ? e->n_draft : r->n_draft;
    request->ignore_end = r->ignore_end;
    request->user = r->user;
    return STERNA_OK;
}

sterna_status sterna_submit(sterna_engine *engine, const sterna_request *theirs, sterna_request_id *id,
                            sterna_error *error)
{
    if (!engine || !theirs)
        return st_fail(error, STERNA_E_ARGUMENT, engine ? "no request" : "no engine");
    sterna_request request;
    sterna_request_defaults(&request);
    sterna_request_id given = 0;
    sterna_status status = st_struct_read(&request, sizeof request, sizeof request, theirs, "a request",
                                          "sterna_request_defaults", error);
    if (status == STERNA_OK)
        status = read_request(engine, &request, error);
    if (status == STERNA_OK)
        status =
            st_sched_submit(&engine->sched, &engine->request, request.prompt, st_seconds(), &given, error);
    if (status == STERNA_OK && id)
        *id = given;
    return status;
}

/* Samples of a request that have not ended. */
static int32_t count_unfinished(const st_sched *sched, sterna_request_id id)
{
    const st_request *waiting = st_sched_waiting(sched, id);
    int32_t n = waiting ? waiting->n_sample - waiting->n_started : 0;
    for (int32_t i = 0; i < sched->n_running; i++)
        n += sched->sequence[sched->running[i]].request->id == id;
    return n;
}

sterna_status sterna_cancel(sterna_engine *engine, sterna_request_id id, sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no engine");
    st_sched *sched = &engine->sched;
    const st_events *events = &engine->events;
    int32_t n = count_unfinished(sched, id);
    if (n == 0)
        return st_fail(error, STERNA_E_ARGUMENT, "no unfinished request has the id %lld", (long long)id);
    if (n > events->capacity - events->count)
        return st_fail(error, STERNA_E_BUSY, "%d events wait to be taken; cancelling adds %d to at most %d",
                       events->count, n, events->capacity);
    double now = st_seconds();
    const st_request *waiting = st_sched_waiting(sched, id);
    for (int32_t slot; (slot = st_sched_slot(sched, id)) >= 0;)
        st_engine_end(engine, slot,
                      st_engine_event(engine, sched->sequence[slot].request, sched->sequence[slot].sample),
                      STERNA_FINISH_CANCEL, now);
    if (!waiting)
        return STERNA_OK;
    for (int32_t sample = waiting->n_started; sample < waiting->n_sample; sample++) {
        sterna_event *event = st_engine_event(engine, waiting, sample);
        event->finish = STERNA_FINISH_CANCEL;
        event->n_prompt = waiting->n_prompt;
        event->seconds_queued = now - waiting->submitted;
    }
    st_sched_forget(sched, id);
    return STERNA_OK;
}

/* ---- out ---- */

int32_t st_engine_step_events(const sterna_engine *engine)
{
    return engine->sched.limits.n_sequence * (1 + engine->n_draft);
}

sterna_event *st_engine_event(sterna_engine *engine, const st_request *request, int32_t sample)
{
    st_events *q = &engine->events;
    assert(q->count < q->capacity);
    size_t at = (size_t)((q->first + q->count++) % q->capacity);
    q->ring[at] = (sterna_event){.struct_size = sizeof q->ring[at],
                                 .id = request->id,
                                 .user = request->user,
                                 .sample = sample,
                                 .token = -1,
                                 .text = q->text + at * (size_t)q->max_text,
                                 .top = q->top + at * STERNA_MAX_LOGPROB,
                                 .stop = -1};
    return &q->ring[at];
}

/* The place behind an event's `text`; the struct shows it to callers as constant. */
static char *text_of(const st_events *q, const sterna_event *event)
{
    return q->text + (size_t)(event - q->ring) * (size_t)q->max_text;
}

bool st_engine_show(sterna_engine *engine, int32_t slot, sterna_event *event, sterna_token token)
{
    st_sequence *s = &engine->sched.sequence[slot];
    char *text = text_of(&engine->events, event);
    memcpy(text, s->held.byte, (size_t)s->held.n);
    int n = sterna_token_text(engine->model, token, text + s->held.n,
                              (size_t)(engine->events.max_text - s->held.n), false);
    event->n_text = st_text_show(&s->request->stops, &s->held, text, n > 0 ? n : 0, &event->stop);
    return event->stop >= 0;
}

void st_engine_end(sterna_engine *engine, int32_t slot, sterna_event *event, sterna_finish finish, double now)
{
    st_sequence *s = &engine->sched.sequence[slot];
    double started = s->started > 0.0 ? s->started : now;
    double prompted = s->prompted > 0.0 ? s->prompted : now;
    if (event->stop < 0) { /* what was held back did not become a stop string */
        memcpy(text_of(&engine->events, event) + event->n_text, s->held.byte, (size_t)s->held.n);
        event->n_text += s->held.n;
    }
    event->finish = finish;
    event->n_prompt = s->n_prompt;
    event->n_cached = s->n_cached;
    event->n_generated = s->n_token - s->n_prompt;
    event->n_draft = s->n_draft;
    event->n_accepted = s->n_accepted;
    event->n_preempted = s->n_preempted;
    event->seconds_queued = started - s->request->submitted;
    event->seconds_prompt = prompted - started;
    event->seconds_decode = now - prompted;
    st_sched_end(&engine->sched, slot);
}

const sterna_event *sterna_next(sterna_engine *engine)
{
    if (!engine || engine->events.count == 0)
        return NULL;
    st_events *q = &engine->events;
    const sterna_event *event = &q->ring[q->first];
    q->first = (q->first + 1) % q->capacity;
    q->count--;
    return event;
}
