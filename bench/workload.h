/* Requests that arrive over time, all from a seed: when, how long, and what they say. */
#ifndef ST_WORKLOAD_H
#define ST_WORKLOAD_H

#include "bench/lists.h"
#include "bench/measure.h"

/* Classes of prompts, drawn by weight. */
typedef struct st_mix {
    int n;
    int32_t length[ST_MAX_LIST];
    double weight[ST_MAX_LIST]; /* they add up to 1 */
} st_mix;

/* "16,64,256" or "16,64,256:6,3,1" */
bool st_parse_mix(const char *text, int32_t max, st_mix *mix);

typedef struct st_arrival {
    double at;        /* seconds from the start */
    int class;        /* of the mix */
    bool shared;      /* begins with the common tokens */
    int32_t n_prompt; /* common tokens included */
    int32_t n_predict;
} st_arrival;

typedef struct st_workload {
    st_mix mix;
    int32_t n_request, n_common; /* n_common: tokens that a share of the prompts begins with */
    double common_share;
    int32_t predict[2]; /* uniform, both included */
    uint64_t seed;
    st_arrival *arrival; /* [n_request], ascending in time */
} st_workload;

/* Fills `arrival` of a workload whose other members are set: a Poisson process of `rate` requests per second;
 * infinite: all at the start. Other rates stretch the same arrivals. False when out of memory. */
bool st_workload_make(st_workload *workload, double rate);
void st_workload_free(st_workload *workload);
/* The tokens of request `index`, n_prompt of them. */
void st_workload_prompt(const st_workload *workload, int32_t index, int32_t n_vocab, sterna_token *tokens);
int32_t st_workload_longest_prompt(const st_workload *workload); /* that there may be */

#endif
