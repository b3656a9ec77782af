/* A backend without arithmetic, for tests of what stands in front of a backend: host memory, and ops that
 * only count; or, with a shadow (script_shadow.h), a device that speaks a language of its own and checks
 * everything that it is told, fast enough for whole engines. */
#ifndef TEST_SCRIPT_BACKEND_H
#define TEST_SCRIPT_BACKEND_H

#include "tests/support/script_shadow.h"

typedef struct script_device {
    st_device base;
    bool replay; /* the next begin() says that a recording will be replayed */
    int n_call[ST_OP_COUNT];
    int n_begin, n_end;
    script_shadow *shadow; /* NULL: ops only count */
} script_device;

/* Opened as plain devices; close them through the table. */
script_device *script_open(void);
script_device *script_open_shadow(void);
#endif
