/* A device around a device: it passes everything on, and notes the ops of each step with what they cost and
 * the inner device's trace of them. So whoever issues ops and whoever runs them need not know of it. */
#ifndef ST_PROBE_H
#define ST_PROBE_H

#include "host/profile/cost.h"

enum { ST_PROBE_MAX_OP = 16 * ST_MAX_LAYER + 64 }; /* ops of a step; a layer has 9 to 14 */

/* One op of the last step. */
typedef struct st_probe_op {
    st_op op;
    const char *variant;
    double start, seconds;   /* start: since begin() */
    int32_t n_row;           /* rows that are not padding */
    int32_t layer;           /* rope_store, attend; else -1 */
    const st_weight *weight; /* linear; else NULL */
    bool accumulate;         /* norm: adds to its destination */
    st_cost cost;
} st_probe_op;

typedef struct st_probe {
    st_device base;   /* base.backend == &table */
    st_backend table; /* the inner backend's name and info, this layer's functions */
    st_device *inner; /* opened with params.trace */
    const st_batch *batch;
    st_batch_rows *rows;  /* of the last step */
    sterna_error failure; /* the trace is not what was issued; status 0 = none */
    st_trace_row *trace;  /* [ST_PROBE_MAX_OP] */
    /* of the last step */
    st_probe_op *op; /* [ST_PROBE_MAX_OP + 1] */
    int n_op;
    double begun, ended;          /* times when the inner begin() was called and when its end() returned */
    double own_before, own_after; /* seconds spent in this layer before the one and after the other */
} st_probe;

/* Takes ownership of `inner`, even if this fails. */
sterna_status st_probe_open(st_device *inner, st_device **dev, sterna_error *error);
/* `dev` is what st_probe_open returned. */
static inline st_probe *st_probe_of(st_device *dev)
{
    return (st_probe *)(void *)dev;
}

#endif
