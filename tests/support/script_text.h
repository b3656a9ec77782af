/* A language without a model: the logits after a text are a function of a hash of all its tokens. Texts run
 * in short cycles that they leave now and then, so that drafts by look-up are right often but not always;
 * values come in steps of 1/64, so that ties are frequent. The scripted backend speaks it, and tests predict
 * from it what a request alone has to give. */
#ifndef TEST_SCRIPT_TEXT_H
#define TEST_SCRIPT_TEXT_H

#include "host/backend/backend.h"

enum { SCRIPT_MAX_VOCAB = 512, SCRIPT_CYCLE = 5 /* tokens after which a text repeats itself */ };

typedef uint64_t script_state; /* all tokens so far; the low bits are the last one */
#define SCRIPT_START UINT64_C(0)

/* The state after one more token. */
script_state script_next(script_state state, int32_t token);
/* f32 [n_vocab], a function of the state alone. */
void script_logits(script_state state, int32_t n_vocab, float *logits);

/* topk of one row as backend.h defines it, for rows of numbers (no NaN). `candidates` [k] may be NULL. */
void script_topk_row(const float *logits, int32_t n_vocab, const st_adjustment *adjust, int32_t n_adjust,
                     int32_t want, int32_t k, st_candidate *candidates, st_topk_stats *stats);
#endif
