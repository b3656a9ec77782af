#include "host/profile/ceiling.h"

#include "host/base/parallel.h"

#include <stdio.h>
#include <string.h>

enum { MIN_PASS = 3, MAX_PASS = 10000 };
#define SAMPLE_SECONDS 0.005 /* of multiplications; a pass of reads takes what it takes */

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

/* 16-bit products of bytes, added: the sums are operands, so that no product can be computed once for all. */
static int32_t multiply_portable(int32_t seed)
{
    enum { N = 64 };
    uint16_t sum[N];
    int32_t all = 0;
    for (int j = 0; j < N; j++)
        sum[j] = (uint16_t)(seed + j);
    for (int i = 0; i < ST_CEILING_MAC / N; i++)
        for (int j = 0; j < N; j++)
            sum[j] = (uint16_t)(sum[j] + (sum[j] & 3u) * (unsigned)(seed | 1));
    for (int j = 0; j < N; j++)
        all += sum[j];
    return all;
}

const st_ceiling_loops st_ceiling_portable = {
    "portable", NULL, NULL, {read_portable, NULL, NULL}, multiply_portable};

/* Best multiplications first. */
static const st_ceiling_loops *const all_loops[ST_CEILING_LOOPS] = {
    &st_ceiling_avx512vnni, &st_ceiling_avxvnni, &st_ceiling_avx2, &st_ceiling_portable};

static const char *const pattern_names[ST_CEILING_PATTERNS] = {"in order", "four streams", "prefetched"};

/* Whether a device's text has the word; "avx512_vnni" is "avx512vnni". */
static bool has_word(const char *isa, const char *word)
{
    char text[sizeof((sterna_device_info *)0)->isa];
    size_t n = 0;
    for (; *isa && n + 1 < sizeof text; isa++)
        if (*isa != '_')
            text[n++] = *isa;
    text[n] = 0;
    return strstr(text, word) != NULL;
}

static bool usable(const st_ceiling_loops *loops, const char *isa)
{
    return loops->multiply && (!isa || !loops->word || has_word(isa, loops->word)) &&
           (!loops->supported || loops->supported());
}

/* ---- passes ---- */

typedef uint64_t (*read_fn)(const unsigned char *block);

typedef struct pass {
    read_fn read;
    unsigned char *memory;
    uint64_t *result; /* [n] what the loops return, so that they have to run */
} pass;

struct st_ceilings {
    st_pool *pool;
    pass pass;
    int64_t n_block;
    st_ceiling read;
    read_fn best_read;
    st_ceiling int8[ST_CEILING_LOOPS]; /* most special first */
    const st_ceiling_loops *loops[ST_CEILING_LOOPS];
    double thread_rate[ST_CEILING_LOOPS][ST_MAX_THREAD]; /* the best pass of each thread */
    int n_int8, best_int8;
};

static void write_blocks(void *context, int64_t first, int64_t count)
{
    const pass *p = context;
    memset(p->memory + (size_t)first * ST_CEILING_BLOCK, 1, (size_t)count * ST_CEILING_BLOCK);
}

static void read_blocks(void *context, int64_t first, int64_t count)
{
    const pass *p = context;
    for (int64_t i = first; i < first + count; i++)
        p->result[i] = p->read(p->memory + (size_t)i * ST_CEILING_BLOCK);
}

/* Passes for `seconds`, `least` of them at least. */
static void read_passes(st_ceilings *c, read_fn read, const char *loop, const char *pattern, int least,
                        double seconds)
{
    int64_t tile = st_max(1, c->n_block / (16 * c->read.n_thread));
    double start = st_seconds(), end = start + seconds;
    c->pass.read = read;
    for (int n = 0; n < least || (start < end && n < MAX_PASS); n++) {
        st_pool_loop(c->pool, c->n_block, tile, read_blocks, &c->pass);
        double now = st_seconds(), took = now - start;
        double rate = took > 0.0 ? (double)c->read.bytes / took : 0.0;
        if (rate > c->read.rate) {
            c->read.rate = rate;
            c->read.loop = loop;
            c->read.pattern = pattern;
            c->best_read = read;
        }
        c->read.n_pass++;
        start = now;
    }
}

