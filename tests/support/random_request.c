#include "tests/support/random_request.h"

#include <string.h>

int32_t random_below(uint64_t *random, int32_t n)
{
    return (int32_t)(tiny_random(random) % (uint64_t)n);
}

bool random_once(uint64_t *random, int32_t n)
{
    return random_below(random, n) == 0;
}

void random_world_fill(random_world *world, uint64_t *random)
{
    for (int32_t i = 0; i < RANDOM_PREFIX; i++)
        for (int32_t t = 0; t < RANDOM_MAX_PROMPT; t++)
            world->prefix[i][t] = random_below(random, world->n_vocab);
    /* One parts from the first in its third page; one has only another first page; one has equal pages. */
    memcpy(world->prefix[1], world->prefix[0], 150 * sizeof world->prefix[0][0]);
    memcpy(world->prefix[2] + 64, world->prefix[0] + 64,
           (RANDOM_MAX_PROMPT - 64) * sizeof world->prefix[0][0]);
    for (int32_t t = 64; t < RANDOM_MAX_PROMPT; t++)
        world->prefix[3][t] = world->prefix[3][t - 64];
}

/* A common beginning, often of whole pages or one token more or less, and a rest of its own. */
static void make_prompt(random_request *r, const random_world *w, uint64_t *random)
{
    int32_t common = random_once(random, w->lasting ? 6 : 2)
                         ? 64 * (1 + random_below(random, 3)) - 1 + random_below(random, 3)
                         : random_below(random, w->lasting ? 40 : 180);
    int32_t own = random_below(random, common ? 4 : 24) * random_below(random, 8) + !common;
    int32_t n = common + own;
    if (!random_once(random, 100))
        n = (int32_t)st_min(n, w->n_context);
    else
        n = w->n_context + 1 + random_below(random, 9);
    const sterna_token *prefix = w->prefix[random_below(random, RANDOM_PREFIX)];
    for (int32_t i = 0; i < n; i++)
        r->prompt[i] = i < common ? prefix[i] : random_below(random, w->n_vocab);
    r->request.prompt = r->prompt;
    r->request.n_prompt = n;
}

static int32_t any_length(const random_world *w, uint64_t *random)
{
    if (w->lasting)
        return 100 + random_below(random, 100);
    switch (random_below(random, 32)) {
    case 0:
        return -1;
    case 1:
        return 0;
    case 2:
    case 3:
        return 100 + random_below(random, 100);
    default:
        return 1 + random_below(random, 40);
    }
}

static float any_of(uint64_t *random, const float *values, int32_t n)
{
    return values[random_below(random, n)];
}

static void make_sampling(sterna_request *r, const random_world *w, uint64_t *random)
{
    static const float temperatures[] = {0.5f, 0.8f, 1.0f, 1.5f}, masses[] = {0.1f, 0.5f, 0.9f, 0.99f};
    static const float repetition[] = {0.8f, 1.1f, 1.5f}, penalties[] = {-0.5f, 0.25f, 1.0f};
    r->temperature = random_once(random, 2) ? 0.0f : any_of(random, temperatures, 4);
    if (random_once(random, 4))
        r->top_k = 1 + random_below(random, w->n_vocab + 10);
    if (random_once(random, 6))
        r->typical_p = any_of(random, masses, 4);
    if (random_once(random, 4))
        r->top_p = any_of(random, masses, 4);
    if (random_once(random, 6))
        r->min_p = any_of(random, masses, 4);
    if (random_once(random, 6))
        r->repetition_penalty = any_of(random, repetition, 3);
    if (random_once(random, 8))
        r->presence_penalty = any_of(random, penalties, 3);
    if (random_once(random, 8))
        r->frequency_penalty = any_of(random, penalties, 3);
    r->penalty_last_n = random_below(random, 100);
    r->seed = tiny_random(random);
}

/* Distinct tokens; once in a while all that there are are banned, and the request ends with an error. */
static void make_biases(random_request *r, const random_world *w, uint64_t *random)
{
    bool ban_all = w->n_vocab <= RANDOM_MAX_BIAS && random_once(random, 16);
    int32_t n = ban_all ? w->n_vocab : 1 + random_below(random, 8);
    int32_t first = random_below(random, w->n_vocab);
    for (int32_t i = 0; i < n; i++) {
        float bias = ban_all || random_once(random, 4) ? -INFINITY : 4.0f * tiny_uniform(random);
        r->bias[i] =
            (sterna_logit_bias){(first + 5 * i) % w->n_vocab, bias}; /* 5 divides no vocabulary in use */
    }
    r->request.bias = r->bias;
    r->request.n_bias = n;
}

static void make_stops(random_request *r, const random_world *w, uint64_t *random)
{
    sterna_request *q = &r->request;
    if (random_once(random, 4)) {
        q->n_stop_token = 1 + random_below(random, 3);
        q->stop_token = r->stop_token;
        for (int32_t i = 0; i < q->n_stop_token; i++)
            r->stop_token[i] = random_below(random, w->n_vocab);
    }
    if (w->text && random_once(random, 3)) {
        q->n_stop = 1 + random_below(random, 2);
        q->stop = r->stop;
        for (int32_t i = 0; i < q->n_stop; i++) { /* texts run up the alphabet */
            char first = (char)(' ' + random_below(random, '~' - ' '));
            memcpy(r->stop_text[i], (char[]){first, (char)(first + 1), 0, 0}, 4);
            r->stop[i] = r->stop_text[i] + random_below(random, 2);
        }
    }
    q->ignore_end = random_once(random, 2);
}

void random_request_make(random_request *r, const random_world *w, uint64_t *random)
{
    sterna_request *q = &r->request;
    sterna_request_defaults(q);
    make_prompt(r, w, random);
    q->n_predict = any_length(w, random);
    q->n_sample = random_once(random, 4) ? 1 + random_below(random, RANDOM_MAX_SAMPLE) : 1;
    if (random_once(random, 3))
        q->n_logprob = 1 + random_below(random, STERNA_MAX_LOGPROB);
    q->n_draft = random_once(random, 2) ? -1 : random_below(random, w->n_draft + 1);
    make_sampling(q, w, random);
    if (random_once(random, 8))
        make_biases(r, w, random);
    make_stops(r, w, random);
    sterna_error error = {0};
    tiny_check(st_sampling_set(&r->sampling, q, w->n_vocab, &error) == STERNA_OK, error.message);
}
