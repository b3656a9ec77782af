/* From the ops of a step to rows, layers and events. */
#ifndef ST_COLLECT_H
#define ST_COLLECT_H

#include "host/engine/weights.h"
#include "host/profile/probe.h"
#include "host/profile/profile.h"

/* Where each weight belongs, in the order in which a step uses them. */
typedef struct st_home {
    const st_weight *weight;
    st_place place;
    int32_t layer; /* -1 = none */
} st_home;

typedef struct st_timed_step {
    double seconds;
    int32_t step;
} st_timed_step;

typedef struct st_collector {
    st_profile *profile;
    st_home *home; /* [n_home] */
    int32_t n_home, next;
    st_home *place;       /* [ST_PROBE_MAX_OP] of each op of the step */
    st_timed_step *timed; /* [max_step] for sorting */
    int64_t max_event;
    int32_t max_step;
} st_collector;

/* Room for max_step steps and the events of as many as are kept. On failure st_collector_close is due. */
sterna_status st_collector_open(st_collector *c, st_profile *profile, const st_weights *weights,
                                int32_t max_step, sterna_error *error);
void st_collector_close(st_collector *c);

/* Adds the probe's last step; `step` holds all but its events. */
sterna_status st_collect(st_collector *c, const st_probe *probe, const st_profile_step *step,
                         sterna_error *error);
/* After the last step: puts rows in order and finds the typical steps. */
void st_collect_end(st_collector *c);

#endif
