/* Limits, checked arithmetic, errors and the log: what every other file may use. */
#ifndef ST_BASE_H
#define ST_BASE_H

#include "sterna/sterna.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- limits: every queue, array and dimension has a named maximum ---- */
enum {
    ST_MAX_COLS = 131072,     /* K of a linear: keeps |sum code*q| exact in f32, and int8 x int8 in int32 */
    ST_MAX_ROWS = 1 << 20,    /* N of a linear (vocabularies reach 262,144) */
    ST_MAX_BATCH = 8192,      /* tokens in one step */
    ST_MAX_SEQUENCE = 1024,   /* sequences in one step */
    ST_MAX_LAYER = 512,       /* transformer blocks */
    ST_MAX_HEAD = 1024,       /* attention heads */
    ST_MAX_HEAD_DIM = 512,    /* width of one head */
    ST_MAX_CONTEXT = 1 << 20, /* positions of one sequence */
    ST_MAX_TOPK = 256,        /* candidates returned by topk */
    ST_MAX_OUTLIER = 65536,   /* sparse outliers of one matrix */
    ST_MAX_THREAD = 256,
    ST_MAX_NAME = 64 /* names of ops, variants, devices, with NUL */
};

/* ---- errors ---- */
#if defined(__GNUC__)
#define ST_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define ST_PRINTF(at, first)
#endif

/* Stores a formatted message in `error` (may be NULL) and returns `status`, so that callers can write
 * `return st_fail(error, STERNA_E_FORMAT, "...", ...)`. */
sterna_status st_fail(sterna_error *error, sterna_status status, const char *format, ...) ST_PRINTF(3, 4);

/* ---- log ---- */
typedef struct st_log {
    sterna_log_fn fn; /* may be NULL */
    void *user;
} st_log;
void st_log_write(const st_log *log, sterna_log_level level, const char *format, ...) ST_PRINTF(3, 4);

/* ---- structs of the public interface, which begin with `size_t struct_size` and grow at the end ---- */

/* Copies a struct that the caller filled over the defaults in `dst`, which has `size` bytes in this version
 * and had `least` in the first. What the caller's does not have keeps its default; what it has beyond `size`
 * must be zero. `what` and `maker` are for messages: what it is, and the function that initialises it. */
sterna_status st_struct_read(void *dst, size_t size, size_t least, const void *src, const char *what,
                             const char *maker, sterna_error *error);
/* Copies as much of `src` as the caller's struct has room for; the rest of that becomes zero. Its struct_size
 * stays. STERNA_E_ARGUMENT if that is not set. */
sterna_status st_struct_write(void *dst, const void *src, size_t size);

/* ---- checked arithmetic: false on overflow, *out untouched ---- */
bool st_add_size(size_t a, size_t b, size_t *out);
bool st_mul_size(size_t a, size_t b, size_t *out);

/* `unit` is a power of two. */
static inline size_t st_align_up(size_t value, size_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}
static inline int64_t st_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static inline int64_t st_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t st_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- memory ---- */
/* 64-byte aligned, not initialised; NULL when out of memory or bytes == 0. Release with st_free. */
void *st_alloc(size_t bytes);
/* The same, zeroed; NULL on overflow of count * size. */
void *st_calloc(size_t count, size_t size);
void st_free(void *memory);

/* ---- time ---- */
double st_seconds(void); /* monotonic */

/* ---- hashing: FNV-1a over 64-bit words; for replay keys and the logits hash, not for adversaries ---- */
#define ST_HASH_SEED UINT64_C(0xcbf29ce484222325)
uint64_t st_hash(uint64_t seed, const void *data, size_t bytes);

#endif
