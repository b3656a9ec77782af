/* One op on a device with everything it works on: weights and KV that are more than the caches hold, used in
 * turn, so that each call finds its own in memory; activations that stay where they are, as in a step, which
 * has just written them. */
#ifndef ST_OPS_RIG_H
#define ST_OPS_RIG_H

#include "bench/shapes.h"

enum { ST_RIG_BUFS = 8, ST_RIG_MAX_CALL = 64 };

typedef struct st_op_rig {
    const st_op_shape *shape;
    st_device *dev; /* with a trace */
    st_weight **weight;
    int n_weight;
    st_buf *buf[ST_RIG_BUFS];
    st_qact quant;             /* the quantised buffer, where there is one */
    int32_t n_page, page_step; /* KV: order of pages */
    int32_t max_row;
    /* rows of the calls: st_op_rig_rows */
    st_batch *batch; /* [n_batch] used in turn */
    st_buf **batch_buf;
    int n_batch, n_batch_buf;
    int32_t n_row, depth;
    bool prompt;
    uint64_t stream; /* steps with different arguments differ in it */
    int next;
} st_op_rig;

/* What rows are: `depth` positions of their sequence are before the first, and it is one sequence (prompt)
 * or one for each row. Other ops than attend and rope_store do not look at it. */
typedef struct st_op_rows {
    int32_t n_row, depth;
    bool prompt;
} st_op_rows;

/* Memory for all of `rows`; operands are used in turn through `footprint` bytes. Close it in any case. */
sterna_status st_op_rig_open(st_op_rig *rig, st_device *dev, const st_op_shape *shape, size_t footprint,
                             const st_op_rows *rows, int n_rows, sterna_error *error);
void st_op_rig_close(st_op_rig *rig);
sterna_status st_op_rig_rows(st_op_rig *rig, const st_op_rows *rows, sterna_error *error);
/* Calls the op n times (ST_RIG_MAX_CALL at most), each with the next operands; *seconds: of one call.
 * *variant: what ran. */
sterna_status st_op_rig_run(st_op_rig *rig, int n, double *seconds, const char **variant,
                            sterna_error *error);

/* Of a call: bytes as st_bytes_* count them (attend: keys and values once, whoever of a sequence looks), and
 * multiply-accumulates, 0 where they are not what the op does. */
uint64_t st_op_rig_bytes(const st_op_rig *rig);
uint64_t st_op_rig_macs(const st_op_rig *rig);
/* Operands that are used in turn; 0 for ops that have only activations. */
size_t st_op_rig_footprint(const st_op_rig *rig);
/* The input is int8. */
bool st_op_is_int8(const st_op_shape *shape);

#endif
