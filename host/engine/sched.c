#include "host/engine/sched.h"

#include "host/base/numerics.h"

#include <string.h>

bool st_sched_create(st_sched *sched, int32_t n_sequence, int32_t n_context, int32_t n_batch, int32_t n_page)
{
    assert(n_sequence >= 1 && n_sequence <= n_batch && n_context >= 1);
    *sched = (st_sched){.n_sequence = n_sequence,
                        .n_context = n_context,
                        .n_batch = n_batch,
                        .max_page = st_pages_for(n_context),
                        .queue_size = (int32_t)st_max(n_context, ST_QUEUE_TOKENS),
                        .next_id = 1};
    size_t slots = (size_t)n_sequence, per_slot = (size_t)n_context + 1;
    sched->sequence = st_calloc(slots, sizeof *sched->sequence);
    sched->token = st_calloc(slots * per_slot, sizeof *sched->token);
    sched->page = st_calloc(slots * (size_t)sched->max_page, sizeof *sched->page);
    sched->running = st_calloc(slots, sizeof *sched->running);
    sched->waiting = st_calloc(ST_MAX_QUEUE, sizeof *sched->waiting);
    sched->queue_token = st_calloc((size_t)sched->queue_size, sizeof *sched->queue_token);
    sched->plan.part = st_calloc(slots, sizeof *sched->plan.part);
    if (!st_pages_create(&sched->pages, n_page) || !sched->sequence || !sched->token || !sched->page ||
        !sched->running || !sched->waiting || !sched->queue_token || !sched->plan.part)
        return false;
    for (size_t i = 0; i < slots; i++) {
        sched->sequence[i].token = sched->token + i * per_slot;
        sched->sequence[i].page = sched->page + i * (size_t)sched->max_page;
    }
    return true;
}

void st_sched_destroy(st_sched *sched)
{
    st_free(sched->sequence);
    st_free(sched->token);
    st_free(sched->page);
    st_free(sched->running);
    st_free(sched->waiting);
    st_free(sched->queue_token);
    st_free(sched->plan.part);
    st_pages_destroy(&sched->pages);
    *sched = (st_sched){0};
}

/* Tokens of a request at its end. The last one generated is never computed on, so it needs no position. */
static int32_t longest(const st_sched *sched, int32_t n_prompt, int32_t n_predict)
{
    int64_t context = (int64_t)sched->n_context + 1;
    return (int32_t)(n_predict < 0 ? context : st_min(context, (int64_t)n_prompt + n_predict));
}

static int32_t pages_needed(const st_sched *sched, int32_t n_prompt, int32_t n_predict)
{
    return st_pages_for(st_max(n_prompt, longest(sched, n_prompt, n_predict) - 1));
}

sterna_status st_sched_submit(st_sched *sched, const sterna_request *request, double now,
                              sterna_request_id *id, sterna_error *error)
{
    int32_t n = request->n_prompt;
    if (n > sched->n_context)
        return st_fail(error, STERNA_E_LIMIT, "the prompt has %d tokens, but the context holds %d", n,
                       sched->n_context);
    int32_t pages = pages_needed(sched, n, request->n_predict);
    if (pages > sched->pages.n_page)
        return st_fail(error, STERNA_E_LIMIT,
                       "prompt (%d tokens) and n_predict (%d) need %d KV pages of %d positions, but there "
                       "are %d",
                       n, request->n_predict, pages, ST_KV_PAGE, sched->pages.n_page);
    if (sched->n_waiting == ST_MAX_QUEUE)
        return st_fail(error, STERNA_E_LIMIT, "the queue is full: %d requests wait", ST_MAX_QUEUE);
    if (n > sched->queue_size - sched->queue_used)
        return st_fail(error, STERNA_E_LIMIT,
                       "the queue is full: prompts of %d tokens wait, and %d more would exceed %d",
                       sched->queue_used, n, sched->queue_size);
    memcpy(sched->queue_token + sched->queue_used, request->prompt, (size_t)n * sizeof(int32_t));
    sched->queue_used += n;
    sched->waiting[sched->n_waiting++] = (st_waiting){.id = sched->next_id,
                                                      .n_prompt = n,
                                                      .n_predict = request->n_predict,
                                                      .ignore_end = request->ignore_end,
                                                      .sampling = request->sampling,
                                                      .submitted = now};
    *id = sched->next_id++;
    return STERNA_OK;
}

