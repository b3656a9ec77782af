/* One step of the engine: rows in, tokens out. */
#include "host/engine/engine.h"

#include <string.h>

/* ---- running rows and counting what they cost ---- */

/* Keys and values that one sequence's rows read and write. Rows of a sequence share what they read. */
static uint64_t kv_traffic(const st_config *c, int32_t length, int32_t count)
{
    uint64_t position = 2 * sizeof(uint16_t) * (uint64_t)c->n_kv_head * (uint64_t)c->head_dim, read = 0;
    for (int32_t layer = 0; layer < c->n_layer; layer++) {
        int32_t window = st_forward_window(c, layer);
        read += (uint64_t)(window > 0 ? st_min(length, (int64_t)window + count - 1) : length);
    }
    return position * (read + (uint64_t)count * (uint64_t)c->n_layer);
}

static uint64_t step_traffic(const sterna_engine *e)
{
    const st_weights *w = &e->forward.weights;
    const st_step_arrays *a = &e->arrays;
    uint64_t bytes = w->pass_bytes + (a->n_out > 0 ? w->head->bytes : 0);
    bytes += (uint64_t)a->n_token * st_row_bytes(w->embed->type, w->embed->cols);
    for (int32_t row = 0; row < a->n_token;) {
        int32_t first = row, seq = a->seq[row];
        while (row < a->n_token && a->seq[row] == seq)
            row++;
        bytes += kv_traffic(e->config, a->length[seq], row - first);
    }
    return bytes;
}

/* Sends the adjustments of the wanted rows, packed max_adjust apart. */
static void write_adjustments(sterna_engine *e, int32_t max_adjust)
{
    const st_backend *ops = e->dev->backend;
    size_t row = (size_t)max_adjust * sizeof *e->adjust, n_out = (size_t)e->arrays.batch.n_out;
    ops->write(e->dev, e->forward.adjust, 0, e->adjust, n_out * row);
    ops->write(e->dev, e->forward.n_adjust, 0, e->n_adjust, n_out * sizeof *e->n_adjust);
}

sterna_status st_engine_run(sterna_engine *e, int32_t k, int32_t max_adjust, bool prompt, sterna_error *error)
{
    const st_backend *ops = e->dev->backend;
    st_step_arrays *a = &e->arrays;
    double start = st_seconds();
    st_step_write(a, e->dev);
    for (int32_t i = a->n_out; i < a->batch.n_out; i++) {
        e->want[i] = -1;
        e->n_adjust[i] = 0;
    }
    if (a->n_out > 0)
        ops->write(e->dev, e->forward.want, 0, e->want, (size_t)a->batch.n_out * sizeof *e->want);
    if (max_adjust > 0)
        write_adjustments(e, max_adjust);
    sterna_error why = {0};
    sterna_status status = st_forward_run(&e->forward, &a->batch, k, max_adjust, &why);
    if (status != STERNA_OK) {
        why.status = status;
        if (status != STERNA_E_ABORTED)
            e->failure = why;
        return st_fail(error, status, "%s", why.message);
    }
    if (a->n_out > 0) {
        size_t n = (size_t)a->n_out;
        ops->read(e->dev, e->forward.candidates, 0, e->candidates, n * (size_t)k * sizeof *e->candidates);
        ops->read(e->dev, e->forward.stats, 0, e->stats, n * sizeof *e->stats);
    }
    sterna_statistics *s = &e->statistics;
    e->seconds_device = st_seconds() - start;
    s->n_step++;
    *(prompt ? &s->n_prompt_token : &s->n_decode_token) += (uint64_t)a->n_token;
    *(prompt ? &s->seconds_prompt : &s->seconds_decode) += e->seconds_device;
    *(prompt ? &s->bytes_prompt : &s->bytes_decode) += step_traffic(e);
    return STERNA_OK;
}

void st_engine_read_row(sterna_engine *e, int32_t out)
{
    size_t bytes = (size_t)e->config->n_vocab * sizeof *e->row;
    e->dev->backend->read(e->dev, e->forward.logits, (size_t)out * bytes, e->row, bytes);
}

sterna_status st_engine_check(const sterna_engine *e, sterna_error *error)
{
    if (e->failure.status != STERNA_OK)
        return st_fail(error, e->failure.status, "%s", e->failure.message);
    if (e->abort && e->abort(e->abort_user))
        return st_fail(error, STERNA_E_ABORTED, "aborted before a step");
    return STERNA_OK;
}

/* ---- adjustments ---- */

/* Distances between rows of adjustments: few of them, so that few recordings serve all steps. */
static int32_t adjust_bucket(const sterna_engine *e, int32_t n)
{
    int32_t bucket = n > 0 ? 16 : 0;
    while (bucket < n)
        bucket *= 4;
    return (int32_t)st_min(bucket, e->max_adjust);
}

