#include "host/base/base.h"
#include "host/base/parallel.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>
#include <string.h>

Test(base, checked_arithmetic)
{
    size_t out = 7;
    cr_assert(st_add_size(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    cr_assert(!st_add_size(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    cr_assert(st_mul_size(SIZE_MAX / 3, 3, &out) && out == SIZE_MAX / 3 * 3);
    cr_assert(!st_mul_size(SIZE_MAX / 3 + 1, 3, &out));
    cr_assert(st_mul_size(5, 0, &out) && out == 0);
}

/* From 8 MB on blocks are aligned otherwise. */
Test(base, blocks_are_aligned_and_writable)
{
    static const size_t bytes[] = {1, 64, 65, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, (9 << 20) + 63};
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        unsigned char *block = st_alloc(bytes[i]);
        cr_assert_not_null(block, "%zu bytes", bytes[i]);
        cr_expect_eq((uintptr_t)block % 64, 0);
        memset(block, 0xa5, bytes[i]);
        cr_expect_eq(block[bytes[i] - 1], 0xa5);
        st_free(block);
    }
    cr_expect_null(st_alloc(0));
    cr_expect_null(st_alloc(SIZE_MAX));
}

Test(base, failure_message)
{
    sterna_error error;
    cr_assert_eq(st_fail(&error, STERNA_E_LIMIT, "%d of %d", 3, 2), STERNA_E_LIMIT);
    cr_assert_eq(error.status, STERNA_E_LIMIT);
    cr_assert_str_eq(error.message, "3 of 2");
    cr_assert_eq(st_fail(NULL, STERNA_E_IO, "x"), STERNA_E_IO);
}

static void count(void *context, int64_t first, int64_t n)
{
    unsigned char *seen = context;
    for (int64_t i = first; i < first + n; i++)
        seen[i]++;
}

Test(base, loop_visits_each_item_once)
{
    for (int threads = 1; threads <= 3; threads++) {
        st_pool *pool = st_pool_create(threads);
        cr_assert_not_null(pool);
        for (int64_t n = 0; n < 70; n += n < 10 ? 1 : 29)
            for (int64_t tile = 1; tile < 12; tile += 5) {
                unsigned char seen[70] = {0};
                st_pool_loop(pool, n, tile, count, seen);
                for (int64_t i = 0; i < 70; i++)
                    cr_assert_eq(seen[i], i < n, "threads %d n %d tile %d item %d", threads, (int)n,
                                 (int)tile, (int)i);
            }
        st_pool_destroy(pool);
    }
}

Test(base, guards_see_a_stray_byte)
{
    guarded g = guard_alloc(100);
    memset(g.data, 1, 100);
    cr_assert(guard_intact(&g));
    g.data[100] = 0;
    cr_assert(!guard_intact(&g));
    guard_free(&g);
}
