/* Between the files of sterna-bench model: passes over an engine, and rows of the report. */
#ifndef ST_MODEL_BENCH_H
#define ST_MODEL_BENCH_H

#include "bench/compare.h"
#include "bench/lists.h"
#include "host/profile/ceiling.h"
#include "sterna/sterna.h"

#include <stdio.h>

/* ---- passes (model_pass.c) ---- */

/* An engine without drafts, and sequences of random tokens for it. */
typedef struct st_passes {
    sterna_engine *engine;
    int32_t n_vocab, n_sequence, room; /* room: tokens of each sequence */
    int32_t n_batch;
    uint64_t seed;
    sterna_token *tokens;  /* [n_sequence][room] */
    sterna_request_id *id; /* [n_sequence] */
    int32_t n_submitted;
} st_passes;

/* What a pass took. */
typedef struct st_pass_result {
    double seconds;
    uint64_t n_token; /* computed */
    uint64_t bytes;   /* weights and KV that had to move */
} st_pass_result;

/* Positions of a sequence that is generating for n_generate steps while the others of n_sequence still get
 * their prompts. */
int64_t st_pass_positions(int32_t n_sequence, int64_t n_prompt, int32_t n_generate, int32_t n_batch);
sterna_status st_passes_open(st_passes *passes, int32_t n_sequence, int32_t room, sterna_error *error);
void st_passes_close(st_passes *passes);

/* New tokens from position `first` on, which depend on `index`; `shared`: the same in all sequences. */
void st_passes_tokens(st_passes *passes, int32_t first, uint64_t index, bool shared);
/* Prompts of n tokens for the first n_sequence sequences, each to its first generated token. What the cache
 * has of them is not computed. */
sterna_status st_pass_prompt(st_passes *passes, int32_t n_sequence, int32_t n, st_pass_result *result,
                             sterna_error *error);
/* n steps in which each of the sequences generates a token; their prompts before it are not timed. */
sterna_status st_pass_generate(st_passes *passes, int32_t n_sequence, int32_t n_prompt, int32_t n,
                               st_pass_result *result, sterna_error *error);
/* A prompt and n tokens after it, all timed. */
sterna_status st_pass_both(st_passes *passes, int32_t n_prompt, int32_t n, st_pass_result *result,
                           sterna_error *error);

/* ---- rows (model_report.c) ---- */

typedef enum st_model_format {
    ST_MODEL_TABLE,
    ST_MODEL_MD,
    ST_MODEL_CSV,
    ST_MODEL_JSON,
    ST_MODEL_JSONL
} st_model_format;

/* A test, as llama-bench has them, or (n_sequence > 0) a line as of llama-batched-bench. */
typedef struct st_model_row {
    int32_t n_prompt, n_generate, depth, n_sequence;
    bool shared;
    int machine; /* index: the thread count */
    char test[64], time[24];
    double *seconds, *rate;     /* [n_sample]; batched: of prompts */
    double *seconds_2, *rate_2; /* [n_sample] batched: of generating */
    int n_sample;
    uint64_t n_token, bytes; /* of all samples; batched: of generating */
    double total_seconds;    /* of the same */
} st_model_row;

typedef struct st_model_machine {
    int32_t n_thread;
    bool measured;
    st_ceiling read;
    double load_seconds; /* to open the first engine with so many threads */
    uint64_t load_bytes; /* resident at most until then; 0 = unknown */
    uint64_t kv_bytes;
} st_model_machine;

typedef struct st_model_result {
    st_model_format format;
    const char *file; /* model or shape */
    int32_t n_batch, repetitions;
    const char *head;
    sterna_model_info model;
    sterna_device_info device;
    char cpu[192];
    st_model_machine machine[ST_MAX_SERIES];
    st_model_row *row;
    int n_row, room;
} st_model_result;

extern const char *const st_model_keys[];
extern const int st_model_n_key;
/* Returns an exit code. */
int st_model_report(const st_model_result *result, st_compare *compare, FILE *out);

#endif
