/* linear: Q8 weights, int8 input, for vectors of any width. Only for the files that define how four
 * columns of a vector of rows are multiplied (weights, dot, plain_sum) before.
 *
 * Tiles hold four columns of 16 rows in 64 bytes, which meet four activations broadcast to every 32-bit lane:
 * no sum crosses lanes, and scales of groups are vectors too. Two or four vectors of outputs meet a group of
 * rows of activations, all sums in registers. */
#ifndef ST_CPU_LINEAR_Q8_VEC_H
#define ST_CPU_LINEAR_Q8_VEC_H

#include "host/cpu/linear_pack.h"
#include "host/cpu/scales_vec.h"

enum {
    TILE_VECS = ST_CPU_TILE / VEC,
    MOST_VECS = 4,
    MOST_ROWS = VEC == 16 ? 12 : 4, /* 24 sums of 32 registers, 8 of 16 */
    MOST_SUMS = 2 * MOST_ROWS,
    WIDE_ROWS = MOST_SUMS / MOST_VECS, /* up to so many rows meet four vectors */
    ORDER_ROWS = 2,                    /* or those of a tile, where tiles are read in order */
    CHAINS = VEC == 16 ? 16 : 8, /* sums are split in parts up to so many: additions have a latency of 5 */
    /* What is read once is fetched so many bytes ahead, to the first-level cache and to the second, as in
     * linear_ternary.h: a head of 128256 x 2560 is read at 97 % of the bandwidth. */
    NEAR = 1024,
    FAR = 4096
};

/* The vectors of outputs that are computed at once. */
typedef struct block {
    int n_vec;                             /* 2 or 4, or those of a tile */
    bool in_order;                         /* nothing is fetched */
    int32_t tile[MOST_VECS];               /* -1: a repetition, which is not stored */
    const unsigned char *code[MOST_VECS];  /* of the tile */
    const unsigned char *fetch[MOST_VECS]; /* what to fetch meanwhile, a line for each line of code */
} block;

/* Four activations in every lane. */
INLINE ivec spread(const int8_t *q)
{
    int32_t word;
    memcpy(&word, q, sizeof word);
    return ivec_set(word);
}

/* Integer sums of n_step steps (a multiple of 8, or the last segment: of 4) from byte `at` of the tiles on,
 * for n_vec vectors of outputs and n_row packed rows. */
INLINE void sums(const block *b, size_t at, const int8_t *q, int32_t n_step, const int n_vec, const int n_row,
                 const bool fetches, ivec *out)
{
    const int n_chain = 4 * n_vec * n_row <= CHAINS ? 4 : 2 * n_vec * n_row <= CHAINS ? 2 : 1;
    ivec acc[MOST_SUMS > CHAINS ? MOST_SUMS : CHAINS];
    UNROLL for (int i = 0; i < n_vec * n_row * n_chain; i++)
    {
        acc[i] = ivec_zero();
    }
    for (int32_t step = 0; step < n_step; step += n_chain) {
        UNROLL for (int c = 0; c < n_chain; c++)
        {
            ivec w[MOST_VECS], u[MOST_VECS];
            UNROLL for (int v = 0; v < n_vec; v++)
            {
                size_t line = at + (size_t)c * ST_CPU_STEP_BYTES;
                w[v] = ivec_load(b->code[v] + line);
                u[v] = weights(w[v]);
                if (fetches && v % TILE_VECS == 0)
                    fetch_far((uintptr_t)b->fetch[v] + line);
                if (fetches && v % TILE_VECS == 0 && n_vec == MOST_VECS)
                    fetch_near((uintptr_t)b->code[v] + line + NEAR);
            }
            UNROLL for (int t = 0; t < n_row; t++)
            {
                ivec a = spread(q + 4 * (c * n_row + t));
                UNROLL for (int v = 0; v < n_vec; v++)
                {
                    int i = (t * n_vec + v) * n_chain + c;
                    acc[i] = dot(acc[i], w[v], u[v], a);
                }
            }
        }
        at += (size_t)n_chain * ST_CPU_STEP_BYTES;
        q += 4 * n_chain * n_row;
    }
    UNROLL for (int i = 0; i < n_vec * n_row; i++)
    {
        out[i] = acc[i * n_chain];
        UNROLL for (int c = 1; c < n_chain; c++)
        {
            out[i] = ivec_add(out[i], acc[i * n_chain + c]);
        }
    }
}

