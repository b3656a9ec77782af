/* Between the two files that run the suite: validate.c and case.c. */
#ifndef ST_VALIDATE_RUNNER_H
#define ST_VALIDATE_RUNNER_H

#include "host/validate/suite.h"

#include <stdlib.h>

struct st_suite {
    const st_validate_options *options;
    st_validate_result *result;
    sterna_error *error;
    sterna_status status;
    jmp_buf failed;
    st_device *ref;
    st_device *dev[ST_VALIDATE_MAX_THREADS]; /* one per thread count */
    bool host;                               /* the device wraps host memory */
    unsigned char *arena;                    /* memory of the current case */
    size_t arena_bytes, arena_used;
    st_case current;
    st_rig rig, reference;
    uint64_t stream; /* number of runs: no two steps share a recording */
};

typedef struct st_miss {
    uint64_t difference;
    char where[160];
} st_miss;

void st_rig_open(const st_case *c, st_device *dev, bool host, st_rig *rig);
void st_rig_close(st_rig *rig);
void st_rig_run(const st_case *c, st_rig *rig);
/* Takes the contents of all buffers as the case's expectation. */
void st_rig_expect(st_case *c, const st_rig *rig);
/* True if all buffers are as expected. */
bool st_rig_compare(st_case *c, const st_rig *rig, st_miss *miss);

#endif
