/* Choosing a token from a row of logits.
 *
 * The chain is top_k -> top_p -> min_p -> temperature: of the tokens in descending order of logit (ties by
 * ascending id) the first top_k are kept; of these, by their probabilities among themselves, the shortest
 * beginning that reaches top_p; of these, those with at least min_p times the probability of the first; one
 * of these is drawn with probabilities proportional to exp(logit / temperature). Temperature 0 takes the
 * first. Probabilities are doubles, added in a fixed order, and the random number is Philox4x32-10 of (seed,
 * index of the generated token): the same logits, seed and index give the same token, whatever else runs. */
#ifndef ST_SAMPLER_H
#define ST_SAMPLER_H

#include "host/backend/backend.h"

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). */
void st_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* Uniform in [0, 1) with 53 bits. */
double st_uniform(uint64_t seed, uint64_t index);

/* Refuses a row whose probabilities are not numbers. */
sterna_status st_sample_check(const st_topk_stats *stats, sterna_error *error);
/* Draws from the topk candidates of a row; false if they do not determine the outcome and the whole row is
 * needed. */
bool st_sample(const st_candidate *candidate, int32_t n_candidate, int32_t n_vocab,
               const st_topk_stats *stats, const sterna_sampling *sampling, uint64_t index,
               st_candidate *choice);
/* Draws from the whole row. `scratch` [n_vocab] is destroyed. */
st_candidate st_sample_row(const float *logits, int32_t n_vocab, const st_topk_stats *stats,
                           const sterna_sampling *sampling, uint64_t index, st_candidate *scratch);
/* Natural logarithm of the probability of a token with this raw logit, before any filter. */
float st_logprob(float raw, const st_topk_stats *stats);

#endif
