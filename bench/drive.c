#include "bench/drive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- requests by id ---- */

static uint32_t place_of(const st_drive *d, sterna_request_id id)
{
    uint32_t at = (uint32_t)((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 40) & d->mask;
    while (d->slot[at] && d->outcome[d->slot[at] - 1].id != id)
        at = (at + 1) & d->mask;
    return at;
}

static sterna_status allocate(st_drive *d, sterna_error *error)
{
    const st_workload *w = d->workload;
    uint32_t room = 16;
    int64_t n_gap = 0;
    while (room < 2 * (uint32_t)w->n_request)
        room *= 2;
    d->outcome = calloc((size_t)w->n_request, sizeof *d->outcome);
    d->slot = calloc(room, sizeof *d->slot);
    d->tokens = calloc((size_t)st_workload_longest_prompt(w), sizeof *d->tokens);
    for (int32_t i = 0; i < w->n_request && d->outcome; i++) {
        d->outcome[i].first_gap = n_gap;
        n_gap += w->arrival[i].n_predict;
    }
    d->gap = calloc((size_t)n_gap, sizeof *d->gap);
    d->mask = room - 1;
    if (d->outcome && d->slot && d->tokens && d->gap)
        return STERNA_OK;
    *error = (sterna_error){.status = STERNA_E_MEMORY};
    snprintf(error->message, sizeof error->message, "out of memory for %d requests", w->n_request);
    return error->status;
}

void st_drive_free(st_drive *d)
{
    free(d->outcome);
    free(d->slot);
    free(d->tokens);
    free(d->gap);
    d->outcome = NULL;
    d->slot = NULL;
    d->tokens = NULL;
    d->gap = NULL;
}

/* ---- the loop ---- */

/* Submits what is due at `now`. A full queue is no failure: what waits outside waits, too. */
static sterna_status submit_due(st_drive *d, double now, sterna_error *error)
{
    const st_workload *w = d->workload;
    while (d->n_sent < w->n_request && w->arrival[d->n_sent].at <= now) {
        const st_arrival *a = &w->arrival[d->n_sent];
        st_outcome *o = &d->outcome[d->n_sent];
        sterna_request request;
        sterna_request_defaults(&request);
        st_workload_prompt(w, d->n_sent, d->n_vocab, d->tokens);
        request.prompt = d->tokens;
        request.n_prompt = a->n_prompt;
        request.n_predict = a->n_predict;
        request.n_draft = -1;
        request.temperature = 0.0f;
        request.ignore_end = true;
        sterna_status status = sterna_submit(d->engine, &request, &o->id, error);
        if (status == STERNA_E_BUSY) {
            d->n_busy++;
            return STERNA_OK;
        }
        if (status != STERNA_OK)
            return status;
        o->submitted = now;
        o->hash = ST_TOKEN_HASH;
        d->slot[place_of(d, o->id)] = ++d->n_sent;
    }
    return STERNA_OK;
}

static sterna_status take_events(st_drive *d, double now, sterna_error *error)
{
    const sterna_event *event;
    while ((event = sterna_next(d->engine))) {
        int32_t index = d->slot[place_of(d, event->id)] - 1;
        if (event->finish == STERNA_FINISH_ERROR) {
            *error = event->error;
            return event->error.status;
        }
        if (index < 0)
            continue;
        st_outcome *o = &d->outcome[index];
        if (event->token >= 0) {
            if (o->n_generated == 0)
                o->first = now;
            else
                d->gap[o->first_gap + o->n_generated - 1] = now - o->last;
            o->last = now;
            o->n_generated++;
            o->hash = st_hash_token(o->hash, event->token);
        }
        if (event->finish != STERNA_FINISH_NONE) {
            o->finished = true;
            o->queued = d->cpu_clock ? NAN : event->seconds_queued;
            o->n_cached = event->n_cached;
            o->n_preempted = event->n_preempted;
            d->n_finished++;
        }
    }
    return STERNA_OK;
}

static double time_of(const st_drive *d)
{
    return (d->cpu_clock ? st_clock_cpu() : st_clock()) - d->zero;
}

/* Lets time pass until `due`, or a part of it. */
static void wait_until(st_drive *d, double due)
{
    double seconds = due - time_of(d);
    if (seconds <= 0.0)
        return;
    if (d->cpu_clock) {
        d->zero -= seconds;
        return;
    }
    seconds = fmin(seconds, 0.5);
    struct timespec time = {.tv_nsec = (long)(1e9 * seconds)};
    nanosleep(&time, NULL); /* an interrupt ends it, and go_on sees why */
}

static void count_since(st_drive *d, const sterna_statistics *start)
{
    sterna_statistics *s = &d->statistics;
    s->seconds_prompt -= start->seconds_prompt;
    s->seconds_decode -= start->seconds_decode;
    s->seconds_host -= start->seconds_host;
    s->n_step -= start->n_step;
    s->n_prompt_token -= start->n_prompt_token;
    s->n_decode_token -= start->n_decode_token;
    s->n_generated -= start->n_generated;
    s->n_cached -= start->n_cached;
    s->n_preempted -= start->n_preempted;
    s->n_draft -= start->n_draft;
    s->n_accepted -= start->n_accepted;
}

sterna_status st_drive_run(st_drive *d, sterna_engine *engine, sterna_error *error)
{
    const st_workload *w = d->workload;
    sterna_statistics start = {.struct_size = sizeof start};
    sterna_status status = allocate(d, error);
    if (status != STERNA_OK)
        return status;
    d->engine = engine;
    sterna_engine_statistics(engine, &start);
    d->zero = 0.0;
    d->zero = time_of(d);
    double now = 0.0;
    int64_t left = 0;
    while (d->n_finished < w->n_request) {
        if ((status = submit_due(d, now, error)) != STERNA_OK)
            return status;
        if ((left = sterna_step(engine, error)) < 0)
            return (sterna_status)left;
        now = time_of(d);
        if ((status = take_events(d, now, error)) != STERNA_OK)
            return status;
        d->n_inside_max = left > d->n_inside_max ? (int32_t)left : d->n_inside_max;
        if (!d->go_on(d, now))
            return error->status = STERNA_E_ABORTED;
        if (left == 0 && d->n_sent < w->n_request)
            wait_until(d, w->arrival[d->n_sent].at);
        now = time_of(d);
    }
    d->seconds = now;
    d->statistics.struct_size = sizeof d->statistics;
    sterna_engine_statistics(engine, &d->statistics);
    count_since(d, &start);
    return STERNA_OK;
}
