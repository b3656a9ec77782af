/* How tokens are chosen and when to stop: the options that run and chat share, and the fields of a request
 * that come from them. */
#ifndef ST_CLI_SAMPLING_H
#define ST_CLI_SAMPLING_H

#include "host/cli/cli.h"

typedef struct st_sampling {
    int32_t predict, top_k, repeat_last_n, draft;
    float temp, typical, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    uint64_t seed;
    bool ignore_eos;
    st_texts stop, stop_token, logit_bias;
} st_sampling;

extern const st_option_table st_sampling_options;
void st_sampling_defaults(st_sampling *sampling);
/* A request with the single values; lists and prompt are the caller's. */
sterna_request st_sampling_request(const st_sampling *sampling);

/* The lists of a request; what they point to is owned. */
typedef struct st_lists {
    char **stop;
    sterna_token *stop_token;
    sterna_logit_bias *bias;
    int32_t n_stop, n_stop_token, n_bias;
} st_lists;

/* Reads the options' lists. On failure the message is printed and the exit code returned. In any case
 * st_lists_free releases what there is. */
int st_lists_read(st_lists *lists, const char *command, const st_sampling *sampling, int32_t n_vocab);
void st_lists_free(st_lists *lists);
void st_lists_set(const st_lists *lists, sterna_request *request);

#endif
