/* The queue, starts and ends. What goes into a step is in plan.c. */
#include "host/engine/sched_parts.h"

#include "host/base/numerics.h"

#include <string.h>

bool st_sched_create(st_sched *sched, const st_sched_limits *limits)
{
    int32_t n_sequence = limits->n_sequence, n_context = limits->n_context;
    assert(n_sequence >= 1 && n_sequence <= limits->n_batch && n_context >= 1);
    assert(limits->n_page >= st_pages_for(n_context)); /* so the first of the order can always get on */
    *sched = (st_sched){.limits = *limits,
                        .max_page = st_pages_for(n_context),
                        .queue_size = (int32_t)st_max(n_context, ST_QUEUE_TOKENS),
                        .next_id = 1};
    size_t slots = (size_t)n_sequence, per_slot = (size_t)n_context + 1, records = ST_MAX_QUEUE + slots;
    sched->request = st_alloc(records * sizeof *sched->request); /* not zeroed: most are never touched */
    sched->spare = st_calloc(records, sizeof *sched->spare);
    sched->sequence = st_calloc(slots, sizeof *sched->sequence);
    sched->token = st_calloc(slots * per_slot, sizeof *sched->token);
    sched->page = st_calloc(slots * (size_t)sched->max_page, sizeof *sched->page);
    sched->running = st_calloc(slots, sizeof *sched->running);
    sched->waiting = st_calloc(ST_MAX_QUEUE, sizeof *sched->waiting);
    sched->queue_token = st_calloc((size_t)sched->queue_size, sizeof *sched->queue_token);
    sched->plan.part = st_calloc(slots, sizeof *sched->plan.part);
    sched->grant = st_calloc(slots, sizeof *sched->grant);
    if (!st_pages_create(&sched->pages, limits->n_page) || !sched->request || !sched->spare ||
        !sched->sequence || !sched->token || !sched->page || !sched->running || !sched->waiting ||
        !sched->queue_token || !sched->plan.part || !sched->grant)
        return false;
    for (; sched->n_spare < (int32_t)records; sched->n_spare++)
        sched->spare[sched->n_spare] = &sched->request[sched->n_spare];
    for (size_t i = 0; i < slots; i++) {
        sched->sequence[i].token = sched->token + i * per_slot;
        sched->sequence[i].page = sched->page + i * (size_t)sched->max_page;
    }
    return true;
}

void st_sched_destroy(st_sched *sched)
{
    st_free(sched->request);
    st_free(sched->spare);
    st_free(sched->sequence);
    st_free(sched->token);
    st_free(sched->page);
    st_free(sched->running);
    st_free(sched->waiting);
    st_free(sched->queue_token);
    st_free(sched->plan.part);
    st_free(sched->grant);
    st_pages_destroy(&sched->pages);
    *sched = (st_sched){0};
}

/* ---- the queue ---- */

/* Tokens of a sample at its end. The last one generated is never computed on, so it needs no position. */
static int32_t longest(const st_sched *sched, const st_request *r)
{
    int64_t context = (int64_t)sched->limits.n_context + 1;
    return (int32_t)(r->n_predict < 0 ? context : st_min(context, (int64_t)r->n_prompt + r->n_predict));
}

static sterna_status check_room(const st_sched *sched, const st_request *r, sterna_error *error)
{
    int32_t n = r->n_prompt, n_context = sched->limits.n_context;
    if (n > n_context)
        return st_fail(error, STERNA_E_LIMIT, "the prompt has %d tokens, but the context holds %d", n,
                       n_context);
    if (sched->n_waiting == ST_MAX_QUEUE)
        return st_fail(error, STERNA_E_BUSY, "the queue is full: %d requests wait", ST_MAX_QUEUE);
    if (n > sched->queue_size - sched->queue_used)
        return st_fail(error, STERNA_E_BUSY,
                       "the queue is full: prompts of %d tokens wait, and %d more would exceed %d",
                       sched->queue_used, n, sched->queue_size);
    return STERNA_OK;
}

sterna_status st_sched_submit(st_sched *sched, const st_request *request, const int32_t *prompt, double now,
                              sterna_request_id *id, sterna_error *error)
{
    sterna_status status = check_room(sched, request, error);
    if (status != STERNA_OK)
        return status;
    st_request *r = sched->spare[--sched->n_spare]; /* there is one for each that may wait or run */
    *r = *request;
    r->id = *id = sched->next_id++;
    r->n_started = r->n_open = 0;
    r->submitted = now;
    memcpy(sched->queue_token + sched->queue_used, prompt, (size_t)r->n_prompt * sizeof *prompt);
    sched->queue_used += r->n_prompt;
    sched->waiting[sched->n_waiting++] = r;
    sched->n_unstarted += r->n_sample;
    return STERNA_OK;
}

