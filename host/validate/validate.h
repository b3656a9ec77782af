/* The conformance suite: every variant of every op of a device against the device "ref", bit for bit.
 *
 * A case is one call of an op with all its buffers. Its reference is computed once and shared by all variants
 * and thread counts; what a variant does not take is not run on another one in its place. Outputs start as
 * NaN (the KV cache too), every buffer has guards behind it, and after the call whole buffers are compared,
 * so that a changed input or a stray write is a miss as well. Only rows of padding are left out, which the
 * contract leaves unspecified. */
#ifndef ST_VALIDATE_H
#define ST_VALIDATE_H

#include "host/backend/backend.h"

typedef enum st_validate_size {
    ST_VALIDATE_TILE, /* dimensions up to three tiles, each +-1, and primes; all fills; every parameter */
    ST_VALIDATE_REAL, /* one shape of a real model per op and variant, two fills, at most 8 rows */
    ST_VALIDATE_FULL  /* TILE with ten times the combinations, then REAL */
} st_validate_size;

enum { ST_VALIDATE_MAX_THREADS = 8 };

/* A shape is MxNxK: rows of the step, then
 *   linear       N output features, K input features      embed    N tokens of vocabulary, K columns
 *   norm, norm_quant, glu_norm_quant   N = 1, K columns   topk     N tokens of vocabulary, K candidates
 *   rope_store, attend   N query heads of K dimensions */
typedef struct st_validate_options {
    const char *device;        /* "cpu", "cuda:0" ... */
    const st_backend *backend; /* NULL: found by `device`; else device 0 of this table is opened */
    const char *op, *variant;  /* NULL = all */
    st_validate_size size;
    int32_t shape[3]; /* all 0: those of `size` */
    uint64_t seed;
    int sample; /* one case in so many is run */
    int share;  /* thread counts after the first see one case in so many: loops of waiting threads are dear on
                 * a busy machine */
    int n_thread_count;
    int32_t thread_count[ST_VALIDATE_MAX_THREADS]; /* devices are opened with each of these */
} st_validate_options;

typedef struct st_validate_row {
    st_op op;
    char variant[ST_MAX_NAME];
    int64_t n_case;           /* cases in which this variant ran and was compared, per thread count */
    int64_t n_not_applicable; /* cases that its predicate does not take: not run */
    int64_t n_miss;           /* cases that differ from the reference */
    uint64_t worst;           /* largest difference: ulp of f32, or integer */
    char where[160];          /* the worst: plane, row, column, both values */
    char parameters[256];     /* of that case */
    char repeat[256];         /* command line that runs it again */
} st_validate_row;

enum { ST_VALIDATE_MAX_ROW = 96 };
typedef struct st_validate_result {
    int n_row;
    st_validate_row row[ST_VALIDATE_MAX_ROW];
    int64_t n_case, n_not_applicable, n_miss; /* over all rows */
} st_validate_result;

void st_validate_defaults(st_validate_options *options);
/* Misses are counted in `result`, not errors. An error is an unknown device, op or variant, a shape an op
 * cannot have, a device that fails, or memory. */
sterna_status st_validate(const st_validate_options *options, st_validate_result *result,
                          sterna_error *error);

#endif
