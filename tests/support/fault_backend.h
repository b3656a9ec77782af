/* The CPU backend with a planted fault: after the chosen op has run, one bit of one element that it wrote is
 * flipped. For tests of what should notice. */
#ifndef TEST_FAULT_BACKEND_H
#define TEST_FAULT_BACKEND_H

#include "host/backend/backend.h"

typedef enum fault_kind {
    FAULT_RESULT, /* a result differs in its last bit */
    FAULT_INPUT,  /* an input is changed */
    FAULT_KEY,    /* rope_store: a stored key differs in its last bit */
    FAULT_GUARD   /* the first byte past the end of the result's rows is written */
} fault_kind;

/* A table that misbehaves in `op` until the next call of this function. */
const st_backend *fault_backend(st_op op, fault_kind kind);

#endif
