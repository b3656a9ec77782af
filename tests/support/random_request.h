/* Requests of every kind, at random: prompts with common beginnings, samples, filters, penalties, biases,
 * stops. */
#ifndef TEST_RANDOM_REQUEST_H
#define TEST_RANDOM_REQUEST_H

#include "host/engine/sampler.h"
#include "tests/support/tiny_model.h"

enum {
    RANDOM_MAX_PROMPT = 600,
    RANDOM_MAX_SAMPLE = 5,
    RANDOM_PREFIX = 4, /* texts that prompts begin with */
    RANDOM_MAX_BIAS = 64
};

/* What requests have to keep to, and what they have in common. */
typedef struct random_world {
    int32_t n_vocab, n_context, n_draft;
    bool lasting; /* answers fill several pages */
    bool text;    /* the model has a tokenizer, so there may be stop strings */
    sterna_token prefix[RANDOM_PREFIX][RANDOM_MAX_PROMPT];
} random_world;

void random_world_fill(random_world *world, uint64_t *random);

typedef struct random_request {
    sterna_request request; /* points into this struct */
    sterna_token prompt[RANDOM_MAX_PROMPT], stop_token[3];
    sterna_logit_bias bias[RANDOM_MAX_BIAS];
    char stop_text[2][4];
    const char *stop[2];
    st_sampling sampling; /* what the engine makes of it */
} random_request;

/* One prompt of a hundred is longer than the context. */
void random_request_make(random_request *r, const random_world *world, uint64_t *random);

/* 0 ... n - 1 */
int32_t random_below(uint64_t *random, int32_t n);
/* True once in n. */
bool random_once(uint64_t *random, int32_t n);
#endif
