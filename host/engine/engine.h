/* The engine's insides, for its own files and for tests. */
#ifndef ST_ENGINE_H
#define ST_ENGINE_H

#include "host/engine/batch.h"
#include "host/engine/forward.h"
#include "host/engine/sampler.h"

enum {
    /* Candidates that come back for each wanted row. llama.cpp's default top_k is 40; top_p and min_p rarely
     * keep more. */
    ST_CANDIDATES = 64,
    /* Rows of logits in a step when scoring; generation needs one for each sequence. */
    ST_SCORE_ROWS = 64
};

/* Sees every row of logits that is sampled from or scored: of the token after `position`. */
typedef void (*st_watch_fn)(void *user, sterna_request_id id, int32_t position, const float *logits);

typedef struct st_events {
    sterna_event *ring; /* [capacity] */
    int32_t capacity, first, count;
} st_events;

struct sterna_engine {
    const sterna_model *model;
    const st_config *config;
    st_device *dev;
    sterna_device_info device;
    st_log log;
    bool hash_logits;
    int32_t max_out, n_candidate;
    st_sched sched;
    st_step_arrays arrays;
    st_forward forward;
    st_events events;
    sterna_statistics statistics;
    sterna_error failure; /* status other than OK: the device failed, for good */
    /* results of a step, on the host */
    st_candidate *candidates; /* [max_out][n_candidate] */
    st_topk_stats *stats;     /* [max_out] */
    int32_t *want;            /* [max_out] */
    float *row;               /* [n_vocab] one row of logits */
    st_candidate *scratch;    /* [n_vocab] */
    st_watch_fn watch;
    void *watch_user;
};

/* As sterna_engine_open, on a device that is already open and belongs to the engine from now on, even if this
 * fails. */
sterna_status st_engine_open_on(const sterna_model *model, const sterna_engine_params *params, st_device *dev,
                                sterna_engine **engine, sterna_error *error);
void st_engine_watch(sterna_engine *engine, st_watch_fn fn, void *user);

/* Runs the rows in engine->arrays, leaves candidates and stats on the host, and counts time and bytes. */
sterna_status st_engine_run(sterna_engine *engine, int32_t k, bool prompt, sterna_error *error);
/* Copies row `out` of the logits into engine->row. */
void st_engine_read_row(sterna_engine *engine, int32_t out);
/* Adds an event; there must be room. */
sterna_event *st_engine_event(sterna_engine *engine, sterna_request_id id);
/* Completes the last event of a running request and frees its slot. */
void st_engine_end(sterna_engine *engine, int32_t slot, sterna_event *event, sterna_finish finish,
                   double now);

#endif
