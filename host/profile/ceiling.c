#include "host/profile/ceiling.h"

#include "host/base/parallel.h"

#include <string.h>

enum { MIN_PASS = 3, MAX_PASS = 10000 };

/* ---- plain C, which the compiler vectorises for the baseline of its target ---- */

static uint64_t read_portable(const unsigned char *block)
{
    const uint64_t *word = (const uint64_t *)(const void *)block;
    uint64_t sum[8] = {0};
    for (int i = 0; i < ST_CEILING_BLOCK / 64; i++)
        for (int j = 0; j < 8; j++)
            sum[j] += word[8 * i + j];
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static int32_t multiply_portable(const unsigned char *codes, const int8_t *activations)
{
    int32_t sum = 0;
    for (int r = 0; r < ST_CEILING_REPEAT; r++) {
        int32_t one = 0;
        for (int i = 0; i < ST_CEILING_CODES; i++)
            one += codes[i] * activations[i];
        sum += one ^ r; /* so that passes are not the same */
        codes += 64;
    }
    return sum;
}

const st_ceiling_loops st_ceiling_portable = {"portable", NULL, NULL, read_portable, multiply_portable};

/* Best first. */
static const st_ceiling_loops *const all_loops[] = {&st_ceiling_avx512vnni, &st_ceiling_avx2,
                                                    &st_ceiling_portable};
enum { N_LOOPS = sizeof all_loops / sizeof all_loops[0] };

static bool usable(const st_ceiling_loops *loops, const char *isa)
{
    return loops->read && (!loops->word || strstr(isa, loops->word)) &&
           (!loops->supported || loops->supported());
}

/* ---- passes ---- */

typedef struct pass {
    const st_ceiling_loops *loops;
    unsigned char *memory;
    uint64_t *result; /* [n] what the loops return, so that they have to run */
} pass;

static void write_blocks(void *context, int64_t first, int64_t count)
{
    const pass *p = context;
    memset(p->memory + (size_t)first * ST_CEILING_BLOCK, 1, (size_t)count * ST_CEILING_BLOCK);
}

static void read_blocks(void *context, int64_t first, int64_t count)
{
    const pass *p = context;
    for (int64_t i = first; i < first + count; i++)
        p->result[i] = p->loops->read(p->memory + (size_t)i * ST_CEILING_BLOCK);
}

/* Runs passes of n items; the fastest one's seconds. */
static double best_pass(st_pool *pool, int64_t n, int64_t tile, st_loop_fn fn, pass *p, double seconds,
                        int32_t *n_pass)
{
    double end = st_seconds() + seconds, best = 0.0;
    *n_pass = 0;
    for (double start = st_seconds(); *n_pass < MIN_PASS || (start < end && *n_pass < MAX_PASS);) {
        st_pool_loop(pool, n, tile, fn, p);
        double now = st_seconds(), took = now - start;
        best = *n_pass == 0 || took < best ? took : best;
        start = now;
        ++*n_pass;
    }
    return best;
}

/* Allocates n blocks, touched by the threads that will read them, and results for n_result calls. */
static sterna_status open_pass(pass *p, st_pool **pool, int32_t n_thread, size_t n, size_t n_result,
                               sterna_error *error)
{
    *pool = st_pool_create(n_thread);
    p->memory = st_alloc(n * ST_CEILING_BLOCK);
    p->result = st_calloc(n_result, sizeof *p->result);
    if (!*pool || !p->memory || !p->result)
        return st_fail(error, STERNA_E_MEMORY,
                       "cannot measure the machine: no memory for %zu bytes and %d threads",
                       n * ST_CEILING_BLOCK, n_thread);
    st_pool_loop(*pool, (int64_t)n, 1, write_blocks, p);
    return STERNA_OK;
}

static void close_pass(pass *p, st_pool *pool)
{
    st_pool_destroy(pool);
    st_free(p->memory);
    st_free(p->result);
}

sterna_status st_ceiling_read(int32_t n_thread, const char *isa, size_t bytes, double seconds,
                              st_ceiling *ceiling, sterna_error *error)
{
    bytes = bytes < ST_CEILING_MAX_BYTES ? bytes : ST_CEILING_MAX_BYTES;
    int64_t n = st_max(n_thread, st_ceil_div((int64_t)bytes, ST_CEILING_BLOCK));
    *ceiling = (st_ceiling){.n_thread = n_thread, .bytes = (size_t)n * ST_CEILING_BLOCK};
    pass p = {0};
    st_pool *pool = NULL;
    sterna_status status = open_pass(&p, &pool, n_thread, (size_t)n, (size_t)n, error);
    for (int i = 0; i < N_LOOPS && status == STERNA_OK; i++) {
        p.loops = all_loops[i];
        if (!usable(p.loops, isa))
            continue;
        int32_t n_pass;
        double best = best_pass(pool, n, st_max(1, n / (16 * n_thread)), read_blocks, &p, seconds, &n_pass);
        double rate = best > 0.0 ? (double)ceiling->bytes / best : 0.0;
        if (rate > ceiling->rate) {
            ceiling->rate = rate;
            ceiling->loop = p.loops->name;
        }
        ceiling->n_pass += n_pass;
    }
    close_pass(&p, pool);
    return status;
}

/* ---- multiply-accumulates ---- */

typedef struct multiply_loop {
    pass p;
    double end;   /* time */
    double *rate; /* [n_thread] the best pass of each */
    int32_t *n_pass;
} multiply_loop;

/* Threads do not wait for each other here: cores share no multipliers, and on a busy machine passes of all
 * threads together never see all of them run. */
static void multiply_item(void *context, int64_t first, int64_t count)
{
    enum { CALLS = 8 };
    const multiply_loop *l = context;
    for (int64_t i = first; i < first + count; i++)
        for (double start = st_seconds(); l->n_pass[i] < MIN_PASS || start < l->end;) {
            for (int call = 0; call < CALLS; call++)
                l->p.result[i] += (uint64_t)l->p.loops->multiply(l->p.memory, (const int8_t *)l->p.memory);
            double now = st_seconds(), macs = (double)CALLS * ST_CEILING_REPEAT * ST_CEILING_CODES;
            double rate = now > start ? macs / (now - start) : 0.0;
            l->rate[i] = rate > l->rate[i] ? rate : l->rate[i];
            l->n_pass[i]++;
            start = now;
        }
}

sterna_status st_ceiling_int8(int32_t n_thread, const char *isa, double seconds, st_ceiling *ceiling,
                              sterna_error *error)
{
    double rate[ST_MAX_THREAD] = {0};
    int32_t n_pass[ST_MAX_THREAD] = {0};
    *ceiling = (st_ceiling){.n_thread = n_thread, .bytes = ST_CEILING_CODES};
    multiply_loop l = {.rate = rate, .n_pass = n_pass};
    st_pool *pool = NULL;
    sterna_status status = open_pass(&l.p, &pool, n_thread, 1, (size_t)n_thread, error);
    int i = 0;
    while (!usable(all_loops[i], isa))
        i++;
    l.p.loops = all_loops[i];
    ceiling->loop = l.p.loops->name;
    l.end = st_seconds() + seconds;
    if (status == STERNA_OK)
        st_pool_loop(pool, n_thread, 1, multiply_item, &l);
    for (int32_t t = 0; t < n_thread; t++) {
        ceiling->rate += rate[t];
        ceiling->n_pass += n_pass[t];
    }
    close_pass(&l.p, pool);
    return status;
}
