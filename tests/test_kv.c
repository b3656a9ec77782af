/* Pages: users, contents, and the order in which they are taken again. */
#include "host/base/numerics.h"
#include "host/engine/kv.h"

#include <criterion/criterion.h>
#include <string.h>

static const int32_t *tokens(int32_t first)
{
    static int32_t token[ST_KV_PAGE];
    for (int32_t i = 0; i < ST_KV_PAGE; i++)
        token[i] = first + i;
    return token;
}

Test(kv, counts_pages)
{
    cr_assert_eq(st_pages_for(0), 0);
    cr_assert_eq(st_pages_for(1), 1);
    cr_assert_eq(st_pages_for(64), 1);
    cr_assert_eq(st_pages_for(65), 2);
}

Test(kv, every_page_is_taken_once)
{
    st_pages p;
    bool taken[5] = {false};
    cr_assert(st_pages_create(&p, 5));
    for (int i = 0; i < 5; i++) {
        int32_t page = st_pages_take(&p);
        cr_assert(page >= 0 && page < 5 && !taken[page]);
        taken[page] = true;
    }
    cr_assert(st_pages_take(&p) == -1 && p.n_unused == 0);
    st_pages_use(&p, 3);
    st_pages_give(&p, 3);
    cr_assert_eq(p.n_unused, 0, "it still has a user");
    st_pages_give(&p, 3);
    cr_assert_eq(st_pages_take(&p), 3);
    st_pages_destroy(&p);
}

Test(kv, content_is_found_by_all_tokens_before_it)
{
    st_pages p;
    cr_assert(st_pages_create(&p, 8));
    int32_t a = st_pages_take(&p), b = st_pages_take(&p), c = st_pages_take(&p);
    cr_assert_eq(st_pages_find(&p, 0, tokens(0)), -1);
    cr_assert_eq(st_pages_keep(&p, a, 0, tokens(0)), a);
    cr_assert_eq(st_pages_keep(&p, b, p.page[a].content, tokens(64)), b);
    cr_assert_eq(st_pages_find(&p, 0, tokens(0)), a);
    cr_assert_eq(st_pages_find(&p, p.page[a].content, tokens(64)), b);
    cr_assert_eq(st_pages_find(&p, 0, tokens(64)), -1);
    cr_assert_eq(st_pages_find(&p, p.page[b].content, tokens(64)), -1);
    for (int32_t i = 0; i < ST_KV_PAGE; i++) { /* every token counts */
        int32_t other[ST_KV_PAGE];
        memcpy(other, tokens(0), sizeof other);
        other[i]++;
        cr_assert_eq(st_pages_find(&p, 0, other), -1);
    }
    /* The same content again: its page serves both tables. */
    cr_assert_eq(st_pages_keep(&p, c, 0, tokens(0)), a);
    cr_assert(p.page[a].n_user == 2 && p.page[c].n_user == 0);
    cr_assert_eq(st_pages_take(&p), c, "a page without content goes first");
    st_pages_destroy(&p);
}

/* 1000 contents in 4 pages: buckets' chains grow and shrink. */
Test(kv, old_contents_go_in_order)
{
    st_pages p;
    cr_assert(st_pages_create(&p, 4));
    int32_t page[1000];
    for (int32_t i = 0; i < 1000; i++) {
        page[i] = st_pages_take(&p);
        cr_assert(page[i] >= 0 && p.page[page[i]].content == 0);
        cr_assert_eq(st_pages_keep(&p, page[i], 0, tokens(100 * i)), page[i]);
        st_pages_give(&p, page[i]);
        for (int32_t back = 0; back <= i && back < 6; back++)
            cr_assert_eq(st_pages_find(&p, 0, tokens(100 * (i - back))), back < 4 ? page[i - back] : -1);
    }
    /* What is used again is not taken. */
    st_pages_use(&p, page[996]);
    for (int i = 0; i < 3; i++)
        cr_assert_neq(st_pages_take(&p), page[996]);
    cr_assert_eq(st_pages_take(&p), -1);
    cr_assert_eq(st_pages_find(&p, 0, tokens(99600)), page[996]);
    st_pages_forget(&p);
    cr_assert_eq(st_pages_find(&p, 0, tokens(99600)), -1);
    st_pages_destroy(&p);
}

Test(kv, a_content_that_comes_back_is_another)
{
    st_pages p;
    cr_assert(st_pages_create(&p, 1));
    int32_t page = st_pages_take(&p);
    st_pages_keep(&p, page, 0, tokens(0));
    st_content first = p.page[page].content;
    cr_assert_eq(st_pages_find(&p, 0, tokens(0)), page);
    cr_assert_eq(st_pages_find(&p, 7, tokens(0)), -1); /* in the only bucket there is */
    st_pages_give(&p, page);
    cr_assert_eq(st_pages_take(&p), page);
    st_pages_keep(&p, page, 0, tokens(0));
    cr_assert(first != 0 && p.page[page].content != first);
    st_pages_destroy(&p);
}