/* The same for a number of rows that is not constant. A function of its own: gcc keeps the sums in memory
 * where it inlines it. */
static NOINLINE void block_sums(const block *b, size_t at, const int8_t *q, int32_t n_step, int n_row,
                                ivec *out)
{
#define CASE(n_vec, n_row)                                                                                   \
    case 16 * n_vec + n_row:                                                                                 \
        sums(b, at, q, n_step, n_vec, n_row, true, out);                                                     \
        break;
    if (b->in_order) {
        if (n_row == 1)
            sums(b, at, q, n_step, TILE_VECS, 1, false, out);
        else
            sums(b, at, q, n_step, TILE_VECS, 2, false, out);
        return;
    }
    switch (16 * b->n_vec + n_row) {
        CASE(4, 1)
        CASE(4, 2)
#if ST_CPU_X86 && defined(__AVX512F__)
        CASE(4, 3)
        CASE(4, 4)
        CASE(4, 5)
        CASE(4, 6)
        CASE(2, 6)
        CASE(2, 7)
        CASE(2, 8)
        CASE(2, 9)
        CASE(2, 10)
        CASE(2, 11)
        CASE(2, 12)
#else
        CASE(2, 2)
        CASE(2, 3)
        CASE(2, 4)
#endif
    default:
        assert(false);
    }
#undef CASE
}

/* Segment s, as f32 terms of the block's outputs for rows t ... t + n_row - 1, which q holds. */
static void terms(const st_cpu_linear *l, const block *b, const int8_t *q, int32_t t, int32_t s, int n_row,
                  vec *out)
{
    const st_cpu_weight *w = l->weight;
    int32_t first = s * (l->segment / 4), n_step = w->n_step - first;
    if (l->n_segment > 1)
        n_step = (int32_t)st_min(l->segment / 4, n_step);
    ivec isum[MOST_SUMS];
    block_sums(b, (size_t)first * ST_CPU_STEP_BYTES, q + 4 * (size_t)n_row * (size_t)first, n_step, n_row,
               isum);
    vec scale[MOST_VECS];
    for (int v = 0; v < b->n_vec; v++)
        scale[v] = tile_scales(w, (int32_t)st_max(b->tile[v], 0), s / l->per_weight, v % TILE_VECS);
    for (int i = 0; i < n_row; i++) {
        size_t row = (size_t)(t + i);
        int32_t sum = l->q.sum[row * (size_t)l->q.n_sum + (size_t)s];
        vec scale_a = vec_set(l->q.scale[row * (size_t)l->q.n_scale + (size_t)(s / l->per_act)]);
        for (int v = 0; v < b->n_vec; v++)
            out[i * b->n_vec + v] =
                vec_mul(vec_of_ints(plain_sum(isum[i * b->n_vec + v], sum)), vec_mul(scale[v], scale_a));
    }
}

/* The sum over blocks of ST_K_BLOCK columns of the sums of their segments. */
static void add_segments(const st_cpu_linear *l, const block *b, const int8_t *q, int32_t t, int n_row,
                         vec *y)
{
    const int n = b->n_vec * n_row;
    vec term[MOST_SUMS], part[MOST_SUMS];
    for (int i = 0; i < n; i++)
        y[i] = part[i] = vec_zero();
    for (int32_t s = 0; s < l->n_segment; s++) {
        terms(l, b, q, t, s, n_row, term);
        for (int i = 0; i < n; i++)
            part[i] = vec_add(part[i], term[i]);
        if ((s + 1) * l->segment % ST_K_BLOCK != 0 && s + 1 < l->n_segment)
            continue;
        for (int i = 0; i < n; i++) {
            y[i] = vec_add(y[i], part[i]);
            part[i] = vec_zero();
        }
    }
}

static void outputs(const st_cpu_linear *l, const block *b, const int8_t *q, int32_t t, int n_row)
{
    vec y[MOST_SUMS];
    if (l->n_segment == 1)
        terms(l, b, q, t, 0, n_row, y);
    else
        add_segments(l, b, q, t, n_row, y);
    for (int v = 0; v < b->n_vec; v++) {
        int32_t first = b->tile[v] * ST_CPU_TILE + v % TILE_VECS * VEC;
        int32_t count = (int32_t)st_min(VEC, l->weight->base.rows - first);
        for (int i = 0; i < n_row && b->tile[v] >= 0 && count > 0; i++) {
            float out[VEC];
            vec_store(out, y[i * b->n_vec + v]);
            st_cpu_linear_store(l, t + i, first, count, out);
        }
    }
}

