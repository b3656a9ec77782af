/* Rows of int8 activations in the order in which a block of weights meets them: what the int8 kernels of
 * linear share.
 *
 * A call's rows form groups whose sums fit the registers. A packed group is [4 columns][row][4], so that one
 * pointer walks through it. */
#ifndef ST_CPU_LINEAR_PACK_H
#define ST_CPU_LINEAR_PACK_H

#include "host/cpu/simd.h"

enum { GROUP_SLACK = 64 }; /* bytes after a packed group, which the last store may reach into */

typedef struct row_groups {
    const st_cpu_linear *l;
    int32_t first, n_row; /* of the rows that fit the packed buffer at once */
    int32_t n_group;
    size_t row;     /* bytes of a row, a multiple of 16 */
    int8_t *packed; /* NULL: rows are read in place */
} row_groups;

static inline int32_t group_start(const row_groups *g, int32_t group)
{
    return (int32_t)((int64_t)group * g->n_row / g->n_group);
}

/* The first row of a group, among all rows of the call. */
static inline int32_t group_row(const row_groups *g, int32_t group)
{
    return g->first + group_start(g, group);
}

static inline int32_t group_count(const row_groups *g, int32_t group)
{
    return group_start(g, group + 1) - group_start(g, group);
}

static inline int8_t *group_packed(const row_groups *g, int32_t group)
{
    return g->packed + (size_t)group_start(g, group) * g->row + (size_t)group * GROUP_SLACK;
}

/* Four words of each row; word i of all goes to to + i * stride. */
#if ST_CPU_X86
static inline void transpose_words(const int8_t *const row[4], int8_t *to, size_t stride)
{
    __m128 x[4];
    for (int i = 0; i < 4; i++)
        x[i] = _mm_loadu_ps((const float *)(const void *)row[i]);
    _MM_TRANSPOSE4_PS(x[0], x[1], x[2], x[3]);
    for (size_t i = 0; i < 4; i++)
        _mm_storeu_ps((float *)(void *)(to + i * stride), x[i]);
}
#else
static inline void transpose_words(const int8_t *const row[4], int8_t *to, size_t stride)
{
    int32x4_t x[4];
    for (int i = 0; i < 4; i++)
        x[i] = vreinterpretq_s32_s8(vld1q_s8(row[i]));
    int32x4x2_t a = vzipq_s32(x[0], x[2]), b = vzipq_s32(x[1], x[3]);
    for (size_t i = 0; i < 2; i++) {
        int32x4x2_t words = vzipq_s32(a.val[i], b.val[i]);
        vst1q_s8(to + 2 * i * stride, vreinterpretq_s8_s32(words.val[0]));
        vst1q_s8(to + (2 * i + 1) * stride, vreinterpretq_s8_s32(words.val[1]));
    }
}
#endif

/* Four rows at a time, from the last: what a store writes past the rows of a group is written again. */
static void pack_groups(void *context, int64_t first, int64_t count)
{
    const row_groups *g = context;
    size_t stride = g->l->q.stride;
    for (int32_t group = (int32_t)first; group < first + count; group++) {
        int32_t n = group_count(g, group);
        const int8_t *from = g->l->q.code + (size_t)group_row(g, group) * stride;
        int8_t *to = group_packed(g, group);
        for (size_t at = 0; at < g->row; at += 16)
            for (int32_t four = (n - 1) / 4 * 4; four >= 0; four -= 4) {
                const int8_t *four_rows[4];
                for (int32_t i = 0; i < 4; i++)
                    four_rows[i] = from + at + (size_t)st_min(four + i, n - 1) * stride;
                transpose_words(four_rows, to + at * (size_t)n + 4 * four, 4 * (size_t)n);
            }
    }
}

/* Groups of at most `most` rows from `first` on: as many rows as fit the packed buffer, all packed unless
 * they are few enough to be read in place. */
static inline row_groups group_rows(st_cpu *cpu, const st_cpu_linear *l, int32_t first, size_t row,
                                    int32_t most, bool packs)
{
    int32_t fit = (int32_t)(ST_CPU_PACKED_BYTES / (row * (size_t)most + GROUP_SLACK)) * most;
    row_groups g = {.l = l, .first = first, .n_row = (int32_t)st_min(fit, l->n_row - first), .row = row};
    g.n_group = (int32_t)st_ceil_div(g.n_row, most);
    if (packs) {
        g.packed = cpu->packed;
        st_pool_loop(st_cpu_linear_serial(l) ? NULL : cpu->pool, g.n_group, 1, pack_groups, &g);
    }
    return g;
}

#endif
