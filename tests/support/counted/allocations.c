#include "tests/support/counted/allocations.h"

#include <stdbool.h>
#include <stddef.h>

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);

long n_allocation, n_live, fail_at;

static bool allowed(void)
{
    return ++n_allocation != fail_at;
}

static void *counted(void *memory)
{
    n_live += memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return allowed() ? counted(__real_malloc(size)) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return allowed() ? counted(__real_calloc(n, size)) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return allowed() ? counted(__real_aligned_alloc(alignment, size)) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (!allowed())
        return NULL;
    void *grown = __real_realloc(memory, size);
    n_live += !memory && grown;
    return grown;
}

void __wrap_free(void *memory)
{
    n_live -= memory != NULL;
    __real_free(memory);
}
