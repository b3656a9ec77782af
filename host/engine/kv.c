#include "host/engine/kv.h"

#include "host/base/numerics.h"

#include <string.h>

/* ---- unused pages, in the order of taking ---- */

static void unlink_unused(st_pages *pages, int32_t page)
{
    st_page *p = &pages->page[page];
    *(p->older < 0 ? &pages->oldest : &pages->page[p->older].newer) = p->newer;
    *(p->newer < 0 ? &pages->newest : &pages->page[p->newer].older) = p->older;
    pages->n_unused--;
}

static void link_newest(st_pages *pages, int32_t page)
{
    st_page *p = &pages->page[page];
    p->older = pages->newest;
    p->newer = -1;
    *(pages->newest < 0 ? &pages->oldest : &pages->page[pages->newest].newer) = page;
    pages->newest = page;
    pages->n_unused++;
}

static void link_oldest(st_pages *pages, int32_t page)
{
    st_page *p = &pages->page[page];
    p->older = -1;
    p->newer = pages->oldest;
    *(pages->oldest < 0 ? &pages->newest : &pages->page[pages->oldest].older) = page;
    pages->oldest = page;
    pages->n_unused++;
}

/* ---- pages by content ---- */

static int32_t *bucket_of(const st_pages *pages, st_content before, const int32_t *token)
{
    uint64_t hash = st_hash(st_hash(ST_HASH_SEED, &before, sizeof before), token, ST_KV_PAGE * sizeof *token);
    return &pages->bucket[(hash ^ hash >> 32) & (uint64_t)(pages->n_bucket - 1)];
}

static int32_t *tokens_of(const st_pages *pages, int32_t page)
{
    return pages->token + (size_t)page * ST_KV_PAGE;
}

static void drop_content(st_pages *pages, int32_t page)
{
    st_page *p = &pages->page[page];
    if (p->content == 0)
        return;
    int32_t *at = bucket_of(pages, p->before, tokens_of(pages, page));
    while (*at != page)
        at = &pages->page[*at].chain;
    *at = p->chain;
    p->content = 0;
}

/* ---- the interface ---- */

bool st_pages_create(st_pages *pages, int32_t n_page)
{
    *pages = (st_pages){.n_page = n_page, .n_bucket = 1, .oldest = -1, .newest = -1};
    while (pages->n_bucket < n_page && pages->n_bucket < 1 << 30)
        pages->n_bucket *= 2;
    pages->page = st_calloc((size_t)n_page, sizeof *pages->page);
    pages->token = st_calloc((size_t)n_page * ST_KV_PAGE, sizeof *pages->token);
    pages->bucket = st_calloc((size_t)pages->n_bucket, sizeof *pages->bucket);
    if (!pages->page || !pages->token || !pages->bucket)
        return false;
    for (int32_t i = 0; i < pages->n_bucket; i++)
        pages->bucket[i] = -1;
    for (int32_t i = 0; i < n_page; i++) /* page 0 is taken first */
        link_newest(pages, i);
    return true;
}

void st_pages_destroy(st_pages *pages)
{
    st_free(pages->page);
    st_free(pages->token);
    st_free(pages->bucket);
    *pages = (st_pages){0};
}

int32_t st_pages_for(int64_t n_position)
{
    return (int32_t)st_ceil_div(n_position, ST_KV_PAGE);
}

int32_t st_pages_take(st_pages *pages)
{
    int32_t page = pages->oldest;
    if (page < 0)
        return -1;
    drop_content(pages, page);
    st_pages_use(pages, page);
    return page;
}

void st_pages_use(st_pages *pages, int32_t page)
{
    if (pages->page[page].n_user++ == 0)
        unlink_unused(pages, page);
}

void st_pages_give(st_pages *pages, int32_t page)
{
    st_page *p = &pages->page[page];
    assert(p->n_user > 0);
    if (--p->n_user > 0)
        return;
    if (p->content)
        link_newest(pages, page);
    else
        link_oldest(pages, page);
}

int32_t st_pages_find(const st_pages *pages, st_content before, const int32_t *token)
{
    int32_t page = *bucket_of(pages, before, token);
    while (page >= 0 && (pages->page[page].before != before ||
                         memcmp(tokens_of(pages, page), token, ST_KV_PAGE * sizeof *token) != 0))
        page = pages->page[page].chain;
    return page;
}

int32_t st_pages_keep(st_pages *pages, int32_t page, st_content before, const int32_t *token)
{
    int32_t same = st_pages_find(pages, before, token);
    if (same >= 0) {
        st_pages_use(pages, same);
        st_pages_give(pages, page);
        return same;
    }
    int32_t *bucket = bucket_of(pages, before, token);
    st_page *p = &pages->page[page];
    assert(p->n_user > 0 && p->content == 0);
    p->content = ++pages->last;
    p->before = before;
    p->chain = *bucket;
    *bucket = page;
    memcpy(tokens_of(pages, page), token, ST_KV_PAGE * sizeof *token);
    return page;
}

void st_pages_forget(st_pages *pages)
{
    for (int32_t i = 0; i < pages->n_page; i++)
        drop_content(pages, i);
}
