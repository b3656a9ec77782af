/* What this machine can do at most, measured: bytes read from memory and int8 multiply-accumulates. The
 * ceilings of a roofline for devices that compute on the host. */
#ifndef ST_CEILING_H
#define ST_CEILING_H

#include "host/base/base.h"

typedef struct st_ceiling {
    double rate;      /* bytes or multiply-accumulates per second: the best of n_pass passes */
    const char *loop; /* what was run: "avx2", "portable" */
    int32_t n_thread; /* that took part */
    size_t bytes;     /* read again and again: the footprint */
    int32_t n_pass;
} st_ceiling;

/* A footprint larger than this is not read as a whole: it is beyond every cache, and so is this much. */
#define ST_CEILING_MAX_BYTES ((size_t)1 << 30)

/* Read bandwidth over a footprint of `bytes`, shared by n_thread threads: a footprint that fits a cache gives
 * the cache's bandwidth, as a model that fits it would have. At least 3 passes, and `seconds` of them, of
 * each loop that the instruction sets in `isa` allow (the words of sterna_device_info.isa; "": plain C). */
sterna_status st_ceiling_read(int32_t n_thread, const char *isa, size_t bytes, double seconds,
                              st_ceiling *ceiling, sterna_error *error);
/* Peak of int8 x int8 -> int32 multiply-accumulates of n_thread threads (the sum of each one's best pass),
 * with operands in the first cache, of the most special loop that `isa` allows. AVX2: products of codes of
 * two bits, whose sums fit 16 bits for a while. */
sterna_status st_ceiling_int8(int32_t n_thread, const char *isa, double seconds, st_ceiling *ceiling,
                              sterna_error *error);

/* ---- loops of an instruction set (ceiling_<isa>.c); private to ceiling*.c ---- */

enum {
    ST_CEILING_BLOCK = 1 << 16, /* bytes of one call of a read loop */
    ST_CEILING_CODES = 1 << 13, /* bytes of codes of a multiply loop, in the first cache */
    ST_CEILING_REPEAT = 64      /* times a multiply loop goes over them */
};

typedef struct st_ceiling_loops {
    const char *name;
    const char *word;        /* has to stand in `isa`; NULL: always there */
    bool (*supported)(void); /* by this processor; NULL: always */
    /* Reads a block of 64-byte aligned memory. The result depends on all of it. NULL: the compiler did not
     * have the instruction set. */
    uint64_t (*read)(const unsigned char *block);
    /* ST_CEILING_REPEAT * ST_CEILING_CODES multiply-accumulates. */
    int32_t (*multiply)(const unsigned char *codes, const int8_t *activations);
} st_ceiling_loops;

extern const st_ceiling_loops st_ceiling_portable, st_ceiling_avx2, st_ceiling_avx512vnni;

#endif
