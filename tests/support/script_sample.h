/* What a sample on a scripted backend has to give, token by token, predicted from its request alone: without
 * an engine, pages, steps or drafts. The choice itself is st_sample_row's, which has tests of its own. */
#ifndef TEST_SCRIPT_SAMPLE_H
#define TEST_SCRIPT_SAMPLE_H

#include "host/engine/sampler.h"
#include "host/model/model.h"
#include "tests/support/script_text.h"

enum { SCRIPT_MAX_TOKEN = 1025, SCRIPT_MAX_TEXT = 8 * SCRIPT_MAX_TOKEN };

typedef struct script_sample {
    const sterna_model *model;
    const sterna_request *request;
    const st_sampling *sampling; /* the request's */
    int32_t sample, n_vocab;
    int32_t token[SCRIPT_MAX_TOKEN]; /* the prompt, then what was generated */
    int32_t n_token, max_token;
    script_state state;
    char text[SCRIPT_MAX_TEXT]; /* all of the answer so far, up to a stop string */
    int32_t n_text;
    uint64_t text_hash;
    uint64_t hash; /* sum of the hashes of the rows of logits, as in the statistics */
} script_sample;

/* The event that comes next. */
typedef struct script_event {
    sterna_token token; /* -1 with an error, and for a request for no tokens */
    float logprob;
    sterna_logprob top[STERNA_MAX_LOGPROB]; /* [n_logprob] */
    sterna_finish finish;
    int32_t stop;
} script_event;

void script_sample_start(script_sample *s, const sterna_model *model, const sterna_request *request,
                         const st_sampling *sampling, int32_t sample, int32_t n_context);
void script_sample_next(script_sample *s, script_event *event);
#endif
