/* Prompt look-up. */
#include "host/engine/draft.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect(const int32_t *token, int32_t n, int32_t most, const int32_t *expected, int32_t n_expected)
{
    int32_t draft[16];
    memset(draft, 0xff, sizeof draft);
    cr_assert_eq(st_draft(token, n, most, draft), n_expected);
    if (n_expected > 0)
        cr_assert_arr_eq(draft, expected, (size_t)n_expected * sizeof *draft);
    for (int i = n_expected; i < 16; i++)
        cr_assert_eq(draft[i], -1);
}

#define TEXT(...)    (const int32_t[]){__VA_ARGS__}, (int32_t)(sizeof((int32_t[]){__VA_ARGS__}) / 4)
#define NOTHING(...) expect(TEXT(__VA_ARGS__), 8, NULL, 0)

Test(draft, what_followed_the_longest_end_comes_again)
{
    expect(TEXT(1, 2, 3, 4, 5, 9, 1, 2), 3, TEXT(3, 4, 5));
    /* Two occurrences of "1 2": the later one. */
    expect(TEXT(1, 2, 3, 8, 1, 2, 4, 8, 7, 1, 2), 2, TEXT(4, 8));
    /* ... unless the earlier one is longer. */
    expect(TEXT(7, 1, 2, 3, 8, 1, 2, 4, 8, 7, 1, 2), 2, TEXT(3, 8));
    /* Five equal tokens count no more than four. */
    expect(TEXT(5, 6, 1, 2, 3, 9, 5, 4, 6, 1, 2, 3, 8, 5, 6, 1, 2, 3), 1, TEXT(8));
    expect(TEXT(5, 6, 1, 2, 3, 9, 5, 4, 1, 2, 3, 8, 5, 6, 1, 2, 3), 1, TEXT(9));
}

Test(draft, a_loop_goes_on)
{
    expect(TEXT(1, 2, 3, 1, 2, 3, 1), 8, TEXT(2, 3, 1, 2, 3, 1, 2, 3));
    expect(TEXT(7, 7, 7), 5, TEXT(7, 7, 7, 7, 7));
}

Test(draft, nothing_to_go_on)
{
    NOTHING(1);
    NOTHING(1, 2);
    NOTHING(1, 1); /* one equal token is not enough */
    NOTHING(1, 2, 3, 4, 5, 6, 1);
    expect(TEXT(1, 2, 1, 2), 0, NULL, 0);
}

Test(draft, looks_back_only_so_far)
{
    static int32_t token[ST_DRAFT_WINDOW + 10];
    int32_t draft[1], n = ST_DRAFT_WINDOW + 10;
    for (int32_t i = 0; i < n; i++)
        token[i] = 100 + i;
    for (int32_t at = 5; at < 15; at++) {
        int32_t kept[2] = {token[at], token[at + 1]};
        token[at] = token[n - 2];
        token[at + 1] = token[n - 1];
        bool found = st_draft(token, n, 1, draft) == 1;
        cr_assert_eq(found, at + 2 > n - ST_DRAFT_WINDOW, "at %d", at);
        memcpy(token + at, kept, sizeof kept);
    }
}
