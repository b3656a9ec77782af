#define _GNU_SOURCE /* sched_getaffinity */
#include "host/base/parallel.h"

#include <pthread.h>
#include <pthreadpool.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

/* Debian's libpthreadpool is not built for ThreadSanitizer, which therefore cannot see that the pool orders a
 * loop after its caller and the caller after the loop. These two edges are stated by hand. */
#if defined(__SANITIZE_THREAD__)
#define ST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ST_TSAN 1
#endif
#endif
#if defined(ST_TSAN)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#else
#define __tsan_acquire(address) ((void)(address))
#define __tsan_release(address) ((void)(address))
#endif

struct st_pool {
    pthreadpool_t threads; /* NULL: run in the caller */
};

typedef struct loop {
    st_loop_fn fn;
    void *context;
    char forked, joined; /* addresses for the two ordering edges */
} loop;

/* pthreadpool waits for ever for a thread that the system refused. So we see first whether n - 1 more are to
 * be had: all are started, held at a gate, and then let go. */
typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    bool open;
} gate;

static void *wait_at_gate(void *context)
{
    gate *g = context;
    pthread_mutex_lock(&g->mutex);
    while (!g->open)
        pthread_cond_wait(&g->opened, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
    return NULL;
}

static bool threads_are_to_be_had(int n)
{
    gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    pthread_t thread[ST_MAX_THREAD];
    int started = 0;
    while (started < n && pthread_create(&thread[started], NULL, wait_at_gate, &g) == 0)
        started++;
    pthread_mutex_lock(&g.mutex);
    g.open = true;
    pthread_cond_broadcast(&g.opened);
    pthread_mutex_unlock(&g.mutex);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    return started == n;
}

/* The pool's threads are no place for the program's signal handlers: a thread that waits for a signal in the
 * program would not see it. Threads inherit the mask of who starts them. */
static pthreadpool_t create_threads(int n_thread)
{
    sigset_t all, before;
    sigfillset(&all);
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}; /* a thread's own doing */
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthreadpool_t threads = threads_are_to_be_had(n_thread - 1) ? pthreadpool_create((size_t)n_thread) : NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return threads;
}

st_pool *st_pool_create(int n_thread)
{
    assert(n_thread >= 1 && n_thread <= ST_MAX_THREAD);
    st_pool *pool = st_calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    if (n_thread > 1) {
        pool->threads = create_threads(n_thread);
        if (!pool->threads) {
            st_free(pool);
            return NULL;
        }
    }
    return pool;
}

void st_pool_destroy(st_pool *pool)
{
    if (!pool)
        return;
    if (pool->threads)
        pthreadpool_destroy(pool->threads);
    st_free(pool);
}

static void run_tile(void *context, size_t first, size_t count)
{
    loop *l = context;
    __tsan_acquire(&l->forked);
    l->fn(l->context, (int64_t)first, (int64_t)count);
    __tsan_release(&l->joined);
}

static void run(st_pool *pool, int64_t n, int64_t tile, st_loop_fn fn, void *context, uint32_t flags)
{
    assert(n >= 0 && tile >= 1);
    if (n == 0)
        return;
    if (!pool || !pool->threads || n <= tile) {
        for (int64_t first = 0; first < n; first += tile)
            fn(context, first, st_min(tile, n - first));
        return;
    }
    loop l = {.fn = fn, .context = context};
    __tsan_release(&l.forked);
    pthreadpool_parallelize_1d_tile_1d(pool->threads, run_tile, &l, (size_t)n, (size_t)tile, flags);
    __tsan_acquire(&l.joined);
}

void st_pool_loop(st_pool *pool, int64_t n, int64_t tile, st_loop_fn fn, void *context)
{
    run(pool, n, tile, fn, context, 0);
}

void st_pool_loop_once(st_pool *pool, int64_t n, int64_t tile, st_loop_fn fn, void *context)
{
    run(pool, n, tile, fn, context, PTHREADPOOL_FLAG_YIELD_WORKERS);
}

int st_usable_cpus(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 1;
    int cpus = CPU_COUNT(&allowed);
    return cpus > 0 ? cpus : 1;
}

/* A core is counted once, by the lowest-numbered of its hardware threads that we may use. */
int st_physical_cores(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 1;
    int cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        char path[96];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        int lowest = cpu;
        FILE *file = fopen(path, "r");
        if (file) {
            int first;
            if (fscanf(file, "%d", &first) == 1 && first >= 0 && first < CPU_SETSIZE &&
                CPU_ISSET(first, &allowed))
                lowest = first;
            fclose(file);
        }
        cores += lowest == cpu;
    }
    return cores > 0 ? cores : 1;
}

int32_t st_thread_count(int32_t asked)
{
    return (int32_t)(asked ? st_min(asked, st_usable_cpus()) : st_min(st_physical_cores(), ST_MAX_THREAD));
}
