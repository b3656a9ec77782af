/* Pages of the KV cache: who uses them, and what the full ones hold.
 *
 * A page holds ST_KV_PAGE positions of a sequence in all layers; a sequence's table lists its pages in order
 * of position. What is in a page is the backend's affair, but it depends only on the tokens up to its end. So
 * a full page is kept under its content - the content of the page before it, and its own tokens - and serves
 * every sequence that begins with them, also after its first user is gone. Pages that nobody uses are taken
 * again in the order in which they were given back, those without content first.
 *
 * Contents are numbered as they appear and never reused, and tokens are compared in full: two sequences share
 * a page only if all their tokens up to its end are equal. */
#ifndef ST_KV_H
#define ST_KV_H

#include "host/base/base.h"

typedef int64_t st_content; /* what a full page holds, all pages before it included; 0 = before the first */

typedef struct st_page {
    int32_t n_user;       /* tables that list it */
    int32_t older, newer; /* unused pages: neighbours in the order of taking, -1 = none */
    int32_t chain;        /* pages with content: the next one of the same bucket, -1 = none */
    st_content content;   /* 0 = not kept */
    st_content before;    /* content of the page before it */
} st_page;

typedef struct st_pages {
    int32_t n_page, n_unused;
    int32_t oldest, newest; /* ends of the list of unused pages, -1 = none */
    st_page *page;          /* [n_page] */
    int32_t *token;         /* [n_page][ST_KV_PAGE] of pages with content */
    int32_t *bucket;        /* [n_bucket] first page of a chain, -1 = none */
    int32_t n_bucket;       /* a power of two */
    st_content last;        /* content given most recently */
} st_pages;

/* False when out of memory; st_pages_destroy is due in either case. */
bool st_pages_create(st_pages *pages, int32_t n_page);
void st_pages_destroy(st_pages *pages);
/* Pages that hold `n_position` positions. */
int32_t st_pages_for(int64_t n_position);

/* Takes the page that was unused for longest, and drops what it held; -1 if all are used. */
int32_t st_pages_take(st_pages *pages);
/* One more user of a page that was found. */
void st_pages_use(st_pages *pages, int32_t page);
/* One user less. A table gives its pages back from its end, so that beginnings outlive what follows them. */
void st_pages_give(st_pages *pages, int32_t page);

/* The page that holds these ST_KV_PAGE tokens after `before`; -1 if none does. */
int32_t st_pages_find(const st_pages *pages, st_content before, const int32_t *token);
/* Keeps a full page under its content. If another page holds the same, that one takes its place in the
 * caller's table: it is returned, used once more, and `page` is given back. Else returns `page`. */
int32_t st_pages_keep(st_pages *pages, int32_t page, st_content before, const int32_t *token);
/* Drops all contents. */
void st_pages_forget(st_pages *pages);

#endif