/* Vector v is of `tile`, or repeats what is in its place. */
static void set_vector(block *b, const st_cpu_weight *w, int v, int64_t tile, bool exists)
{
    b->tile[v] = exists ? (int32_t)tile : -1;
    b->code[v] = b->fetch[v] =
        w->data + (size_t)(exists ? tile : 0) * w->row_bytes + sizeof(ivec) * (size_t)(v % TILE_VECS);
}

/* Vectors of outputs that meet a group of rows at a time, and their tiles, the loops' unit. */
static int vectors(const row_groups *g)
{
    return g->n_group == 1 && g->n_row <= WIDE_ROWS ? 4 : 2;
}

static int64_t unit_tiles(const row_groups *g)
{
    return vectors(g) / TILE_VECS;
}

/* One group of rows, which reads the weights once: memory gives more to several streams, so that the vectors
 * of a block are of tiles far apart. */
static void stream_tiles(void *context, int64_t first, int64_t count)
{
    const row_groups *g = context;
    block b = {.n_vec = vectors(g)};
    first *= unit_tiles(g);
    for (int64_t i = 0; i < count; i++) {
        for (int v = 0; v < b.n_vec; v++) {
            int64_t tile = first + v / TILE_VECS * count + i;
            set_vector(&b, g->l->weight, v, tile, tile < g->l->weight->n_tile);
            b.fetch[v] += FAR;
        }
        outputs(g->l, &b, g->packed ? group_packed(g, 0) : g->l->q.code, g->first, g->n_row);
    }
}

/* One or two rows, where the processor foresees what is read next: one tile after the other. */
static inline void ordered_tiles(void *context, int64_t first, int64_t count)
{
    const row_groups *g = context;
    block b = {.n_vec = TILE_VECS, .in_order = true};
    for (int64_t tile = first; tile < first + count; tile++) {
        for (int v = 0; v < TILE_VECS; v++)
            set_vector(&b, g->l->weight, v, tile, true);
        outputs(g->l, &b, g->packed ? group_packed(g, 0) : g->l->q.code, g->first, g->n_row);
    }
}

/* Several groups of rows, which meet two vectors of outputs one after the other. With the first two of them a
 * tile each of the next vectors comes to the second-level cache. */
static void share_tiles(void *context, int64_t first, int64_t count)
{
    const row_groups *g = context;
    const st_cpu_weight *w = g->l->weight;
    for (int64_t unit = first; unit < first + count; unit++) {
        block b = {.n_vec = vectors(g)};
        for (int32_t group = 0; group < g->n_group; group++) {
            for (int v = 0; v < b.n_vec; v++) {
                int64_t tile = unit * unit_tiles(g) + v / TILE_VECS;
                set_vector(&b, w, v, tile, tile < w->n_tile);
                b.fetch[v] += group == v / TILE_VECS ? (size_t)unit_tiles(g) * w->row_bytes : 0;
            }
            outputs(g->l, &b, group_packed(g, group), group_row(g, group), group_count(g, group));
        }
    }
}

static bool takes(const void *args)
{
    const st_linear_args *a = args;
    return a->quant && a->weight->type == ST_Q8 && st_cpu_is_tiled((const st_cpu_weight *)a->weight);
}

static inline bool takes_in_order(const st_cpu *cpu, const void *args)
{
    const st_linear_args *a = args;
    return takes(args) && st_cpu_row_count(cpu, a->rows) <= ORDER_ROWS && st_cpu_in_order(cpu);
}

static inline void run_in_order(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    if (l.n_row == 0)
        return;
    row_groups g = group_rows(cpu, &l, 0, 4 * (size_t)l.weight->n_step, ORDER_ROWS, l.n_row > 1);
    st_cpu_linear_loop(cpu, &l, l.weight->n_tile, ordered_tiles, &g);
}

static void run(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    size_t row = 4 * (size_t)l.weight->n_step;
    for (int32_t first = 0; first < l.n_row;) {
        row_groups g = group_rows(cpu, &l, first, row, MOST_ROWS, l.n_row > 1);
        st_cpu_linear_loop(cpu, &l, st_ceil_div(l.weight->n_tile, unit_tiles(&g)),
                           g.n_group == 1 ? stream_tiles : share_tiles, &g);
        first += g.n_row;
    }
}

#endif
