/* A backend without arithmetic: host memory, ops that only count, and a begin() that replays on demand. For
 * tests of what stands in front of a backend. */
#ifndef TEST_SCRIPT_BACKEND_H
#define TEST_SCRIPT_BACKEND_H

#include "host/backend/backend.h"

typedef struct script_device {
    st_device base;
    bool replay; /* the next begin() says that a recording will be replayed */
    int n_call[ST_OP_COUNT];
    int n_begin, n_end;
} script_device;

/* Opened as a plain device; close it through the table. */
script_device *script_open(void);
#endif