static void read_all(st_ceilings *c, const char *isa, double seconds)
{
    for (int i = 0; i < ST_CEILING_LOOPS; i++)
        for (int p = 0; usable(all_loops[i], isa) && p < ST_CEILING_PATTERNS; p++)
            if (all_loops[i]->read[p])
                read_passes(c, all_loops[i]->read[p], all_loops[i]->name, pattern_names[p], MIN_PASS,
                            seconds);
}

/* ---- multiply-accumulates ---- */

typedef struct multiply_loop {
    int32_t (*multiply)(int32_t seed);
    double end;   /* time */
    int least;    /* passes */
    double *rate; /* [n_thread] the best pass of each */
    int32_t n_pass[ST_MAX_THREAD];
    int32_t result[ST_MAX_THREAD];
} multiply_loop;

/* Threads do not wait for each other here: cores share no multipliers, and on a busy machine passes of all
 * threads together never see all of them run. */
static void multiply_item(void *context, int64_t first, int64_t count)
{
    multiply_loop *l = context;
    for (int64_t i = first; i < first + count; i++)
        for (double start = st_seconds(); l->n_pass[i] < l->least || start < l->end;) {
            l->result[i] ^= l->multiply(l->result[i]);
            double now = st_seconds(), rate = now > start ? ST_CEILING_MAC / (now - start) : 0.0;
            l->rate[i] = rate > l->rate[i] ? rate : l->rate[i];
            l->n_pass[i]++;
            start = now;
        }
}

static void multiply_passes(st_ceilings *c, int loop, int least, double seconds)
{
    st_ceiling *ceiling = &c->int8[loop];
    multiply_loop l = {.multiply = c->loops[loop]->multiply, .least = least, .rate = c->thread_rate[loop]};
    l.end = st_seconds() + seconds;
    st_pool_loop(c->pool, ceiling->n_thread, 1, multiply_item, &l);
    ceiling->rate = 0.0;
    for (int32_t t = 0; t < ceiling->n_thread; t++) {
        ceiling->rate += l.rate[t];
        ceiling->n_pass += l.n_pass[t];
    }
}

/* `all`: every loop; else the most special one. */
static void multiply_all(st_ceilings *c, const char *isa, bool all, double seconds)
{
    for (int i = 0; i < ST_CEILING_LOOPS && (all || c->n_int8 == 0); i++) {
        if (!usable(all_loops[i], isa))
            continue;
        c->loops[c->n_int8] = all_loops[i];
        c->int8[c->n_int8] =
            (st_ceiling){.loop = all_loops[i]->name, .pattern = "registers", .n_thread = c->read.n_thread};
        multiply_passes(c, c->n_int8, MIN_PASS, seconds);
        if (c->int8[c->n_int8].rate > c->int8[c->best_int8].rate)
            c->best_int8 = c->n_int8;
        c->n_int8++;
    }
}

/* ---- life ---- */

/* Allocates blocks, touched by the threads that will read them. */
static sterna_status open_with(int32_t n_thread, size_t bytes, st_ceilings **ceilings, sterna_error *error)
{
    bytes = bytes < ST_CEILING_MAX_BYTES ? bytes : ST_CEILING_MAX_BYTES;
    st_ceilings *c = *ceilings = st_calloc(1, sizeof *c);
    if (!c)
        return st_fail(error, STERNA_E_MEMORY, "cannot measure the machine: no memory");
    c->n_block = st_max(n_thread, st_ceil_div((int64_t)bytes, ST_CEILING_BLOCK));
    c->read = (st_ceiling){.n_thread = n_thread, .bytes = (size_t)c->n_block * ST_CEILING_BLOCK};
    c->pool = st_pool_create(n_thread);
    c->pass.memory = st_alloc(c->read.bytes);
    c->pass.result = st_calloc((size_t)c->n_block, sizeof *c->pass.result);
    if (!c->pool || !c->pass.memory || !c->pass.result) {
        sterna_status status = st_fail(error, STERNA_E_MEMORY,
                                       "cannot measure the machine: no memory for %zu bytes and %d threads",
                                       c->read.bytes, n_thread);
        st_ceilings_close(ceilings);
        return status;
    }
    st_pool_loop(c->pool, c->n_block, 1, write_blocks, &c->pass);
    return STERNA_OK;
}

