/* One call of an op in a test: a reference device, a batch and buffers. All buffers are guarded host memory
 * that the device wraps; after the call the margins must be intact and every input unchanged. */
#ifndef TEST_OP_CASE_H
#define TEST_OP_CASE_H

#include "host/backend/backend.h"
#include "tests/support/guard.h"

enum { CASE_MAX_BUF = 32 };

typedef struct op_case {
    const st_backend *backend;
    st_device *dev;
    st_batch batch;
    struct {
        st_buf *buf;
        guarded memory;
        unsigned char *before; /* contents of an input, else NULL */
    } item[CASE_MAX_BUF];
    int n_item;
} op_case;

/* Opens the device with a batch of no rows. `trace` as in st_device_params. */
void case_open(op_case *c, bool trace);
/* Destroys all buffers of the case and closes the device. */
void case_close(op_case *c);

/* A buffer that the op must leave as it is. */
st_buf *case_input(op_case *c, const void *data, size_t bytes);
/* A buffer that the op may change, all NaN at first. */
st_buf *case_output(op_case *c, size_t bytes);
/* The memory of a buffer of this case. */
void *case_data(const op_case *c, const st_buf *buf);

/* Rows of the batch: pos i32 [n_token] and out i32 [n_out], -1 = padding. All rows belong to sequence 0,
 * whose page b stands at b. */
void case_rows(op_case *c, const int32_t *pos, int32_t n_token, const int32_t *out, int32_t n_out);

void case_begin(op_case *c);
/* NULL if the step succeeded, all margins are intact and all inputs as before; else what is wrong. */
const char *case_end(op_case *c);
/* Runs one op as a step and asserts that nothing is wrong. */
#define CASE_RUN(c, op, args)                                                                                \
    do {                                                                                                     \
        case_begin(c);                                                                                       \
        (c)->backend->op((c)->dev, args);                                                                    \
        const char *wrong = case_end(c);                                                                     \
        cr_assert(!wrong, #op ": %s", wrong);                                                                \
    } while (0)

/* True if all n floats still are the NaN of case_output. */
bool case_untouched(const float *x, int64_t n);

/* A small generator of test values, the same on every machine. */
uint32_t case_random(uint32_t *state);
/* Uniform in [-range, range]. */
float case_uniform(uint32_t *state, float range);

#endif
