/* Inside the kernel library (include/sterna/linear.h): what linear_device.c, linear_matrix.c and linear.c
 * share. All of it speaks to devices through the seam only. */
#ifndef ST_ENGINE_LINEAR_H
#define ST_ENGINE_LINEAR_H

#include "host/backend/backend.h"

#include "sterna/linear.h"

enum { ST_LINEAR_MAX_OP = 2 }; /* ops of one step: norm_quant, linear */

struct sterna_device {
    st_device *dev;
    char name[ST_MAX_NAME];
    bool check;
    bool closed;      /* by the user; the last object that lives on it ends it */
    int64_t n_object; /* buffers and linears that live on it */
    uint64_t n_made;  /* so far: objects are numbered, since addresses come again */
    st_log log;
    /* The arrays of every step's batch: all rows are position 0 of sequence 0, which has one position. */
    st_buf *zero; /* i32 [ST_MAX_BATCH] of 0 */
    st_buf *one;  /* i32 [1] of 1 */
    st_batch batch;
    st_trace_row trace[ST_LINEAR_MAX_OP]; /* of the last step that had ops */
    int n_trace;
};

struct sterna_buffer {
    sterna_device *device;
    st_buf *buf;
    uint64_t number;
    bool wrapped;
    /* What the library last quantised into it, if nothing was written since; cols 0 = nothing. Says nothing
     * of wrapped memory, which its owner may have written. */
    st_qact as;
};

/* Ends the device if it was closed and nothing lives on it any more. */
void st_device_unref(sterna_device *device);
/* Runs `ops` as a step of n_row rows; `stream` as in st_batch: all else that shapes the ops. Returns the
 * device's first failure since it was opened. `ops` NULL: an empty step, which only asks for that failure. */
typedef void (*st_step_fn)(void *context);
sterna_status st_device_step(sterna_device *device, int32_t n_row, uint64_t stream, st_step_fn ops,
                             void *context, sterna_error *error);
static inline sterna_status st_device_failure(sterna_device *device, sterna_error *error)
{
    return st_device_step(device, 1, 0, NULL, NULL, error);
}

/* Reads a user's matrix into `user`, checks all of it, and puts it in the seam's terms. */
sterna_status st_matrix_of(const sterna_matrix *theirs, sterna_matrix *user, st_matrix *matrix,
                           st_outliers *outliers, sterna_error *error);
bool st_group_is_legal(int32_t group);

#endif
