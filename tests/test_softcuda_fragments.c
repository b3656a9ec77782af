/* The software CUDA driver: where a warp's registers lie in a matrix. The formulas are those of PTX ISA 9.1:
   "Matrix Fragments for mma.m8n8k16" (9.7.14.5.3), "for mma.m16n8k16 with integer type" (9.7.14.5.9), "for
   mma.m16n8k32" (9.7.14.5.10), and "ldmatrix" (9.7.14.5.15), which says of .trans no more than "loaded in
   column-major format": what that means for a lane is taken from CUTLASS. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef SOFTCUDA_LIBRARY

#include "tests/support/softcuda/driver.h"

enum { MAX_K = 32, ROWS = 16, COLUMNS = 8 };
struct shape {
    const char *name;
    int m, k;
};
struct element {
    int row, column;
};

// Element i of a lane: four bytes a register of A and B, one word a register of C.
static struct element element_of_a(const struct shape *s, int lane, int i)
{
    const int group = lane >> 2, member = lane % 4;
    if (s->m == 8)
        return (struct element){group, member * 4 + i};
    if (s->k == 16)
        return (struct element){i < 4 ? group : group + 8, member * 4 + (i & 3)};
    return (struct element){i < 4 || (i >= 8 && i < 12) ? group : group + 8,
                            member * 4 + (i & 3) + (i >= 8 ? 16 : 0)};
}
static struct element element_of_b(const struct shape *s, int lane, int i)
{
    const int group = lane >> 2, member = lane % 4;
    if (s->k == 16)
        return (struct element){member * 4 + i, group};
    return (struct element){member * 4 + (i & 3) + (i >= 4 ? 16 : 0), group};
}
static struct element element_of_c(const struct shape *s, int lane, int i)
{
    const int group = lane >> 2, member = lane % 4;
    if (s->m == 8)
        return (struct element){group, member * 2 + i};
    return (struct element){i < 2 ? group : group + 8, member * 2 + (i & 1)};
}

/* The same as CUTLASS publishes it (MMA_Traits and Copy_Traits of its headers mma_traits_sm75,
   mma_traits_sm80 and copy_traits_sm75), as bits: bit n of a lane's number, and then of an element's, moves
   its place by so much. A place is row + m * column in A, column + 8 * row in B, row + m * column in C; in a
   matrix of ldmatrix, a halfword. */
struct layout {
    int lane[5], element[4];
};
static const struct {
    struct layout a, b, c;
} published[] = {
    {{{32, 64, 1, 2, 4}, {8, 16}}, {{32, 64, 1, 2, 4}, {8, 16}}, {{16, 32, 1, 2, 4}, {8}}},
    {{{64, 128, 1, 2, 4}, {16, 32, 8}}, {{32, 64, 1, 2, 4}, {8, 16}}, {{32, 64, 1, 2, 4}, {16, 8}}},
    {{{64, 128, 1, 2, 4}, {16, 32, 8, 256}}, {{32, 64, 1, 2, 4}, {8, 16, 128}}, {{32, 64, 1, 2, 4}, {16, 8}}},
};
static const struct layout published_rows = {{2, 4, 8, 16, 32}, {1}},
                           published_columns = {{16, 32, 1, 2, 4}, {8}};

static int place(const struct layout *l, int lane, int i)
{
    int at = 0;
    for (int bit = 0; bit < 5; bit++)
        at += (lane >> bit & 1) * l->lane[bit];
    for (int bit = 0; bit < 4; bit++)
        at += (i >> bit & 1) * l->element[bit];
    return at;
}

struct matrices {
    uint8_t a[ROWS][MAX_K], b[MAX_K][COLUMNS];
    int32_t c[ROWS][COLUMNS];
};

