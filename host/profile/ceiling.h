/* What this machine can do at most, measured: bytes read from memory and int8 multiply-accumulates. The
 * ceilings of a roofline for devices that compute on the host. */
#ifndef ST_CEILING_H
#define ST_CEILING_H

#include "host/base/base.h"

typedef struct st_ceiling {
    double rate;         /* bytes or multiply-accumulates per second: the best of n_pass passes */
    const char *loop;    /* what was run: "avx2", "portable" */
    const char *pattern; /* how it read: "in order", "four streams"; "registers" for multiplications */
    int32_t n_thread;    /* that took part */
    size_t bytes;        /* read again and again: the footprint; 0 for multiplications */
    int32_t n_pass;
} st_ceiling;

/* A footprint larger than this is not read as a whole: it is beyond every cache, and so is this much. */
#define ST_CEILING_MAX_BYTES ((size_t)1 << 30)

/* `isa` below: only loops of the instruction sets in it (the words of sterna_device_info.isa; "": plain C);
 * NULL: of all that the processor has. */

/* Read bandwidth over a footprint of `bytes`, shared by n_thread threads: a footprint that fits a cache gives
 * the cache's bandwidth, as a model that fits it would have. At least 3 passes, and `seconds` of them, of
 * each loop. */
sterna_status st_ceiling_read(int32_t n_thread, const char *isa, size_t bytes, double seconds,
                              st_ceiling *ceiling, sterna_error *error);
/* Peak of int8 x int8 -> int32 multiply-accumulates of n_thread threads (the sum of each one's best pass),
 * with operands in registers, of the most special loop there is. AVX2: products of codes of two bits, whose
 * sums fit 16 bits for a while. */
sterna_status st_ceiling_int8(int32_t n_thread, const char *isa, double seconds, st_ceiling *ceiling,
                              sterna_error *error);

/* Both, measured again and again between other work, whose share of them is asked for: a busy or throttled
 * machine is so to both. Opening measures every loop; a sample is one more pass of the best ones. */
typedef struct st_ceilings st_ceilings;
sterna_status st_ceilings_open(int32_t n_thread, const char *isa, size_t bytes, double seconds,
                               st_ceilings **ceilings, sterna_error *error);
void st_ceilings_sample(st_ceilings *ceilings);
const st_ceiling *st_ceilings_read(const st_ceilings *ceilings);
const st_ceiling *st_ceilings_int8(const st_ceilings *ceilings);
/* Peak of multiplications of each instruction set, most special first; false past the last. */
bool st_ceilings_int8_of(const st_ceilings *ceilings, int index, st_ceiling *ceiling);
void st_ceilings_close(st_ceilings **ceilings);

/* Size of the largest cache in a folder as sysfs has one for each processor (ST_CACHE_FOLDER); 0 if it does
 * not say. A virtual machine may show a cache that others share. */
#define ST_CACHE_FOLDER "/sys/devices/system/cpu/cpu0/cache"
size_t st_cache_bytes(const char *folder);

/* ---- loops of an instruction set (ceiling_<isa>.c); private to ceiling*.c ---- */

enum {
    ST_CEILING_BLOCK = 1 << 16,   /* bytes of one call of a read loop */
    ST_CEILING_STREAM = 4,        /* parts of a block that are read side by side */
    ST_CEILING_MAC = 3 << 20,     /* multiply-accumulates of one call of a multiply loop */
    ST_CEILING_ACCUMULATORS = 12, /* two multiplications a cycle, five cycles each, need ten */
    ST_CEILING_LOOPS = 4          /* instruction sets */
};

typedef enum st_ceiling_pattern {
    ST_CEILING_IN_ORDER,
    ST_CEILING_STREAMS,  /* as many as processors follow by themselves */
    ST_CEILING_PREFETCH, /* in order, asked for early */
    ST_CEILING_PATTERNS
} st_ceiling_pattern;

typedef struct st_ceiling_loops {
    const char *name;
    const char *word;        /* has to stand in `isa`, without underscores; NULL: always there */
    bool (*supported)(void); /* by this processor; NULL: always */
    /* Read a block of 64-byte aligned memory. The result depends on all of it. NULL: there is no such loop,
     * or the compiler did not have the instruction set. */
    uint64_t (*read[ST_CEILING_PATTERNS])(const unsigned char *block);
    /* ST_CEILING_MAC multiply-accumulates. `seed`: anything, so that the result is not known before. NULL: as
     * above. */
    int32_t (*multiply)(int32_t seed);
} st_ceiling_loops;

extern const st_ceiling_loops st_ceiling_portable, st_ceiling_avx2, st_ceiling_avxvnni, st_ceiling_avx512vnni;

#endif