/* Removes entry `index` and its prompt, which begins at `token`. */
static void remove_waiting(st_sched *sched, int32_t index, int32_t token)
{
    int32_t n = sched->waiting[index].n_prompt;
    memmove(sched->queue_token + token, sched->queue_token + token + n,
            (size_t)(sched->queue_used - token - n) * sizeof *sched->queue_token);
    memmove(sched->waiting + index, sched->waiting + index + 1,
            (size_t)(sched->n_waiting - index - 1) * sizeof *sched->waiting);
    sched->queue_used -= n;
    sched->n_waiting--;
}

/* The oldest waiting request takes the slot, whose pages it has. */
static void start(st_sched *sched, int32_t slot, double now)
{
    const st_waiting *w = &sched->waiting[0];
    st_sequence *s = &sched->sequence[slot];
    memcpy(s->token, sched->queue_token, (size_t)w->n_prompt * sizeof *s->token);
    s->id = w->id;
    s->n_prompt = s->n_token = w->n_prompt;
    s->n_done = 0;
    s->max_token = longest(sched, w->n_prompt, w->n_predict);
    s->ignore_end = w->ignore_end;
    s->sampling = w->sampling;
    s->hash = ST_HASH_SEED;
    for (int32_t i = 0; i < s->n_prompt; i++)
        s->hash = st_hash(s->hash, &s->token[i], sizeof s->token[i]);
    s->submitted = w->submitted;
    s->admitted = now;
    s->prompted = 0.0;
    sched->running[sched->n_running++] = slot;
}

void st_sched_admit(st_sched *sched, double now)
{
    int32_t slot = 0;
    while (sched->n_waiting > 0 && sched->n_running < sched->n_sequence) {
        const st_waiting *w = &sched->waiting[0];
        while (sched->sequence[slot].id != 0)
            slot++;
        st_sequence *s = &sched->sequence[slot];
        int32_t pages = pages_needed(sched, w->n_prompt, w->n_predict);
        if (!st_pages_take(&sched->pages, pages, s->page))
            return; /* later requests do not overtake it */
        s->n_page = pages;
        start(sched, slot, now);
        remove_waiting(sched, 0, 0);
    }
}

static void add_part(st_sched *sched, int32_t slot, int32_t count)
{
    const st_sequence *s = &sched->sequence[slot];
    st_plan *plan = &sched->plan;
    bool want = s->n_done + count == s->n_token && s->n_token < s->max_token;
    plan->part[plan->n_part++] = (st_part){.slot = slot, .first = s->n_done, .count = count, .want = want};
    plan->n_token += count;
    plan->n_out += want;
}

const st_plan *st_sched_plan(st_sched *sched)
{
    st_plan *plan = &sched->plan;
    plan->n_part = plan->n_token = plan->n_out = 0;
    plan->prompt = false;
    for (int32_t i = 0; i < sched->n_running; i++) {
        const st_sequence *s = &sched->sequence[sched->running[i]];
        if (s->n_done >= s->n_prompt)
            add_part(sched, sched->running[i], 1);
    }
    for (int32_t i = 0; i < sched->n_running && plan->n_token < sched->n_batch; i++) {
        const st_sequence *s = &sched->sequence[sched->running[i]];
        if (s->n_done >= s->n_prompt)
            continue;
        int64_t count = st_min(s->n_prompt - s->n_done, sched->n_batch - plan->n_token);
        add_part(sched, sched->running[i], (int32_t)count);
        plan->prompt = true;
    }
    return plan;
}

void st_sched_end(st_sched *sched, int32_t slot)
{
    st_sequence *s = &sched->sequence[slot];
    assert(s->id != 0);
    st_pages_give(&sched->pages, s->n_page, s->page);
    s->n_page = 0;
    s->id = 0;
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
        if (sched->sequence[sched->running[i]].id == id)
            return sched->running[i];
    return -1;
}

bool st_sched_forget(st_sched *sched, sterna_request_id id, st_waiting *gone)
{
    int32_t token = 0;
    for (int32_t i = 0; i < sched->n_waiting; i++) {
        if (sched->waiting[i].id == id) {
            *gone = sched->waiting[i];
            remove_waiting(sched, i, token);
            return true;
        }
        token += sched->waiting[i].n_prompt;
    }
    return false;
}
