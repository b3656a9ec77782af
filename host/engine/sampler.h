/* Choosing a token from a row of logits.
 *
 * The chain is penalties and biases -> top_k -> typical_p -> top_p -> min_p -> temperature -> the draw. Let v
 * be the adjusted logits of a row and w = exp(v - the largest v) a token's weight: its probability at
 * temperature 1, times a constant. The rank of tokens is by descending v, ties by ascending token.
 *
 * - top_k keeps the first k in rank.
 * - typical_p keeps the tokens whose surprise -log p differs least from its mean, the entropy H, ties by
 *   rank, until their weights reach typical_p times the sum of those that top_k has left; at least one.
 *   With g = largest v - v, -log p - H is g - (sum w g / sum w), and is computed so.
 * - top_p keeps, in rank, the beginning of what is left whose weights reach top_p times their sum; at least
 *   one.
 * - min_p keeps those with at least min_p times the weight of the likeliest that is left.
 * - The draw takes, in rank, the first token at which the running sum of exp(v / temperature) passes
 *   st_uniform times its total. Without any filter it goes by ascending token instead.
 * - Temperature 0 takes the first in rank of the whole row, whatever the filters say.
 *
 * Weights are doubles, computed here by + - * / and the bits of doubles, so that a choice does not depend on
 * the C library. Each sum has one order. The total of typical_p, and its mean: in rank if there is a top_k,
 * else by ascending token. The total of top_p: in order of typicality after typical_p, else in rank if there
 * is a top_k, else it is adjusted_sum_exp of topk. So the same logits, adjustments, seed, sample and index
 * give the same token, from candidates or from the row, whatever else runs. */
#ifndef ST_SAMPLER_H
#define ST_SAMPLER_H

#include "host/backend/backend.h"

/* Adjustments of a row: one for each biased token, and each different token that penalties look at. */
enum { ST_MAX_ADJUST = STERNA_MAX_BIAS + STERNA_MAX_PENALTY_LAST };

/* What a request asks of the sampler; checked. */
typedef struct st_sampling {
    float temperature;
    int32_t top_k;
    float typical_p, top_p, min_p;
    float repetition_penalty, presence_penalty, frequency_penalty;
    int32_t penalty_last_n;
    uint64_t seed;
    int32_t n_bias;
    sterna_logit_bias bias[STERNA_MAX_BIAS]; /* ascending distinct tokens */
} st_sampling;

/* ---- sampling.c: what comes before the choice ---- */

/* Copies and checks the sampling part of a request. */
sterna_status st_sampling_set(st_sampling *s, const sterna_request *r, int32_t n_vocab, sterna_error *error);

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). */
void st_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* Uniform in [0, 1) with 53 bits: the counter is {index low, index high, sample, 0}, the key is the seed. */
double st_uniform(uint64_t seed, uint32_t sample, uint64_t index);

/* Penalties and biases before the token that follows token[0 ... n_token - 1], as topk takes them: ascending
 * distinct tokens, none without effect; returns their number. Penalised tokens get positive = 1 / repetition,
 * negative = repetition and add = (bias - count * frequency) - presence, each operation rounded to f32. A ban
 * stands alone: 1, 1, -inf. `scratch` [STERNA_MAX_PENALTY_LAST], `adjust` [ST_MAX_ADJUST]. */
int32_t st_adjustments(const st_sampling *s, const int32_t *token, int32_t n_token, int32_t *scratch,
                       st_adjustment *adjust);

/* Refuses a row that has no probabilities: because of the logits (STERNA_E_DEVICE), or because of what a
 * request's penalties and biases make of them (STERNA_E_ARGUMENT). All below is for rows that pass. */
sterna_status st_sample_check(const st_topk_stats *stats, sterna_error *error);

/* ---- sampler.c: the choice ---- */

/* Draws from the topk candidates of a row (at most ST_MAX_TOPK). False if they do not determine the outcome
 * and the whole row is needed. They do
 * - at temperature 0;
 * - if top_k keeps no more tokens than there are candidates (and fewer than there are tokens);
 * - with top_p or min_p and without typical_p, if these end within the candidates: one makes the sum reach
 *   top_p, or falls short of min_p, or there is no token besides them. But a top_p of what a larger top_k
 *   leaves needs the total of all these, so the row. */
bool st_sample(const st_candidate *candidate, int32_t n_candidate, int32_t n_vocab,
               const st_topk_stats *stats, const st_sampling *sampling, uint32_t sample, uint64_t index,
               st_candidate *choice);

/* Draws from the whole row of raw logits. Without filters, one pass over the row; with filters, tokens are
 * put in order as far as the filters ask for. `scratch` [n_vocab]. */
st_candidate st_sample_row(const float *logits, int32_t n_vocab, const st_adjustment *adjust,
                           int32_t n_adjust, const st_topk_stats *stats, const st_sampling *sampling,
                           uint32_t sample, uint64_t index, st_candidate *scratch);

/* Natural logarithm of the probability of a token with this raw logit, before any change. */
float st_logprob(float raw, const st_topk_stats *stats);

/* The n likeliest tokens by raw logit, descending, ties by ascending token; n is at most STERNA_MAX_LOGPROB
 * and n_vocab. From candidates: false if there are fewer, or if there are adjustments: a likely token that
 * was lowered may be missing then. */
bool st_top_logprobs(const st_candidate *candidate, int32_t n_candidate, int32_t n_adjust,
                     const st_topk_stats *stats, int32_t n, sterna_logprob *top);
void st_top_logprobs_row(const float *logits, int32_t n_vocab, const st_topk_stats *stats, int32_t n,
                         sterna_logprob *top);

#endif
