/* Pages of the KV cache: which are free. A page holds ST_KV_PAGE positions of one sequence in all layers; a
 * sequence's table lists its pages in order of position. What is in a page is the backend's affair. */
#ifndef ST_KV_H
#define ST_KV_H

#include "host/base/base.h"

typedef struct st_pages {
    int32_t n_page, n_free;
    int32_t *free_page; /* [n_page], a stack: the first n_free are free */
} st_pages;

/* False when out of memory. */
bool st_pages_create(st_pages *pages, int32_t n_page);
void st_pages_destroy(st_pages *pages);
/* Pages that hold `n_position` positions. */
int32_t st_pages_for(int64_t n_position);
/* Takes `n` pages into `table`, or none and returns false. */
bool st_pages_take(st_pages *pages, int32_t n, int32_t *table);
void st_pages_give(st_pages *pages, int32_t n, const int32_t *table);

#endif
