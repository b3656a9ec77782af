/* A model and an engine, as run, chat and perplexity use them: shared options, messages, SIGINT. */
#ifndef ST_CLI_SESSION_H
#define ST_CLI_SESSION_H

#include "host/cli/cli.h"

/* Of every command that computes. */
typedef struct st_session_params {
    const char *model, *device;
    int32_t threads, batch_size, head;
    bool check;
} st_session_params;

/* Of commands that generate. */
typedef struct st_context_params {
    int32_t ctx_size, prefill;
    int64_t kv_memory;
    bool no_prefix_cache;
} st_context_params;

enum { ST_CONTEXT_BY_DEFAULT = -1 }; /* a ctx_size */

extern const st_option_table st_session_options, st_context_options;
void st_session_defaults(st_session_params *params);
void st_context_defaults(st_context_params *params);

typedef struct st_session {
    const char *command; /* for messages */
    const st_session_params *params;
    sterna_model *model;
    sterna_model_info info;
    uint64_t model_hash; /* of samples of the file, see st_session_hash_model */
    sterna_engine *engine;
    int32_t n_context; /* positions of a sequence at most */
} st_session;

/* Opens the model and settles the context's size. On failure the message is printed and the exit code
 * returned. */
int st_session_open_model(st_session *session, int32_t ctx_size);
/* Sets model_hash: FNV-1a of 64 blocks of 4 kB, evenly distributed over the file, and its size. Files that
 * differ everywhere, as those of different trainings do, differ in it. False if the file cannot be read. */
bool st_session_hash_model(st_session *session);
/* The parameters of the options; `context` may be NULL. n_context and n_sequence are the caller's. */
sterna_engine_params st_session_engine_params(const st_session *session, const st_context_params *context);
/* Opens the engine; on failure the message is printed (unless it was SIGINT) and the exit code returned. */
int st_session_open_engine(st_session *session, const sterna_engine_params *params);
void st_session_close(st_session *session);

/* Text to tokens, with the special tokens that the model wants; NULL and a message on failure. */
sterna_token *st_session_tokenize(const st_session *session, const char *text, size_t size,
                                  bool parse_special, int32_t *n, sterna_error *error);

/* From here on the first SIGINT is noted and the second ends the process; with `every`, each is noted, and
 * reading from a terminal is interrupted. */
void st_interrupt_catch(bool every);
bool st_interrupted(void); /* one has come, since the last reset */
void st_interrupt_reset(void);

double st_clock(void); /* seconds, monotonic */

#endif
