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

sterna_status st_engine_run(sterna_engine *e, int32_t k, bool prompt, sterna_error *error)
{
    const st_backend *ops = e->dev->backend;
    st_step_arrays *a = &e->arrays;
    double start = st_seconds();
    st_step_write(a, e->dev);
    for (int32_t i = a->n_out; i < a->batch.n_out; i++)
        e->want[i] = -1;
    if (a->n_out > 0)
        ops->write(e->dev, e->forward.want, 0, e->want, (size_t)a->batch.n_out * sizeof *e->want);
    sterna_status status = st_forward_run(&e->forward, &a->batch, k, &e->failure);
    if (status != STERNA_OK) {
        e->failure.status = status;
        return st_fail(error, status, "%s", e->failure.message);
    }
    if (a->n_out > 0) {
        size_t n = (size_t)a->n_out;
        ops->read(e->dev, e->forward.candidates, 0, e->candidates, n * (size_t)k * sizeof *e->candidates);
        ops->read(e->dev, e->forward.stats, 0, e->stats, n * sizeof *e->stats);
    }
    sterna_statistics *s = &e->statistics;
    double seconds = st_seconds() - start;
    s->n_step++;
    *(prompt ? &s->n_prompt_token : &s->n_decode_token) += (uint64_t)a->n_token;
    *(prompt ? &s->seconds_prompt : &s->seconds_decode) += seconds;
    *(prompt ? &s->bytes_prompt : &s->bytes_decode) += step_traffic(e);
    return STERNA_OK;
}

void st_engine_read_row(sterna_engine *e, int32_t out)
{
    size_t bytes = (size_t)e->config->n_vocab * sizeof *e->row;
    e->dev->backend->read(e->dev, e->forward.logits, (size_t)out * bytes, e->row, bytes);
}

/* ---- results ---- */

/* Chooses the next token of a sequence from row `out`. */
static sterna_status choose(sterna_engine *e, const st_sequence *s, int32_t out, st_candidate *choice,
                            sterna_error *error)
{
    const st_topk_stats *stats = &e->stats[out];
    const st_candidate *candidates = e->candidates + (size_t)out * (size_t)e->n_candidate;
    uint64_t index = (uint64_t)(s->n_token - s->n_prompt);
    bool have_row = false;
    if (e->hash_logits || e->watch) {
        st_engine_read_row(e, out);
        have_row = true;
    }
    if (e->hash_logits) {
        e->statistics.logits_hash += st_hash(s->hash, e->row, (size_t)e->config->n_vocab * sizeof *e->row);
        e->statistics.n_logits_row++;
    }
    if (e->watch)
        e->watch(e->watch_user, s->id, s->n_token - 1, e->row);
    sterna_error why;
    sterna_status status = st_sample_check(stats, &why);
    if (status != STERNA_OK)
        return st_fail(error, status, "after %d tokens %s", s->n_token, why.message);
    if (st_sample(candidates, e->n_candidate, e->config->n_vocab, stats, &s->sampling, index, choice))
        return STERNA_OK;
    if (!have_row)
        st_engine_read_row(e, out);
    *choice = st_sample_row(e->row, e->config->n_vocab, stats, &s->sampling, index, e->scratch);
    return STERNA_OK;
}

static void append(sterna_engine *e, int32_t slot, int32_t out, double now)
{
    st_sequence *s = &e->sched.sequence[slot];
    sterna_event *event = st_engine_event(e, s->id);
    st_candidate choice;
    if (choose(e, s, out, &choice, &event->error) != STERNA_OK) {
        st_engine_end(e, slot, event, STERNA_FINISH_ERROR, now);
        return;
    }
    s->token[s->n_token++] = choice.token;
    s->hash = st_hash(s->hash, &choice.token, sizeof choice.token);
    event->token = choice.token;
    event->logprob = st_logprob(choice.raw, &e->stats[out]);
    if (!s->ignore_end && sterna_token_is_end(e->model, choice.token))
        st_engine_end(e, slot, event, STERNA_FINISH_STOP, now);
    else if (s->n_token >= s->max_token)
        st_engine_end(e, slot, event, STERNA_FINISH_LENGTH, now);
}

static void take_results(sterna_engine *e, const st_plan *plan)
{
    double now = st_seconds();
    for (int32_t i = 0, out = 0; i < plan->n_part; i++) {
        const st_part *part = &plan->part[i];
        st_sequence *s = &e->sched.sequence[part->slot];
        s->n_done += part->count;
        if (s->prompted == 0.0 && s->n_done >= s->n_prompt)
            s->prompted = now;
        if (part->want)
            append(e, part->slot, out++, now);
        else if (s->n_done == s->n_token) /* a request for no tokens */
            st_engine_end(e, part->slot, st_engine_event(e, s->id), STERNA_FINISH_LENGTH, now);
    }
}

int64_t sterna_step(sterna_engine *engine, sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no engine");
    sterna_engine *e = engine;
    if (e->failure.status != STERNA_OK)
        return st_fail(error, e->failure.status, "%s", e->failure.message);
    if (e->events.capacity - e->events.count < e->sched.n_sequence)
        return st_fail(error, STERNA_E_LIMIT, "%d events wait to be taken; a step may add %d to at most %d",
                       e->events.count, e->sched.n_sequence, e->events.capacity);
    st_sched_admit(&e->sched, st_seconds());
    const st_plan *plan = st_sched_plan(&e->sched);
    if (plan->n_part == 0)
        return 0;
    st_step_clear(&e->arrays);
    for (int32_t i = 0, out = 0; i < plan->n_part; i++) {
        const st_part *part = &plan->part[i];
        const st_sequence *s = &e->sched.sequence[part->slot];
        st_step_add(&e->arrays, s->token, s->page, part->first, part->count, part->want);
        if (part->want)
            e->want[out++] = -1;
    }
    sterna_status status = st_engine_run(e, e->n_candidate, plan->prompt, error);
    if (status != STERNA_OK)
        return status;
    double start = st_seconds();
    take_results(e, plan);
    *(plan->prompt ? &e->statistics.seconds_prompt : &e->statistics.seconds_decode) += st_seconds() - start;
    return (int64_t)e->sched.n_running + e->sched.n_waiting;
}