// The difference of the kernel's result from a triple loop, in elements.
static int mma_misses(const struct shape *s, const char *name, bool a_signed, bool b_signed)
{
    struct matrices x;
    uint8_t a[4][32][4], b[2][32][4];
    int32_t c[4][32], d[4][32];
    for (size_t i = 0; i < sizeof x; i++)
        ((uint8_t *)&x)[i] = (uint8_t)random_word();
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < s->m * s->k / 32; i++) {
            struct element e = element_of_a(s, lane, i);
            a[i / 4][lane][i % 4] = x.a[e.row][e.column];
        }
        for (int i = 0; i < s->k / 4; i++) {
            struct element e = element_of_b(s, lane, i);
            b[i / 4][lane][i % 4] = x.b[e.row][e.column];
        }
        for (int i = 0; i < s->m / 4; i++) {
            struct element e = element_of_c(s, lane, i);
            c[i][lane] = x.c[e.row][e.column];
        }
    }
    uint64_t da = device_array(a, sizeof a), db = device_array(b, sizeof b), dc = device_array(c, sizeof c),
             dd = device_array(NULL, sizeof d);
    void *arguments[] = {&da, &db, &dc, &dd};
    cr_assert_eq(cu.launch(kernel("fragments", name), 1, 1, 1, 32, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(d, dd, sizeof d), 0);
    int misses = 0;
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < s->m / 4; i++) {
            struct element e = element_of_c(s, lane, i);
            uint32_t sum = (uint32_t)x.c[e.row][e.column];
            for (int k = 0; k < s->k; k++) {
                int av = a_signed ? (int8_t)x.a[e.row][k] : x.a[e.row][k];
                int bv = b_signed ? (int8_t)x.b[k][e.column] : x.b[k][e.column];
                sum += (uint32_t)(av * bv);
            }
            misses += (uint32_t)d[i][lane] != sum;
        }
    return misses;
}

static const struct shape shapes[] = {{"m8n8k16", 8, 16}, {"m16n8k16", 16, 16}, {"m16n8k32", 16, 32}};

Test(softcuda_fragments, the_manual_is_read_as_cutlass_has_it)
{
    for (int n = 0; n < 3; n++)
        for (int i = 0; i < 32 * 16; i++) {
            const struct shape *s = &shapes[n];
            const int lane = i % 32, element = i / 32;
            struct element a = element_of_a(s, lane, element), b = element_of_b(s, lane, element),
                           c = element_of_c(s, lane, element);
            if (element < s->m * s->k / 32)
                cr_assert_eq(a.row + s->m * a.column, place(&published[n].a, lane, element), "%s, A",
                             s->name);
            if (element < s->k / 4)
                cr_assert_eq(b.column + 8 * b.row, place(&published[n].b, lane, element), "%s, B", s->name);
            if (element < s->m / 4)
                cr_assert_eq(c.row + s->m * c.column, place(&published[n].c, lane, element), "%s, C",
                             s->name);
        }
}

Test(softcuda_fragments, mma)
{
    open_driver();
    for (size_t i = 0; i < 3; i++)
        for (int types = 0; types < 4; types++) {
            char name[64];
            snprintf(name, sizeof name, "%s_%s_%s", shapes[i].name, types & 1 ? "s8" : "u8",
                     types & 2 ? "s8" : "u8");
            cr_expect_eq(mma_misses(&shapes[i], name, types & 1, types & 2), 0, "%s", name);
        }
    cr_expect_gt(mma_misses(&shapes[2], "m16n8k32_wrong_order", true, true), 100);
}

Test(softcuda_fragments, ldmatrix)
{
    static const int counts[] = {1, 2, 4};
    uint16_t matrix[4][64];
    uint32_t out[4][32];
    open_driver();
    for (int i = 0; i < 256; i++)
        matrix[i / 64][i % 64] = (uint16_t)(0x1100 + 37 * i);
    uint64_t rows = device_array(matrix, sizeof matrix), dout = device_array(NULL, sizeof out);
    for (int n = 0; n < 6; n++) {
        const bool transposed = n >= 3;
        char name[64];
        snprintf(name, sizeof name, "ldmatrix_x%d%s", counts[n % 3], transposed ? "_trans" : "");
        void *arguments[] = {&rows, &dout};
        cr_assert_eq(cu.launch(kernel("fragments", name), 1, 1, 1, 32, 1, 1, 0, NULL, arguments, NULL), 0);
        cr_assert_eq(cu.download(out, dout, sizeof out), 0);
        for (int m = 0; m < counts[n % 3]; m++)
            for (int lane = 0; lane < 32; lane++) {
                const struct layout *l = transposed ? &published_columns : &published_rows;
                const uint32_t low = matrix[m][place(l, lane, 0)], high = matrix[m][place(l, lane, 1)];
                cr_expect_eq(out[m][lane], low | high << 16, "%s, matrix %d, lane %d", name, m, lane);
            }
    }
}

#else

Test(softcuda_fragments, not_built)
{
    cr_skip_test("softcuda: no nvcc or no libzstd-dev");
}

#endif
