/* The engine's insides, for its own files and for tests. */
#ifndef ST_ENGINE_H
#define ST_ENGINE_H

#include "host/engine/batch.h"
#include "host/engine/forward.h"
#include "host/engine/sched.h"

enum {
    /* Candidates that come back for each wanted row. llama.cpp's default top_k is 40; top_p and min_p rarely
     * keep more. */
    ST_CANDIDATES = 64,
    /* Rows of logits in a step when scoring. */
    ST_SCORE_ROWS = 64
};

/* Sees every row of logits that is sampled from or scored: of the token after `position`. */
typedef void (*st_watch_fn)(void *user, sterna_request_id id, int32_t sample, int32_t position,
                            const float *logits);

/* Events wait in a ring; what they point to stands in rings beside it. */
typedef struct st_events {
    sterna_event *ring;  /* [capacity] */
    char *text;          /* [capacity][max_text] */
    sterna_logprob *top; /* [capacity][STERNA_MAX_LOGPROB] */
    int32_t capacity, first, count;
    int32_t max_text; /* held back before, and the longest token's text */
} st_events;

struct sterna_engine {
    const sterna_model *model;
    const st_config *config;
    st_device *dev;
    sterna_device_info device;
    st_log log;
    sterna_abort_fn abort;
    void *abort_user;
    bool hash_logits;
    int32_t n_draft, max_out, n_candidate;
    st_sched sched;
    st_request request; /* under construction in sterna_submit */
    st_step_arrays arrays;
    st_forward forward;
    st_events events;
    sterna_statistics statistics;
    double seconds_device; /* of the step at hand */
    sterna_error failure;  /* status other than OK: the device failed, for good */
    /* of a step, on the host */
    int32_t *want;            /* [max_out] */
    st_adjustment *adjust;    /* [max_out][max_adjust] */
    int32_t *n_adjust;        /* [max_out] */
    int32_t max_adjust;       /* of any row ever */
    st_candidate *candidates; /* [max_out][n_candidate] */
    st_topk_stats *stats;     /* [max_out] */
    float *row;               /* [n_vocab] one row of logits */
    st_candidate *scratch;    /* [n_vocab] */
    int32_t *last;            /* [STERNA_MAX_PENALTY_LAST] scratch of penalties */
    st_watch_fn watch;
    void *watch_user;
};

/* As sterna_engine_open, on a device that is already open and belongs to the engine from now on, even if this
 * fails. */
sterna_status st_engine_open_on(const sterna_model *model, const sterna_engine_params *params, st_device *dev,
                                sterna_engine **engine, sterna_error *error);
void st_engine_watch(sterna_engine *engine, st_watch_fn fn, void *user);

/* Runs the rows in engine->arrays, leaves k candidates and stats of each wanted one on the host, and counts
 * time and bytes. Rows' adjustments stand max_adjust apart; 0 = there are none. */
sterna_status st_engine_run(sterna_engine *engine, int32_t k, int32_t max_adjust, bool prompt,
                            sterna_error *error);
/* Copies row `out` of the logits into engine->row. */
void st_engine_read_row(sterna_engine *engine, int32_t out);
/* STERNA_OK, or why the engine does not run: it failed, or the caller aborts. */
sterna_status st_engine_check(const sterna_engine *engine, sterna_error *error);

/* Adds an event; there must be room. */
sterna_event *st_engine_event(sterna_engine *engine, const st_request *request, int32_t sample);
/* Events of one step, at most. */
int32_t st_engine_step_events(const sterna_engine *engine);
/* Adds a token's text to the event: what may be shown of it. True if a stop string ends here. */
bool st_engine_show(sterna_engine *engine, int32_t slot, sterna_event *event, sterna_token token);
/* Completes the last event of a running sample and frees its slot. */
void st_engine_end(sterna_engine *engine, int32_t slot, sterna_event *event, sterna_finish finish,
                   double now);

#endif
