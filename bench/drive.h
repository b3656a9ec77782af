/* Plays a workload to an engine in time: an open loop, in which requests arrive whether or not the
 * engine keeps up, on one thread: submit what is due, run a step, take its events. */
#ifndef ST_DRIVE_H
#define ST_DRIVE_H

#include "bench/workload.h"

/* What became of a request. Times are seconds from the start of the workload. */
typedef struct st_outcome {
    sterna_request_id id;
    double submitted, first, last; /* first, last: token */
    double queued;                 /* in the engine, before it started; NaN with cpu_clock */
    int32_t n_generated, n_cached, n_preempted;
    int64_t first_gap; /* of its n_generated - 1 gaps in st_drive.gap */
    uint64_t hash;     /* of its tokens */
    bool finished;
} st_outcome;

typedef struct st_drive {
    const st_workload *workload;
    int32_t n_vocab;
    bool cpu_clock;      /* time is that of computing, and waiting for a request takes none */
    st_outcome *outcome; /* [n_request] */
    double *gap;         /* between the tokens of each request, in seconds */
    int64_t n_gap;
    double seconds;               /* from the start to the last event */
    sterna_statistics statistics; /* of the engine since the start */
    int64_t n_busy;               /* times the engine's queue was full */
    int32_t n_inside_max;         /* requests submitted and not finished, at most */
    int32_t n_finished;
    bool (*go_on)(const struct st_drive *drive, double now); /* asked after each step; false stops it */
    /* private */
    sterna_engine *engine;
    double zero;          /* of the clock */
    sterna_token *tokens; /* the longest prompt */
    int32_t *slot;        /* hash table of ids: index of the outcome + 1, 0 = empty */
    uint32_t mask;
    int32_t n_sent;
} st_drive;

/* Runs it to the end. drive->workload, n_vocab, cpu_clock and go_on are set, all else is zero; free it
 * in any case. */
sterna_status st_drive_run(st_drive *drive, sterna_engine *engine, sterna_error *error);
void st_drive_free(st_drive *drive);

#endif
