/* Guarded buffers: memory with poisoned margins, so that a write outside of a result is seen. */
#ifndef TEST_GUARD_H
#define TEST_GUARD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct guarded {
    unsigned char *data; /* `bytes` usable bytes, 64-byte aligned, filled with the poison pattern */
    size_t bytes;
} guarded;

guarded guard_alloc(size_t bytes);
/* True if no byte of the margins changed. */
bool guard_intact(const guarded *g);
void guard_free(guarded *g);

#endif