/* Penalties and biases of every wanted row: those of a draft see the drafts before it. Returns how far apart
 * the rows stand. */
static int32_t adjust_rows(sterna_engine *e, const st_plan *plan)
{
    int32_t most = 0;
    size_t apart = (size_t)e->max_adjust;
    for (int32_t i = 0, out = 0; i < plan->n_part; i++) {
        const st_sequence *s = &e->sched.sequence[plan->part[i].slot];
        for (int32_t j = 0; j < plan->part[i].n_want; j++, out++) {
            e->n_adjust[out] = st_adjustments(&s->request->sampling, s->token, s->n_token + j, e->last,
                                              e->adjust + (size_t)out * apart);
            most = (int32_t)st_max(most, e->n_adjust[out]);
        }
    }
    size_t bucket = (size_t)adjust_bucket(e, most);
    for (int32_t out = 1; bucket > 0 && out < plan->n_out; out++)
        memmove(e->adjust + (size_t)out * bucket, e->adjust + (size_t)out * apart,
                (size_t)e->n_adjust[out] * sizeof *e->adjust);
    return (int32_t)bucket;
}

/* ---- results ---- */

/* One wanted row of the step at hand. */
typedef struct row {
    int32_t out;
    const st_candidate *candidate;
    const st_topk_stats *stats;
    const st_adjustment *adjust;
    int32_t n_adjust;
    bool read; /* the logits are in engine->row */
} row;

static const float *logits_of(sterna_engine *e, row *r)
{
    if (!r->read)
        st_engine_read_row(e, r->out);
    r->read = true;
    return e->row;
}

static void hash_and_watch(sterna_engine *e, const st_sequence *s, row *r)
{
    if (e->hash_logits) {
        size_t bytes = (size_t)e->config->n_vocab * sizeof *e->row;
        e->statistics.logits_hash += st_hash(s->hash + (uint64_t)s->sample, logits_of(e, r), bytes);
        e->statistics.n_logits_row++;
    }
    if (e->watch)
        e->watch(e->watch_user, s->request->id, s->sample, s->n_token - 1, logits_of(e, r));
}

/* Chooses the next token of a sequence, and reports its probability and those of the likeliest. */
static sterna_status choose(sterna_engine *e, const st_sequence *s, row *r, sterna_event *event)
{
    const st_sampling *sampling = &s->request->sampling;
    int32_t n_vocab = e->config->n_vocab, n_top = s->request->n_logprob;
    uint64_t index = (uint64_t)(s->n_token - s->n_prompt);
    sterna_error why;
    sterna_status status = st_sample_check(r->stats, &why);
    if (status != STERNA_OK)
        return st_fail(&event->error, status, "after %d tokens %s", s->n_token, why.message);
    st_candidate choice;
    if (!st_sample(r->candidate, e->n_candidate, n_vocab, r->stats, sampling, (uint32_t)s->sample, index,
                   &choice))
        choice = st_sample_row(logits_of(e, r), n_vocab, r->adjust, r->n_adjust, r->stats, sampling,
                               (uint32_t)s->sample, index, e->scratch);
    sterna_logprob *top = e->events.top + (size_t)(event - e->events.ring) * STERNA_MAX_LOGPROB;
    if (n_top > 0 && !st_top_logprobs(r->candidate, e->n_candidate, r->n_adjust, r->stats, n_top, top))
        st_top_logprobs_row(logits_of(e, r), n_vocab, r->stats, n_top, top);
    event->n_top = n_top;
    event->token = choice.token;
    event->logprob = st_logprob(choice.raw, r->stats);
    return STERNA_OK;
}

/* Appends the event's token; true if that ends the sample. */
static bool append(sterna_engine *e, int32_t slot, sterna_event *event, double now)
{
    st_sequence *s = &e->sched.sequence[slot];
    const st_request *request = s->request;
    sterna_finish finish = STERNA_FINISH_NONE;
    st_sched_append(&e->sched, slot, event->token);
    e->statistics.n_generated++;
    if ((!request->ignore_end && sterna_token_is_end(e->model, event->token)) ||
        st_stops_at(&request->stops, event->token))
        finish = STERNA_FINISH_STOP; /* the text of a token that ends is not part of the answer */
    else if (st_engine_show(e, slot, event, event->token))
        finish = STERNA_FINISH_STOP;
    else if (s->n_token >= s->max_token)
        finish = STERNA_FINISH_LENGTH;
    if (finish != STERNA_FINISH_NONE)
        st_engine_end(e, slot, event, finish, now);
    return finish != STERNA_FINISH_NONE;
}

