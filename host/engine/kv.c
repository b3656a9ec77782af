#include "host/engine/kv.h"

#include "host/base/numerics.h"

bool st_pages_create(st_pages *pages, int32_t n_page)
{
    *pages = (st_pages){.n_page = n_page, .n_free = n_page};
    pages->free_page = st_calloc((size_t)n_page, sizeof(int32_t));
    if (!pages->free_page)
        return false;
    for (int32_t i = 0; i < n_page; i++)
        pages->free_page[i] = n_page - 1 - i; /* page 0 is taken first */
    return true;
}

void st_pages_destroy(st_pages *pages)
{
    st_free(pages->free_page);
    *pages = (st_pages){0};
}

int32_t st_pages_for(int64_t n_position)
{
    return (int32_t)st_ceil_div(n_position, ST_KV_PAGE);
}

bool st_pages_take(st_pages *pages, int32_t n, int32_t *table)
{
    if (n > pages->n_free)
        return false;
    for (int32_t i = 0; i < n; i++)
        table[i] = pages->free_page[--pages->n_free];
    return true;
}

void st_pages_give(st_pages *pages, int32_t n, const int32_t *table)
{
    assert(n <= pages->n_page - pages->n_free);
    for (int32_t i = n; i-- > 0;) /* in reverse, so that the next taker finds the same order */
        pages->free_page[pages->n_free++] = table[i];
}
