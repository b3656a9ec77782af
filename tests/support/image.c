#include "tests/support/image.h"

#include <string.h>

void image_bytes(image *m, const void *data, size_t size)
{
    assert(size <= sizeof m->data - m->used);
    memcpy(m->data + m->used, data, size);
    m->used += size;
}

void image_zero(image *m, size_t size)
{
    assert(size <= sizeof m->data - m->used);
    memset(m->data + m->used, 0, size);
    m->used += size;
}

void image_u8(image *m, uint8_t value)
{
    image_bytes(m, &value, sizeof value);
}

void image_u32(image *m, uint32_t value)
{
    image_bytes(m, &value, sizeof value);
}

void image_u64(image *m, uint64_t value)
{
    image_bytes(m, &value, sizeof value);
}

void image_string(image *m, const char *text)
{
    image_u64(m, strlen(text));
    image_bytes(m, text, strlen(text));
}

void image_header(image *m, uint64_t n_tensor, uint64_t n_kv)
{
    image_bytes(m, "GGUF", 4);
    image_u32(m, 3);
    image_u64(m, n_tensor);
    image_u64(m, n_kv);
}

void image_key(image *m, const char *key, uint32_t type)
{
    image_string(m, key);
    image_u32(m, type);
}

void image_key_u32(image *m, const char *key, uint32_t value)
{
    image_key(m, key, ST_GGUF_U32);
    image_u32(m, value);
}

void image_array(image *m, const char *key, uint32_t type, uint64_t count)
{
    image_key(m, key, ST_GGUF_ARRAY);
    image_u32(m, type);
    image_u64(m, count);
}

void image_tensor(image *m, const char *name, uint32_t n_dim, const uint64_t *shape, uint32_t type,
                  uint64_t offset)
{
    image_string(m, name);
    image_u32(m, n_dim);
    for (uint32_t d = 0; d < n_dim; d++)
        image_u64(m, shape[d]);
    image_u32(m, type);
    image_u64(m, offset);
}

void image_vector(image *m, const char *name, uint64_t length, uint32_t type, uint64_t offset)
{
    image_tensor(m, name, 1, &length, type, offset);
}

void image_align(image *m, size_t alignment)
{
    image_zero(m, st_align_up(m->used, alignment) - m->used);
}

/* Values of numeric types are 1 in the first byte; arrays have two elements. */
void image_good(image *m)
{
    m->used = 0;
    image_header(m, 3, 2 * (ST_GGUF_TYPE_COUNT - 1));
    for (int type = 0; type < ST_GGUF_TYPE_COUNT; type++) {
        char key[] = "value.a", array_key[] = "array.a";
        key[6] = array_key[6] = (char)('a' + type);
        size_t size = st_gguf_type_size((st_gguf_type)type);
        if (type == ST_GGUF_ARRAY)
            continue;
        image_key(m, key, (uint32_t)type);
        if (type == ST_GGUF_STRING)
            image_string(m, "text");
        else
            image_u8(m, 1), image_zero(m, size - 1);
        image_array(m, array_key, (uint32_t)type, 2);
        for (int i = 0; i < 2; i++)
            if (type == ST_GGUF_STRING)
                image_string(m, i ? "second" : "first");
            else
                image_u8(m, 1), image_zero(m, size - 1);
    }
    image_tensor(m, "matrix", 2, (const uint64_t[]){4, 3}, 0, 0); /* 48 bytes of F32, 64 with padding */
    image_vector(m, "half", 5, 1, 64);
    image_tensor(m, "ternary", 2, (const uint64_t[]){256, 2}, 35, 96);
    image_align(m, ST_GGUF_ALIGNMENT);
    image_zero(m, 64 + 32 + 2 * 66);
}
