/* The checking layer: a device around a device. Private to checked.c (device, memory, steps) and
 * checked_ops.c (arguments of ops). */
#ifndef ST_CHECKED_H
#define ST_CHECKED_H

#include "host/backend/backend.h"

enum {
    CHECKED_MAX_OP = 16384,    /* ops in one step */
    CHECKED_MAX_RECORDING = 64 /* distinct steps whose op streams are remembered; the oldest is forgotten */
};

/* The op stream of a step: one hash per op, so that the first op that differs can be named. */
typedef struct st_recording {
    uint64_t key; /* of the batch struct; 0 = unused */
    uint64_t age;
    int n_op;
    uint64_t *op_hash; /* [CHECKED_MAX_OP] */
    uint8_t *op;       /* [CHECKED_MAX_OP] st_op */
} st_recording;

/* What a buffer holds, as far as int8 inputs go. */
typedef enum st_contents {
    ST_CONTENTS_NONE,     /* nobody wrote into it */
    ST_CONTENTS_GIVEN,    /* written or filled by the caller, who answers for its layout */
    ST_CONTENTS_QUANTISED /* by an op, as `as` says */
} st_contents;

/* A live buffer. */
typedef struct st_live_buf {
    const st_buf *buf;
    bool wrapped; /* the caller's memory: it may have been written past this layer */
    st_contents contents;
    st_qact as;
    st_rows rows;
} st_live_buf;

typedef struct st_checked {
    st_device base;   /* base.backend == &table */
    st_backend table; /* the inner backend's name and info, this layer's functions */
    st_device *inner;
    sterna_error failure; /* the first violation; status 0 = none */

    st_live_buf *bufs;
    int n_buf, max_buf;
    const st_weight **weights;
    int n_weight, max_weight;

    const st_batch *batch; /* NULL outside of a step */
    int32_t *arrays;       /* host copies of the batch's arrays, see checked.c */
    size_t n_arrays;
    const int32_t *token, *pos, *seq, *slot, *table_rows, *length, *out; /* into arrays */
    bool replaying;
    st_recording *current;
    int n_op; /* ops of the current step so far */
    bool known;
    uint64_t clock;
    st_recording recordings[CHECKED_MAX_RECORDING];
} st_checked;

/* Records the first violation: "OP: message". */
void st_checked_fail(st_checked *c, const char *op, const char *format, ...) ST_PRINTF(3, 4);
st_live_buf *st_checked_buf(st_checked *c, const st_buf *buf);
bool st_checked_has_weight(const st_checked *c, const st_weight *weight);
/* Compares the op with the recording of this step, or adds it. False after any violation: the op is not
 * forwarded. */
bool st_checked_note(st_checked *c, st_op op, uint64_t hash);

/* Fills in the op functions of the table. */
void st_checked_ops(st_backend *table);

#endif
