/* Where time and bytes of a model's inference go: an engine runs prompts of random tokens and generates, on a
 * device whose ops are timed, and every second and byte is attributed to an op and its place in the model. */
#ifndef ST_PROFILE_H
#define ST_PROFILE_H

#include "host/profile/ceiling.h"
#include "host/profile/cost.h"
#include "host/profile/energy.h"

#include <stdio.h>

/* What an op works for. Ops that prepare a linear's input belong to it; so do norms of its output. */
typedef enum st_place {
    ST_PLACE_EMBEDDING,
    ST_PLACE_QKV,
    ST_PLACE_ATTENTION,
    ST_PLACE_ATTENTION_OUTPUT,
    ST_PLACE_GATE_UP,
    ST_PLACE_DOWN,
    ST_PLACE_HEAD,
    ST_PLACE_COUNT
} st_place;
const char *st_place_name(st_place place); /* "gate/up" */

typedef enum st_phase { ST_PHASE_PREFILL, ST_PHASE_DECODE, ST_PHASE_COUNT } st_phase;
const char *st_phase_name(st_phase phase);

typedef struct st_profile_options {
    const char *device;
    int32_t n_thread;   /* 0 = physical cores */
    int32_t n_prompt;   /* random tokens of each sequence; 0 = 512, or as many as fit the context */
    int32_t n_generate; /* decode steps, 1 ... */
    int32_t n_sequence; /* that run at the same time */
    int32_t n_batch;    /* rows of a step at most */
    uint64_t seed;      /* of the prompts */
    sterna_head head;
    bool check;                /* with the checking layer */
    const char *energy_folder; /* ST_ENERGY_FOLDER */
    double ceiling_seconds;    /* for each ceiling; 0 = do not measure them */
    sterna_log_fn log;
    sterna_progress_fn progress; /* of the upload */
    sterna_abort_fn abort;
    void *user;
} st_profile_options;

/* Calls of one variant of an op in one place. */
typedef struct st_profile_row {
    st_op op;
    st_place place;
    const char *variant;
    uint64_t calls;
    double seconds;
    st_cost cost;
} st_profile_row;

typedef struct st_profile_layer {
    double seconds;
    double place_seconds[ST_PLACE_COUNT];
    st_cost cost;
} st_profile_layer;

enum { ST_PROFILE_MAX_ROW = 96 };

/* Steps of a phase. seconds = op + unaccounted + host, exactly: device_seconds go from begin() to end() of
 * the steps, op_seconds are the sum over the rows, what is between the ops is unaccounted, and host_seconds
 * are spent outside: scheduling, writing the batch, reading results, sampling. */
typedef struct st_profile_phase {
    int32_t n_step;
    int64_t n_token; /* prefill: tokens of prompts; decode: generated tokens */
    int64_t n_mixed; /* prefill: rows of sequences that already generate */
    double seconds, device_seconds, op_seconds, host_seconds;
    double own_seconds; /* of the profiler, in none of the others */
    int64_t n_taken;    /* times that the system took a processor away from a thread: other work ran there */
    st_cost cost;
    uint64_t engine_bytes; /* the engine's own count of weight and KV bytes */
    int n_row;
    st_profile_row row[ST_PROFILE_MAX_ROW]; /* in the order of the model, places together */
    st_profile_layer *layer;                /* [n_layer] */
    uint64_t package_uj, dram_uj;           /* where the profile's no_energy is "" */
    int32_t typical;                        /* index of the step whose time is the median */
} st_profile_phase;

typedef struct st_profile_step {
    st_phase phase;
    double start, begin, end, finish; /* seconds since the first measured step began; device: begin ... end */
    int32_t n_token, n_out;           /* rows that are not padding */
    int32_t n_page_used;
    int64_t first_event;
    int32_t n_event; /* 0: not kept */
} st_profile_step;

typedef struct st_profile_event {
    double start; /* as those of steps */
    float seconds;
    int32_t n_row;
    uint64_t bytes;
    int16_t layer; /* -1 = none */
    uint16_t row;  /* of the phase */
} st_profile_event;

typedef struct st_profile {
    st_profile_options options;
    sterna_model_info model;
    sterna_device_info device;
    int32_t n_thread;                /* 0: the device has no threads of ours */
    uint64_t pass_bytes;             /* weights that a step with a wanted row reads */
    uint64_t weight_bytes, kv_bytes; /* device memory */
    int32_t n_page;
    char no_ceiling[160]; /* why there are no ceilings, or "" */
    st_ceiling read, int8;
    char no_energy[256]; /* why there are no joules, or "" */
    int n_package, n_dram;
    st_profile_phase phase[ST_PHASE_COUNT];
    st_profile_step *step; /* [n_step] */
    int32_t n_step;
    st_profile_event *event; /* [n_event] */
    int64_t n_event;
    int32_t n_step_dropped; /* steps without events: there were too many */
} st_profile;

void st_profile_defaults(st_profile_options *options);
/* Strings of `options` and the model must outlive the profile. On failure nothing is left to free. */
sterna_status st_profile_run(const sterna_model *model, const st_profile_options *options,
                             st_profile *profile, sterna_error *error);
void st_profile_free(st_profile *profile);

/* Energy of a phase per token in joules; < 0 where there is none. */
double st_profile_joules(const st_profile *profile, const st_profile_phase *phase);

/* ---- what becomes of it; stream errors are the caller's to look for ---- */
void st_profile_table(const st_profile *profile, bool layers, FILE *out);
void st_profile_json(const st_profile *profile, FILE *out);
/* For ui.perfetto.dev and chrome://tracing. */
void st_profile_trace(const st_profile *profile, FILE *out);
/* One page without scripts and other files. Holds what st_profile_json writes, too. */
void st_profile_html(const st_profile *profile, FILE *out);

#endif
