/* The arrays that describe a step, on the host and on the device. */
#ifndef ST_BATCH_H
#define ST_BATCH_H

#include "host/backend/backend.h"
#include "host/engine/sched.h"

/* Sizes of steps are rounded up to buckets, so that few recordings serve all steps: 1 ... 8, then four sizes
 * for each power of two (10, 12, 14, 16, 20 ...), never more than `most`. At most a fifth of the rows of a
 * larger step are padding. */
int32_t st_bucket(int32_t n, int32_t most);

typedef struct st_step_arrays {
    st_batch batch;
    int32_t max_token, max_seq, max_out, max_page; /* what was allocated */
    int32_t *token, *pos, *seq, *slot;             /* i32 [max_token] */
    int32_t *table, *length, *out;                 /* i32 [max_seq][max_page], [max_seq], [max_out] */
    int32_t *memory;                               /* all of them */
    int32_t n_token, n_seq, n_out, n_block;        /* filled so far; n_block: pages of the longest */
    uint64_t bytes;
} st_step_arrays;

/* On failure the caller still calls st_step_arrays_destroy. */
sterna_status st_step_arrays_create(st_step_arrays *a, st_device *dev, int32_t max_token, int32_t max_seq,
                                    int32_t max_out, int32_t max_page, sterna_error *error);
void st_step_arrays_destroy(st_step_arrays *a, st_device *dev);

void st_step_clear(st_step_arrays *a);
/* Adds rows `first` ... first + count - 1 of a sequence; the caller keeps within the maxima. The last
 * `n_want` rows' logits are wanted. `page` lists the sequence's pages. */
void st_step_add(st_step_arrays *a, const int32_t *token, const int32_t *page, int32_t first, int32_t count,
                 int32_t n_want);
/* Pads to buckets and writes everything to the device. */
void st_step_write(st_step_arrays *a, st_device *dev);

#endif
