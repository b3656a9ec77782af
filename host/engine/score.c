/* Scoring: the probabilities that the model gives to a text. */
#include "host/engine/engine.h"

#include <math.h>

/* Runs tokens first ... first + count - 1 and takes the log-probabilities of the ones after them. */
static sterna_status score_chunk(sterna_engine *e, const sterna_token *tokens, const int32_t *page,
                                 int32_t first, int32_t count, float *logprob, sterna_error *error)
{
    st_step_clear(&e->arrays);
    st_step_add(&e->arrays, tokens, page, first, count, count);
    for (int32_t i = 0; i < count; i++)
        e->want[i] = tokens[first + i + 1];
    sterna_status status = st_engine_run(e, 1, true, error);
    if (status != STERNA_OK)
        return status;
    for (int32_t i = 0; i < count; i++) {
        if (e->watch) {
            st_engine_read_row(e, i);
            e->watch(e->watch_user, 0, first + i, e->row);
        }
        sterna_error why;
        status = st_sample_check(&e->stats[i], &why);
        if (status != STERNA_OK)
            return st_fail(error, status, "after %d tokens %s", first + i + 1, why.message);
        logprob[i] = st_logprob(e->stats[i].want, &e->stats[i]);
    }
    return STERNA_OK;
}

static sterna_status check_score(const sterna_engine *e, const sterna_token *tokens, int32_t n,
                                 const float *logprob, sterna_error *error)
{
    if (e->failure.status != STERNA_OK)
        return st_fail(error, e->failure.status, "%s", e->failure.message);
    if (e->sched.n_running + e->sched.n_waiting > 0)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "scoring needs an idle engine, but %d requests are unfinished",
                       e->sched.n_running + e->sched.n_waiting);
    if (!tokens || n < 1 || (n > 1 && !logprob))
        return st_fail(error, STERNA_E_ARGUMENT, "%d tokens to score, or no place for the result",
                       tokens ? n : 0);
    if (n > e->sched.n_context || st_pages_for(n) > e->sched.pages.n_page)
        return st_fail(error, STERNA_E_LIMIT, "%d tokens to score, but the context holds %d", n,
                       (int)st_min(e->sched.n_context, (int64_t)e->sched.pages.n_page * ST_KV_PAGE));
    for (int32_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= e->config->n_vocab)
            return st_fail(error, STERNA_E_ARGUMENT, "token %d is %d, not 0 ... %d", i, tokens[i],
                           e->config->n_vocab - 1);
    return STERNA_OK;
}

sterna_status sterna_score(sterna_engine *engine, const sterna_token *tokens, int32_t n, float *logprob,
                           sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no engine");
    sterna_engine *e = engine;
    sterna_status status = check_score(e, tokens, n, logprob, error);
    if (status != STERNA_OK)
        return status;
    int32_t *page = e->sched.sequence[0].page, n_page = st_pages_for(n); /* idle: slot 0 is free */
    bool taken = st_pages_take(&e->sched.pages, n_page, page);
    assert(taken);
    (void)taken;
    int32_t most = (int32_t)st_min(e->sched.n_batch, e->max_out);
    for (int32_t first = 0; first < n - 1 && status == STERNA_OK; first += most)
        status =
            score_chunk(e, tokens, page, first, (int32_t)st_min(most, n - 1 - first), logprob + first, error);
    st_pages_give(&e->sched.pages, n_page, page);
    return status;
}