/* Removes entry `index` of the queue and its prompt. */
static void leave_queue(st_sched *sched, int32_t index)
{
    int32_t at = 0, n = sched->waiting[index]->n_prompt;
    for (int32_t i = 0; i < index; i++)
        at += sched->waiting[i]->n_prompt;
    memmove(sched->queue_token + at, sched->queue_token + at + n,
            (size_t)(sched->queue_used - at - n) * sizeof *sched->queue_token);
    memmove(sched->waiting + index, sched->waiting + index + 1,
            (size_t)(sched->n_waiting - index - 1) * sizeof(st_request *));
    sched->queue_used -= n;
    sched->n_waiting--;
}

/* A record is free when no sample of it waits or runs. */
static void release(st_sched *sched, st_request *r)
{
    if (r->n_started == r->n_sample && r->n_open == 0)
        sched->spare[sched->n_spare++] = r;
}

static int32_t queue_index(const st_sched *sched, sterna_request_id id)
{
    for (int32_t i = 0; i < sched->n_waiting; i++)
        if (sched->waiting[i]->id == id)
            return i;
    return -1;
}

const st_request *st_sched_waiting(const st_sched *sched, sterna_request_id id)
{
    int32_t index = queue_index(sched, id);
    return index < 0 ? NULL : sched->waiting[index];
}

void st_sched_forget(st_sched *sched, sterna_request_id id)
{
    int32_t index = queue_index(sched, id);
    assert(index >= 0);
    st_request *r = sched->waiting[index];
    leave_queue(sched, index);
    sched->n_unstarted -= r->n_sample - r->n_started;
    r->n_started = r->n_sample;
    release(sched, r);
}

int64_t st_sched_unfinished(const st_sched *sched)
{
    return sched->n_unstarted + sched->n_running;
}

/* ---- running ---- */

void st_sched_start(st_sched *sched)
{
    int32_t slot = 0;
    while (sched->sequence[slot].request)
        slot++;
    st_request *r = sched->waiting[0];
    st_sequence *s = &sched->sequence[slot];
    *s = (st_sequence){.request = r,
                       .sample = r->n_started++,
                       .token = s->token,
                       .n_prompt = r->n_prompt,
                       .n_token = r->n_prompt,
                       .max_token = longest(sched, r),
                       .page = s->page,
                       .n_look = r->n_draft,
                       .hash = ST_HASH_SEED};
    memcpy(s->token, sched->queue_token, (size_t)r->n_prompt * sizeof *s->token);
    for (int32_t i = 0; i < s->n_prompt; i++)
        s->hash = st_hash(s->hash, &s->token[i], sizeof s->token[i]);
    r->n_open++;
    sched->n_unstarted--;
    sched->running[sched->n_running++] = slot;
    if (r->n_started == r->n_sample)
        leave_queue(sched, 0);
}

void st_sched_give_pages(st_sched *sched, st_sequence *s)
{
    while (s->n_page > 0)
        st_pages_give(&sched->pages, s->page[--s->n_page]);
    s->n_kept = s->n_done = 0;
    s->content = 0;
}

void st_sched_stored(st_sched *sched, int32_t slot, int32_t n_row)
{
    st_sequence *s = &sched->sequence[slot];
    s->n_done += n_row;
    for (; !sched->limits.no_prefix_cache && (s->n_kept + 1) * ST_KV_PAGE <= s->n_done; s->n_kept++) {
        int32_t *page = &s->page[s->n_kept];
        *page = st_pages_keep(&sched->pages, *page, s->content, s->token + s->n_kept * ST_KV_PAGE);
        s->content = sched->pages.page[*page].content;
    }
}

void st_sched_append(st_sched *sched, int32_t slot, int32_t token)
{
    st_sequence *s = &sched->sequence[slot];
    s->token[s->n_token++] = token;
    s->hash = st_hash(s->hash, &token, sizeof token);
}

void st_sched_end(st_sched *sched, int32_t slot)
{
    st_sequence *s = &sched->sequence[slot];
    assert(s->request);
    st_sched_give_pages(sched, s);
    s->request->n_open--;
    release(sched, s->request);
    s->request = NULL;
    int32_t at = 0;
    while (sched->running[at] != slot)
        at++;
    memmove(sched->running + at, sched->running + at + 1,
            (size_t)(sched->n_running - at - 1) * sizeof *sched->running);
    sched->n_running--;
}

int32_t st_sched_slot(const st_sched *sched, sterna_request_id id)
{
    for (int32_t i = 0; i < sched->n_running; i++)
        if (sched->sequence[sched->running[i]].request->id == id)
            return sched->running[i];
    return -1;
}
