/* Scoring: the probabilities that the model gives to a text. */
#include "host/engine/engine.h"

/* What comes out, for tokens from `first` on. */
typedef struct scores {
    int32_t first;
    float *logprob;
    sterna_token *top; /* may be NULL */
} scores;

/* Runs tokens start ... start + count - 1, which scores those after them. */
static sterna_status score_chunk(sterna_engine *e, const sterna_token *tokens, const int32_t *page,
                                 int32_t start, int32_t count, const scores *s, sterna_error *error)
{
    int32_t first = s->first;
    int32_t n_want = (int32_t)st_min(count, st_max(0, start + count - first + 1));
    st_step_clear(&e->arrays);
    st_step_add(&e->arrays, tokens, page, start, count, n_want);
    for (int32_t i = 0; i < n_want; i++)
        e->want[i] = tokens[start + count - n_want + i + 1];
    sterna_status status = st_engine_check(e, error);
    if (status == STERNA_OK)
        status = st_engine_run(e, 1, 0, true, error);
    for (int32_t i = 0; i < n_want && status == STERNA_OK; i++) {
        int32_t position = start + count - n_want + i;
        if (e->watch) {
            st_engine_read_row(e, i);
            e->watch(e->watch_user, 0, 0, position, e->row);
        }
        sterna_error why;
        status = st_sample_check(&e->stats[i], &why);
        if (status != STERNA_OK)
            return st_fail(error, status, "after %d tokens %s", position + 1, why.message);
        s->logprob[position + 1 - first] = st_logprob(e->stats[i].want, &e->stats[i]);
        if (s->top)
            s->top[position + 1 - first] = e->candidates[i].token;
    }
    return status;
}

static sterna_status check_score(const sterna_engine *e, const sterna_token *tokens, int32_t n, int32_t first,
                                 const float *logprob, sterna_error *error)
{
    int64_t unfinished = st_sched_unfinished(&e->sched);
    int32_t n_context = e->sched.limits.n_context;
    if (unfinished > 0)
        return st_fail(error, STERNA_E_BUSY, "scoring needs an idle engine, but %lld samples are unfinished",
                       (long long)unfinished);
    if (!tokens || n < 1 || (n > first && !logprob))
        return st_fail(error, STERNA_E_ARGUMENT, "%d tokens to score, or no place for the result",
                       tokens ? n : 0);
    if (first < 1 || first > n)
        return st_fail(error, STERNA_E_ARGUMENT, "first is %d, not 1 ... %d", first, n);
    if (n > n_context)
        return st_fail(error, STERNA_E_LIMIT, "%d tokens to score, but the context holds %d", n, n_context);
    for (int32_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= e->config->n_vocab)
            return st_fail(error, STERNA_E_ARGUMENT, "token %d is %d, not 0 ... %d", i, tokens[i],
                           e->config->n_vocab - 1);
    return STERNA_OK;
}

static sterna_status score(sterna_engine *e, const sterna_token *tokens, int32_t n, const scores *s,
                           sterna_error *error)
{
    int32_t first = s->first;
    sterna_status status = check_score(e, tokens, n, first, s->logprob, error);
    if (status != STERNA_OK)
        return status;
    int32_t *page = e->sched.sequence[0].page, n_page = st_pages_for(n); /* idle: slot 0 is free */
    for (int32_t i = 0; i < n_page; i++)
        page[i] = st_pages_take(&e->sched.pages);
    /* Rows before the first that is wanted need no logits, so their chunks are larger. */
    for (int32_t start = 0, count; start < n - 1 && status == STERNA_OK; start += count) {
        int64_t most = start + 1 < first ? st_min(e->sched.limits.n_batch, first - 1 - start)
                                         : st_min(e->sched.limits.n_batch, e->max_out);
        count = (int32_t)st_min(most, n - 1 - start);
        status = score_chunk(e, tokens, page, start, count, s, error);
    }
    for (int32_t i = n_page; i-- > 0;)
        st_pages_give(&e->sched.pages, page[i]);
    return status;
}

sterna_status sterna_score(sterna_engine *engine, const sterna_token *tokens, int32_t n, int32_t first,
                           float *logprob, sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no engine");
    return score(engine, tokens, n, &(scores){first, logprob, NULL}, error);
}

sterna_status sterna_score_top(sterna_engine *engine, const sterna_token *tokens, int32_t n, int32_t first,
                               float *logprob, sterna_token *top, sterna_error *error)
{
    if (!engine || !top)
        return st_fail(error, STERNA_E_ARGUMENT, "no %s",
                       engine ? "place for the likeliest tokens" : "engine");
    return score(engine, tokens, n, &(scores){first, logprob, top}, error);
}
