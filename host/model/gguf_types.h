/* Tensor encodings of GGUF files. A type number does not identify one: forks of ggml gave the same numbers to
 * different formats, so an encoding is chosen by number and by the bytes that the directory's offsets leave
 * for the tensors. */
#ifndef ST_GGUF_TYPES_H
#define ST_GGUF_TYPES_H

#include "host/base/base.h"

typedef enum st_encoding {
    /* decoded by ternary.c */
    ST_ENC_F32,
    ST_ENC_F16,
    ST_ENC_BF16,
    ST_ENC_Q8_0,
    ST_ENC_TQ1_0,
    ST_ENC_TQ2_0,
    ST_ENC_I2_S,
    ST_ENC_DECODED, /* number of the above */
    /* known sizes, so that files holding them can be listed */
    ST_ENC_OTHER = ST_ENC_DECODED
} st_encoding;

typedef struct st_encoding_info {
    st_encoding encoding;
    uint32_t type_id;
    const char *name;
    uint32_t block; /* elements of a block; a tensor's shape[0] is a multiple, except of I2_S */
    uint32_t bytes; /* bytes of a block */
    uint32_t tail;  /* bytes after a tensor's blocks */
    bool flat;      /* blocks run over the whole tensor, not over rows */
    bool ternary;   /* weights of two bits or fewer */
} st_encoding_info;

/* The n-th way to read a type number, in order of preference; NULL past the last. */
const st_encoding_info *st_encoding_candidate(uint32_t type_id, int n);
const st_encoding_info *st_encoding_get(st_encoding encoding); /* encoding < ST_ENC_DECODED */
/* What else forks are known to store under a type number, for messages: "TL1 of bitnet.cpp"; NULL if nothing.
 */
const char *st_encoding_fork(uint32_t type_id);
/* Bytes of a tensor; false if its shape does not fit the block or the size overflows. */
bool st_encoding_bytes(const st_encoding_info *info, int64_t row_elements, int64_t n_element, size_t *bytes);

#endif
