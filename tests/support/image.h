/* GGUF files built byte by byte in memory, right or wrong. */
#ifndef IMAGE_H
#define IMAGE_H

#include "host/model/gguf.h"

typedef struct image {
    unsigned char data[1 << 14];
    size_t used;
} image;

void image_bytes(image *m, const void *data, size_t size);
void image_zero(image *m, size_t size);
void image_u8(image *m, uint8_t value);
void image_u32(image *m, uint32_t value);
void image_u64(image *m, uint64_t value);
void image_string(image *m, const char *text);
/* Magic, version 3, counts. */
void image_header(image *m, uint64_t n_tensor, uint64_t n_kv);
void image_key(image *m, const char *key, uint32_t type);
void image_key_u32(image *m, const char *key, uint32_t value);
void image_array(image *m, const char *key, uint32_t type, uint64_t count);
void image_tensor(image *m, const char *name, uint32_t n_dim, const uint64_t *shape, uint32_t type,
                  uint64_t offset);
/* A vector. */
void image_vector(image *m, const char *name, uint64_t length, uint32_t type, uint64_t offset);
void image_align(image *m, size_t alignment);
/* A whole good file: every value type, an array of each element type, three tensors, no padding at the end.
 */
void image_good(image *m);

#endif