/* Counts drafts, and tries more of them after a step in which all were right, fewer after others. */
static void count_drafts(sterna_engine *e, st_sequence *s, int32_t n_draft, int32_t n_accepted)
{
    if (n_draft == 0)
        return;
    e->statistics.n_draft += (uint64_t)n_draft;
    e->statistics.n_accepted += (uint64_t)n_accepted;
    s->n_draft += n_draft;
    s->n_accepted += n_accepted;
    s->n_look = n_accepted < n_draft ? n_accepted + 1 : (int32_t)st_min(2 * s->n_look, s->request->n_draft);
}

/* Takes tokens from the wanted rows of a part, the first of which is `out`: one, and one more for each draft
 * that turns out to be what is generated anyway. */
static void take_tokens(sterna_engine *e, const st_part *part, int32_t out, int32_t max_adjust, double now)
{
    st_sequence *s = &e->sched.sequence[part->slot];
    bool right = true, ended = false;
    int32_t n_accepted = 0;
    for (int32_t j = 0; j < part->n_want && right && !ended; j++, out++) {
        row r = {.out = out,
                 .candidate = e->candidates + (size_t)out * (size_t)e->n_candidate,
                 .stats = &e->stats[out],
                 .adjust = e->adjust + (size_t)out * (size_t)max_adjust,
                 .n_adjust = max_adjust ? e->n_adjust[out] : 0};
        sterna_event *event = st_engine_event(e, s->request, s->sample);
        hash_and_watch(e, s, &r);
        ended = choose(e, s, &r, event) != STERNA_OK;
        right = !ended && j < part->n_draft && s->token[s->n_token] == event->token;
        n_accepted += right;
        if (j + 1 == part->n_want || !right) /* before the sample may end */
            count_drafts(e, s, part->n_draft, n_accepted);
        if (ended)
            st_engine_end(e, part->slot, event, STERNA_FINISH_ERROR, now);
        else
            ended = append(e, part->slot, event, now);
        if (right && !ended)
            st_sched_stored(&e->sched, part->slot, 1);
    }
}

static void take_results(sterna_engine *e, const st_plan *plan, int32_t max_adjust)
{
    double now = st_seconds();
    for (int32_t i = 0, out = 0; i < plan->n_part; out += plan->part[i++].n_want) {
        const st_part *part = &plan->part[i];
        st_sequence *s = &e->sched.sequence[part->slot];
        st_sched_stored(&e->sched, part->slot, part->count - part->n_draft);
        if (s->prompted == 0.0 && s->n_done >= s->n_prompt)
            s->prompted = now;
        if (part->n_want > 0)
            take_tokens(e, part, out, max_adjust, now);
        else if (s->n_done == s->n_token) /* a request for no tokens */
            st_engine_end(e, part->slot, st_engine_event(e, s->request, s->sample), STERNA_FINISH_LENGTH,
                          now);
    }
}

/* ---- the step ---- */

static sterna_status run_plan(sterna_engine *e, const st_plan *plan, sterna_error *error)
{
    st_step_clear(&e->arrays);
    for (int32_t i = 0; i < plan->n_part; i++) {
        const st_part *part = &plan->part[i];
        const st_sequence *s = &e->sched.sequence[part->slot];
        st_step_add(&e->arrays, s->token, s->page, part->first, part->count, part->n_want);
    }
    for (int32_t i = 0; i < plan->n_out; i++)
        e->want[i] = -1;
    int32_t max_adjust = adjust_rows(e, plan);
    sterna_status status = st_engine_run(e, e->n_candidate, max_adjust, plan->prompt, error);
    if (status == STERNA_OK)
        take_results(e, plan, max_adjust);
    return status;
}

int64_t sterna_step(sterna_engine *engine, sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no engine");
    sterna_engine *e = engine;
    int32_t n_event = st_engine_step_events(e);
    if (e->events.capacity - e->events.count < n_event)
        return st_fail(error, STERNA_E_BUSY, "%d events wait to be taken; a step may add %d to at most %d",
                       e->events.count, n_event, e->events.capacity);
    sterna_status status = st_engine_check(e, error);
    if (status != STERNA_OK)
        return status;
    double start = st_seconds();
    const st_plan *plan = st_sched_plan(&e->sched, start);
    if (plan->n_part == 0)
        return 0;
    bool prompt = plan->prompt;
    status = run_plan(e, plan, error);
    if (status != STERNA_OK)
        return status;
    double host = st_seconds() - start - e->seconds_device;
    e->statistics.seconds_host += host;
    *(prompt ? &e->statistics.seconds_prompt : &e->statistics.seconds_decode) += host;
    return st_sched_unfinished(&e->sched);
}
