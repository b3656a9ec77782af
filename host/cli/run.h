/* The parts of `sterna run`. */
#ifndef ST_CLI_RUN_H
#define ST_CLI_RUN_H

#include "host/cli/sampling.h"
#include "host/cli/session.h"
#include "host/cli/text.h"

typedef struct st_run_params {
    st_session_params session;
    st_context_params context;
    st_sampling sampling;
    const char *prompt, *file, *batch, *output;
    int32_t parallel, samples, logprobs;
    bool no_display_prompt, no_hash, text, json, resume;
} st_run_params;

/* One run: what to compute and where the results go. */
typedef struct st_run {
    const st_run_params *params;
    st_session session;
    st_lists lists; /* of the options */
    FILE *out;
    const char *out_name; /* for messages */
    int broken;           /* errno when writing to `out` failed, else 0 */
    uint64_t n_generated;
    double seconds; /* from the first request to the last token */
} st_run;

/* The options' sampling, for one request. */
sterna_request st_run_request(const st_run *run);
/* Opens the engine for this many sequences, with drafts of at most `n_draft` tokens and a context that holds
 * `n_longest` positions (prompt and generated) or what the options say, whichever is less. From here on
 * SIGINT stops in order. On failure the message is printed and the exit code returned. */
int st_run_open_engine(st_run *run, int64_t n_sequence, int64_t n_longest, int32_t n_draft);
/* Refuses an output file that is an input. */
int st_run_check_output(const st_run *run);
/* Opens the output file, which nothing before may touch; `mode` is fopen's. */
int st_run_open_output(st_run *run, const char *mode);
/* Both return whether all writing has succeeded so far. */
bool st_run_write(st_run *run, const void *data, size_t size);
bool st_run_flush(st_run *run);

/* Generate from one prompt, or from a file of requests. They return the exit code. */
int st_run_prompt(st_run *run, const char *text, size_t size);
int st_run_batch(st_run *run, const char *text, size_t size); /* of one prompt if there is no --batch */

#endif
