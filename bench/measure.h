/* Clock, random numbers and order statistics of measurements. */
#ifndef ST_MEASURE_H
#define ST_MEASURE_H

#include "sterna/sterna.h"

double st_clock(void);     /* seconds, monotonic */
double st_clock_cpu(void); /* seconds of computing by all threads of the process */

/* Waits until no thread of the process computes, at most 200 times 1 ms. After a loop the threads of a pool
 * spin for some ten milliseconds; if another pool's begin meanwhile, there are more threads than cores, and
 * the system makes some wait for its next tick: a call of 80 us then takes 4 ms. */
void st_settle(void);

/* The largest resident set of the process since the last st_peak_reset(), in bytes; 0 where the system does
 * not tell. */
void st_peak_reset(void);
uint64_t st_peak_bytes(void);

/* ---- random numbers: splitmix64, so that a seed means the same everywhere ---- */
uint64_t st_draw(uint64_t *state);
double st_draw_unit(uint64_t *state); /* (0, 1) */
/* 0 ... n - 1 */
int32_t st_draw_below(uint64_t *state, int32_t n);
/* An independent stream of a seed. */
uint64_t st_stream(uint64_t seed, uint64_t index);
void st_draw_tokens(uint64_t *state, int32_t n_vocab, sterna_token *tokens, int32_t n);

/* Hash of a sequence of tokens, extended by one; begin with ST_TOKEN_HASH. */
#define ST_TOKEN_HASH UINT64_C(0xcbf29ce484222325)
uint64_t st_hash_token(uint64_t hash, sterna_token token);

/* ---- order statistics ---- */
void st_sort(double *values, size_t n);
/* Nearest rank: the smallest of n sorted values that `percent` % of them do not exceed, i.e. the
 * ceil(percent / 100 * n)-th. NaN for n == 0. */
double st_percentile(const double *sorted, size_t n, double percent);
/* Of sorted values; the mean of the middle two for even n. */
double st_median(const double *sorted, size_t n);

#endif
