/* Where tensors lie in a GGUF file and how their type numbers are to be read. */
#ifndef ST_GGUF_PLACE_H
#define ST_GGUF_PLACE_H

#include "host/model/gguf.h"

typedef struct st_gguf_region {
    const char *label;
    const unsigned char *base;
    size_t size; /* of the file */
    size_t data; /* first byte of the data section */
    size_t alignment;
} st_gguf_region;

/* Takes tensors with offsets relative to the data section and the first reading of their type numbers; finds
 * the reading that fits the offsets, checks that tensors neither overlap nor leave gaps nor pass the file's
 * end, and fills encoding, offset (now from the file's begin), data and bytes. */
sterna_status st_gguf_place(const st_gguf_region *region, st_gguf_tensor *tensor, int n_tensor,
                            sterna_error *error);

#endif
