/* The parts of `sterna run`. */
#ifndef ST_CLI_RUN_H
#define ST_CLI_RUN_H

#include "host/cli/cli.h"
#include "host/cli/text.h"

typedef struct st_run_params {
    const char *model, *prompt, *file, *batch, *output, *device;
    int32_t predict, ctx_size, threads, batch_size, parallel, top_k;
    float temp, top_p, min_p;
    uint64_t seed;
    bool ignore_eos, no_display_prompt, no_hash, check, text;
} st_run_params;

/* One run: what to compute and where the results go. */
typedef struct st_run {
    const st_run_params *params;
    sterna_model *model;
    sterna_engine *engine;
    FILE *out;
    const char *out_name; /* for messages */
    int32_t n_context;
    int broken; /* errno when writing to `out` failed, else 0 */
    uint64_t n_generated;
    double seconds; /* from the first request to the last token */
} st_run;

double st_run_clock(void); /* seconds, monotonic */
/* True once SIGINT has come. */
bool st_run_interrupted(void);
/* Text to tokens, with the special tokens that the model wants; NULL and a message on failure. */
sterna_token *st_run_tokenize(const st_run *run, const char *text, size_t size, int32_t *n,
                              sterna_error *error);
/* The options' sampling, for one request. */
sterna_request st_run_request(const st_run *run);
/* Opens the engine for this many sequences, with a context that holds `n_longest` positions (prompt and
 * generated) or params->ctx_size, whichever is less; then the output file, which nothing before may touch.
 * From here on SIGINT stops in order. */
sterna_status st_run_open_engine(st_run *run, int32_t n_sequence, int64_t n_longest, sterna_error *error);
/* Both return whether all writing has succeeded so far. */
bool st_run_write(st_run *run, const void *data, size_t size);
bool st_run_flush(st_run *run);
const char *st_run_finish_name(sterna_finish finish);

/* Generate from one prompt, or from a file of requests. They return the exit code. */
int st_run_prompt(st_run *run, const char *text, size_t size);
int st_run_batch(st_run *run);

#endif
