/* A pool of threads for loops: the only user of pthreadpool. */
#ifndef ST_PARALLEL_H
#define ST_PARALLEL_H

#include "host/base/base.h"

typedef struct st_pool st_pool;
/* Computes items first ... first + count - 1 (count <= the loop's tile). */
typedef void (*st_loop_fn)(void *context, int64_t first, int64_t count);

/* 1 <= n_thread <= ST_MAX_THREAD. NULL when threads or memory are exhausted. One thread: everything runs in
 * the caller. */
st_pool *st_pool_create(int n_thread);
void st_pool_destroy(st_pool *pool); /* NULL is fine */

/* Runs fn over [0, n) in tiles of `tile` items, dynamically balanced; returns when all are done. `pool` may
 * be NULL. */
void st_pool_loop(st_pool *pool, int64_t n, int64_t tile, st_loop_fn fn, void *context);
/* The same, after which the pool's threads sleep at once. After st_pool_loop they spin some milliseconds for
 * the next loop, which is right within a step, but takes a core from other pools: loading alternates between
 * the device's and the loader's. */
void st_pool_loop_once(st_pool *pool, int64_t n, int64_t tile, st_loop_fn fn, void *context);

/* Hardware threads this process may run on (at least 1). */
int st_usable_cpus(void);
/* Physical cores this process may run on (at least 1). */
int st_physical_cores(void);
/* Threads for what was asked for: 0 = one for each physical core; never more than may run at once. */
int32_t st_thread_count(int32_t asked);

#endif
