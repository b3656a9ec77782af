#define _DEFAULT_SOURCE /* madvise: POSIX has no huge pages */
#include "host/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

sterna_status st_fail(sterna_error *error, sterna_status status, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
    }
    return status;
}

const char *sterna_status_name(sterna_status status)
{
    switch (status) {
    case STERNA_OK:
        return "ok";
    case STERNA_E_ARGUMENT:
        return "argument error";
    case STERNA_E_MEMORY:
        return "out of memory";
    case STERNA_E_IO:
        return "input/output error";
    case STERNA_E_FORMAT:
        return "format error";
    case STERNA_E_UNSUPPORTED:
        return "not supported";
    case STERNA_E_DEVICE:
        return "device error";
    case STERNA_E_LIMIT:
        return "limit exceeded";
    case STERNA_E_ABORTED:
        return "aborted";
    case STERNA_E_BUSY:
        return "busy";
    }
    return "unknown status";
}

#define STRING_OF(x)     #x
#define VERSION(a, b, c) STRING_OF(a) "." STRING_OF(b) "." STRING_OF(c)

const char *sterna_version(void)
{
    return VERSION(STERNA_VERSION_MAJOR, STERNA_VERSION_MINOR, STERNA_VERSION_PATCH);
}

void st_log_write(const st_log *log, sterna_log_level level, const char *format, ...)
{
    if (!log || !log->fn)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log->fn(log->user, level, line);
}

enum { MAX_STRUCT = 4096 }; /* bytes; a greater struct_size was never set */

sterna_status st_struct_read(void *dst, size_t size, size_t least, const void *src, const char *what,
                             const char *maker, sterna_error *error)
{
    size_t given;
    memcpy(&given, src, sizeof given);
    if (given < least || given > MAX_STRUCT)
        return st_fail(error, STERNA_E_ARGUMENT, "%s of %zu bytes instead of %zu: %s sets the size", what,
                       given, size, maker);
    for (size_t i = size; i < given; i++)
        if (((const unsigned char *)src)[i] != 0)
            return st_fail(error, STERNA_E_UNSUPPORTED,
                           "%s of %zu bytes, of which this version knows %zu: byte %zu is not zero", what,
                           given, size, i);
    memcpy(dst, src, given < size ? given : size);
    memcpy(dst, &size, sizeof size);
    return STERNA_OK;
}

sterna_status st_struct_write(void *dst, const void *src, size_t size)
{
    size_t given;
    memcpy(&given, dst, sizeof given);
    if (given <= sizeof given || given > MAX_STRUCT)
        return STERNA_E_ARGUMENT;
    memset(dst, 0, given);
    memcpy(dst, src, given < size ? given : size);
    memcpy(dst, &given, sizeof given);
    return STERNA_OK;
}

bool st_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

bool st_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

/* Large blocks, which are weights and KV, lie in huge pages: one thread then decodes 3 % faster (bitnet-2b).
 * From four on, so that what rounding up adds is at most a quarter. */
enum { HUGE_PAGE = 2 << 20, HUGE_FROM = 4 * HUGE_PAGE };

void *st_alloc(size_t bytes)
{
    if (bytes == 0 || bytes > SIZE_MAX - HUGE_PAGE)
        return NULL;
    if (bytes < HUGE_FROM)
        return aligned_alloc(64, st_align_up(bytes, 64));
    void *memory = aligned_alloc(HUGE_PAGE, st_align_up(bytes, HUGE_PAGE));
#ifdef MADV_HUGEPAGE
    if (memory) /* a wish: without huge pages all works, slower */
        madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void *st_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (!st_mul_size(count, size, &bytes))
        return NULL;
    void *memory = st_alloc(bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

void st_free(void *memory)
{
    free(memory);
}

double st_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

uint64_t st_hash(uint64_t seed, const void *data, size_t bytes)
{
    const uint64_t prime = UINT64_C(0x100000001b3);
    const unsigned char *at = data;
    uint64_t hash = seed;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = (hash ^ word) * prime;
        hash ^= hash >> 32; /* FNV moves bits only upwards; fold them back for whole words */
    }
    for (; bytes > 0; bytes--, at++)
        hash = (hash ^ *at) * prime;
    return hash;
}