void st_ceilings_close(st_ceilings **ceilings)
{
    st_ceilings *c = *ceilings;
    if (!c)
        return;
    st_pool_destroy(c->pool);
    st_free(c->pass.memory);
    st_free(c->pass.result);
    st_free(c);
    *ceilings = NULL;
}

sterna_status st_ceilings_open(int32_t n_thread, const char *isa, size_t bytes, double seconds,
                               st_ceilings **ceilings, sterna_error *error)
{
    sterna_status status = open_with(n_thread, bytes, ceilings, error);
    if (status != STERNA_OK)
        return status;
    read_all(*ceilings, isa, seconds);
    multiply_all(*ceilings, isa, true, seconds);
    return STERNA_OK;
}

void st_ceilings_sample(st_ceilings *c)
{
    read_passes(c, c->best_read, c->read.loop, c->read.pattern, 1, 0.0);
    multiply_passes(c, c->best_int8, 1, SAMPLE_SECONDS);
}

const st_ceiling *st_ceilings_read(const st_ceilings *c)
{
    return &c->read;
}

const st_ceiling *st_ceilings_int8(const st_ceilings *c)
{
    return &c->int8[c->best_int8];
}

bool st_ceilings_int8_of(const st_ceilings *c, int index, st_ceiling *ceiling)
{
    if (index < 0 || index >= c->n_int8)
        return false;
    *ceiling = c->int8[index];
    return true;
}

sterna_status st_ceiling_read(int32_t n_thread, const char *isa, size_t bytes, double seconds,
                              st_ceiling *ceiling, sterna_error *error)
{
    st_ceilings *c;
    *ceiling = (st_ceiling){.n_thread = n_thread};
    sterna_status status = open_with(n_thread, bytes, &c, error);
    if (status != STERNA_OK)
        return status;
    read_all(c, isa, seconds);
    *ceiling = c->read;
    st_ceilings_close(&c);
    return STERNA_OK;
}

sterna_status st_ceiling_int8(int32_t n_thread, const char *isa, double seconds, st_ceiling *ceiling,
                              sterna_error *error)
{
    st_ceilings *c;
    *ceiling = (st_ceiling){.n_thread = n_thread};
    sterna_status status = open_with(n_thread, 0, &c, error);
    if (status != STERNA_OK)
        return status;
    multiply_all(c, isa, false, seconds);
    *ceiling = c->int8[0];
    st_ceilings_close(&c);
    return STERNA_OK;
}

/* ---- caches ---- */

/* The first line of <folder>/index<i>/<name> as a number with an optional K, M or G; false without it. */
static bool cache_number(const char *folder, int i, const char *name, size_t *value)
{
    char path[512], unit = 0;
    unsigned long long number;
    snprintf(path, sizeof path, "%s/index%d/%s", folder, i, name);
    FILE *file = fopen(path, "r");
    int n = file ? fscanf(file, "%9llu%c", &number, &unit) : 0;
    if (file)
        fclose(file);
    if (n < 1)
        return false;
    *value = (size_t)number << (unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0);
    return true;
}

size_t st_cache_bytes(const char *folder)
{
    size_t largest = 0, size;
    for (int i = 0; cache_number(folder, i, "size", &size); i++)
        largest = size > largest ? size : largest;
    return largest;
}
