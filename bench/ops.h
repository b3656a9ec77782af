/* Between the files of sterna-bench ops: what to measure, what was measured. */
#ifndef ST_OPS_H
#define ST_OPS_H

#include "bench/compare.h"
#include "bench/lists.h"
#include "bench/ops_rig.h"
#include "bench/report.h"
#include "host/profile/ceiling.h"

typedef enum st_ops_sequences { ST_OPS_AUTO, ST_OPS_EACH, ST_OPS_ONE } st_ops_sequences;

/* The command line, understood. */
typedef struct st_ops_plan {
    const char *device, *variant; /* variant: "auto", "all" or a name */
    st_op_shapes shapes;
    int32_t rows[ST_MAX_SERIES], depths[ST_MAX_SERIES], threads[ST_MAX_SERIES];
    int n_rows, n_depths, n_threads;
    st_ops_sequences sequences;
    int32_t repetitions;
    size_t footprint, cache; /* cache: largest, 0 = unknown */
    double limit;            /* seconds of a line; 0 = none */
    bool baselines;
    const char *compare; /* file, or NULL */
    st_format format;
} st_ops_plan;

typedef struct st_ops_line {
    const st_op_shape *shape;
    st_op_rows rows;
    int machine; /* index: the thread count */
    char variant[64];
    const char *type; /* of weights, or "" */
    bool baseline;
    int n_run, n_call;                        /* n_call: calls of the op in a run */
    double seconds, iqr_percent, least, most; /* of a call; seconds: median */
    uint64_t bytes, macs;
    size_t footprint; /* operands in turn; 0: all of them stay */
    bool int8;
} st_ops_line;

/* A number of threads, and what the machine can do with it. */
typedef struct st_ops_machine {
    int32_t n_thread;
    bool measured;
    st_ceiling read, int8;
    st_ceiling isa[ST_CEILING_LOOPS]; /* int8 by instruction set */
    int n_isa;
} st_ops_machine;

enum { ST_OPS_SKIPPED = 3 };

typedef struct st_ops_result {
    const st_ops_plan *plan;
    sterna_device_info device;
    st_ops_machine machine[ST_MAX_SERIES];
    int n_machine;
    char no_ceilings[160];                 /* why there are none, or "" */
    char no_baseline[ST_OPS_SKIPPED][200]; /* why one was skipped, or "" */
    st_ops_line *line;
    int n_line, room;
} st_ops_result;

/* Measures everything; messages are printed. Returns an exit code. Free the result in any case. */
int st_ops_measure(const st_ops_plan *plan, st_ops_result *result);
void st_ops_free(st_ops_result *result);

/* Prints the report, with `compare` (may be NULL) beside it. Returns an exit code. */
int st_ops_report(const st_ops_result *result, st_compare *compare, FILE *out);
extern const char *const st_ops_keys[];
extern const int st_ops_n_key;

#endif
