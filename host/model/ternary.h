/* Every file encoding of a matrix -> canonical rows (host/base/matrix.h). One decoder and one table row per
 * encoding; nothing else in host/model knows how files pack trits. */
#ifndef ST_TERNARY_H
#define ST_TERNARY_H

#include "host/model/gguf_types.h"
#include "host/model/model.h"

/* A matrix as it lies in a file. */
typedef struct st_packed {
    const st_encoding_info *encoding;
    int32_t rows, cols;
    const unsigned char *data;
    size_t bytes;             /* exactly st_encoding_bytes() */
    const char *label, *name; /* file and tensor, for messages */
    st_pool *pool;            /* whose threads decode; NULL: the caller does */
} st_packed;

/* Decodes to canonical rows; `decoded` is overwritten, and zeroed on failure. Blocks, and dense rows where
 * their alignment allows, stay in packed->data. TERNARY scales that are the same in all nonzero groups of
 * every row become row scales. Refuses non-finite scales and encodings that have no decoder. */
sterna_status st_ternary_decode(const st_packed *packed, st_decoded *decoded, sterna_error *error);

/* F32, F16 or BF16 values, as f32[packed->rows * packed->cols]; refuses non-finite ones. */
sterna_status st_ternary_vector(const st_packed *packed, float *dst, sterna_error *error);

/* True for encodings that st_ternary_decode turns into TERNARY, into Q8 or dense types, or that
 * st_ternary_vector takes. */
bool st_encoding_is_ternary(st_encoding encoding);
bool st_encoding_is_matrix(st_encoding encoding);
bool st_encoding_is_vector(st_encoding encoding);

#endif
