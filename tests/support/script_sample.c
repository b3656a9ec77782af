#include "tests/support/script_sample.h"

#include <string.h>

static void append(script_sample *s, sterna_token token)
{
    s->token[s->n_token++] = token;
    s->state = script_next(s->state, token);
    s->text_hash = st_hash(s->text_hash, &token, sizeof token);
}

void script_sample_start(script_sample *s, const sterna_model *model, const sterna_request *request,
                         const st_sampling *sampling, int32_t sample, int32_t n_context)
{
    s->model = model;
    s->request = request;
    s->sampling = sampling;
    s->sample = sample;
    s->n_vocab = st_model_config(model)->n_vocab;
    s->n_token = s->n_text = 0;
    s->state = SCRIPT_START;
    s->hash = 0;
    s->text_hash = ST_HASH_SEED;
    for (int32_t i = 0; i < request->n_prompt; i++)
        append(s, request->prompt[i]);
    /* The last token is never computed on: one more than there are positions. */
    s->max_token = n_context + 1;
    if (request->n_predict >= 0 && request->n_prompt + request->n_predict < s->max_token)
        s->max_token = request->n_prompt + request->n_predict;
}

static bool is_stop_token(const script_sample *s, sterna_token token)
{
    bool found = !s->request->ignore_end && sterna_token_is_end(s->model, token);
    for (int32_t i = 0; i < s->request->n_stop_token; i++)
        found = found || s->request->stop_token[i] == token;
    return found;
}

/* Adds a token's text, and cuts the answer at the stop string that begins first; returns its index or -1. */
static int32_t add_text(script_sample *s, sterna_token token)
{
    int n =
        sterna_token_text(s->model, token, s->text + s->n_text, SCRIPT_MAX_TEXT - (size_t)s->n_text, false);
    s->n_text += n > 0 ? n : 0;
    for (int32_t at = 0; s->request->n_stop > 0 && at < s->n_text; at++)
        for (int32_t i = 0; i < s->request->n_stop; i++) {
            int32_t length = (int32_t)strlen(s->request->stop[i]);
            if (length <= s->n_text - at && memcmp(s->text + at, s->request->stop[i], (size_t)length) == 0) {
                s->n_text = at;
                return i;
            }
        }
    return -1;
}

void script_sample_next(script_sample *s, script_event *event)
{
    float logits[SCRIPT_MAX_VOCAB];
    st_candidate scratch[SCRIPT_MAX_VOCAB];
    int32_t last[STERNA_MAX_PENALTY_LAST];
    static st_adjustment adjust[ST_MAX_ADJUST];
    st_topk_stats stats;
    *event = (script_event){.token = -1, .finish = STERNA_FINISH_LENGTH, .stop = -1};
    if (s->n_token >= s->max_token) /* a request for no tokens */
        return;
    script_logits(s->state, s->n_vocab, logits);
    s->hash += st_hash(s->text_hash + (uint64_t)s->sample, logits, (size_t)s->n_vocab * sizeof *logits);
    int32_t n_adjust = st_adjustments(s->sampling, s->token, s->n_token, last, adjust);
    script_topk_row(logits, s->n_vocab, adjust, n_adjust, -1, 0, NULL, &stats);
    if (st_sample_check(&stats, NULL) != STERNA_OK) {
        event->finish = STERNA_FINISH_ERROR;
        return;
    }
    uint64_t index = (uint64_t)(s->n_token - s->request->n_prompt);
    st_candidate choice = st_sample_row(logits, s->n_vocab, adjust, n_adjust, &stats, s->sampling,
                                        (uint32_t)s->sample, index, scratch);
    event->token = choice.token;
    event->logprob = st_logprob(choice.raw, &stats);
    st_top_logprobs_row(logits, s->n_vocab, &stats, s->request->n_logprob, event->top);
    append(s, choice.token);
    event->finish = s->n_token == s->max_token ? STERNA_FINISH_LENGTH : STERNA_FINISH_NONE;
    if (is_stop_token(s, choice.token))
        event->finish = STERNA_FINISH_STOP;
    else if ((event->stop = add_text(s, choice.token)) >= 0)
        event->finish = STERNA_FINISH_STOP;
}
