/* linear: TERNARY x int8, the same code for all instruction sets. Only for the files that define the vectors
 * first: linear_avx2.c, linear_avxvnni.c, linear_avx512vnni.c, linear_neon.h. They give vec and real, vectors
 * of i32 (or bytes) and of f32; vec_... and real_... on them, of which vec_dot(sum, code, act) is the sum + 4
 * codes (u8) x 4 activations (i8) in every lane; ST_LINEAR_ROWS, rows of activations whose sums fit the
 * registers; ST_LINEAR_CLASSES, fields of a byte that may be used where they stand.
 *
 * Codes stay unsigned: the dot product adds 4 codes of an output times 4 activations, which are broadcast to
 * every 32-bit lane, and the sum of the activations is subtracted at the end. A field of a byte may be used
 * where it stands, as 1, 4, 16 or 64 times the code: such a sum has K / 4 columns, at most 3 * 64 * 128 *
 * 32768 < 2^31.
 *
 * A block is two vectors of outputs. It meets up to ROWS rows of activations at a time, all sums in
 * registers. Up to that many rows the codes are decoded in registers ("direct"); with more rows they are
 * decoded once to bytes in the thread's scratch, which all rows then meet. One or two rows, where memory is
 * the limit, meet two blocks at once, or (run_in_order) one tile after the other. */
#ifndef ST_CPU_LINEAR_TERNARY_H
#define ST_CPU_LINEAR_TERNARY_H

#include "host/cpu/linear_pack.h"

#include <stdatomic.h>

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 24")
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL
#endif
/* Loads stay on their side of it: clang moves all loads of a step to its beginning and spills them. */
#if defined(__GNUC__)
#define LOADS_STAY __asm__ volatile("" : : : "memory")
#else
#define LOADS_STAY ((void)0)
#endif

enum {
    VEC_BYTES = sizeof(vec),
    VEC_LANES = VEC_BYTES / 4,
    TILE_VECS = ST_CPU_STEP_BYTES / VEC_BYTES,
    BLOCK_TILES = 2 / TILE_VECS,
    ROWS = ST_LINEAR_ROWS,
    STRIDED = 4,       /* up to so many rows are read in place; more are packed first */
    ORDER_COLS = 4096, /* more columns of activations do not stay in the first-level cache beside a tile */
    FEW = 2, /* up to so many rows meet STREAM_VECS vectors of outputs at once, or those of a tile */
    STREAM_VECS = 4,
    /* Codes are fetched to the second-level cache FAR bytes before they are used and to the first NEAR. */
    NEAR = 1024,
    FAR = 4096
};

/* Activations of some rows: row t's columns 4 i ... 4 i + 3 are at code + t * row + i * quad. */
typedef struct acts {
    const int8_t *code;
    size_t row, quad;
} acts;

/* Where the codes of some vectors of outputs are, from some step on. */
typedef struct codes {
    const unsigned char *at[STREAM_VECS];
    int32_t left; /* steps until the tiles end */
    size_t skip;  /* from the end of a tile to the next tile of its stream */
} codes;

typedef vec sums[ROWS][2];
typedef real outputs[ROWS][2];

/* ---- integer sums of some steps ---- */

/* What to add to an address to be `bytes` ahead in its stream, which goes on in the next block. */
static inline size_t ahead_of(const codes *c, size_t bytes)
{
    return bytes + ((size_t)c->left * ST_CPU_STEP_BYTES < bytes ? c->skip : 0);
}

INLINE void fetch_both(const unsigned char *at, size_t near, size_t far)
{
    fetch_near((uintptr_t)at + near);
    fetch_far((uintptr_t)at + far);
}

/* n_class accumulators per output: field f goes to number f % n_class, times 4 to that power. Sums of row t
 * and vector v go to out[v / 2 * n_row + t][v % 2]. */
INLINE void direct(codes c, acts q, int32_t n_step, const int n_vec, const int n_row, const int n_class,
                   const bool fetches, sums out)
{
    const int in_pair = n_vec == 1 ? 1 : 2;
    vec acc[8 * ROWS];
    UNROLL for (int i = 0; i < n_vec * n_row * n_class; i++) acc[i] = vec_zero();
    const int8_t *code = q.code;
    /* more rows are always packed: constants */
    const size_t row = n_row > STRIDED ? 4 : q.row, quad = n_row > STRIDED ? 4 * (size_t)n_row : q.quad;
    size_t near = ahead_of(&c, NEAR), far = ahead_of(&c, FAR), at = 0;
    for (int32_t step = 0; step < n_step; step++, at += ST_CPU_STEP_BYTES, code += 4 * quad) {
        vec x[STREAM_VECS];
        UNROLL for (int v = 0; v < n_vec; v++)
        {
            x[v] = vec_load(c.at[v] + at);
            if (fetches && v % TILE_VECS == 0)
                fetch_both(c.at[v] + at, near, far);
        }
        near += step == c.left - NEAR / ST_CPU_STEP_BYTES ? c.skip : 0;
        far += step == c.left - FAR / ST_CPU_STEP_BYTES ? c.skip : 0;
        UNROLL for (int f = 0; f < 4; f++)
        {
            if (n_row > FEW)
                LOADS_STAY;
            const vec mask = vec_spread_byte((char)(3 << 2 * (f % n_class)));
            UNROLL for (int first = 0; first < n_vec; first += 2)
            {
                vec u[2];
                UNROLL for (int v = 0; v < in_pair; v++) u[v] = vec_and(x[first + v], mask);
                UNROLL for (int t = 0; t < n_row; t++)
                {
                    vec a = vec_spread(code + (size_t)t * row + (size_t)f * quad);
                    UNROLL for (int v = 0; v < in_pair; v++)
                    {
                        vec *sum = &acc[((first + v) * n_row + t) * n_class + f % n_class];
                        *sum = vec_dot(*sum, u[v], a);
                    }
                }
                if (f % n_class == n_class - 1)
                    UNROLL for (int v = first; v < first + in_pair; v++) x[v] =
                        vec_shift_right(x[v], 2 * n_class);
            }
        }
    }
    UNROLL for (int v = 0; v < n_vec; v++) UNROLL for (int t = 0; t < n_row; t++)
    {
        const vec *of = &acc[(v * n_row + t) * n_class];
        vec sum = of[0];
        UNROLL for (int i = 1; i < n_class; i++) sum = vec_add(sum, vec_halve(of[i], 2 * i));
        out[v / 2 * n_row + t][v % 2] = sum;
    }
}

/* The same from decoded bytes [quad][2 vectors]; `fetch` is what will be read next, a line per step. */
INLINE void decoded(const unsigned char *byte, acts q, int32_t n_step, const unsigned char *fetch,
                    const int n_row, sums out)
{
    vec acc[ROWS][2];
    UNROLL for (int t = 0; t < n_row; t++) acc[t][0] = acc[t][1] = vec_zero();
    const int8_t *code = q.code;
    for (int32_t step = 0; step < n_step; step++) {
        UNROLL for (int f = 0; f < 4; f++)
        {
            LOADS_STAY;
            vec u0 = vec_load(byte + (size_t)(2 * f) * VEC_BYTES),
                u1 = vec_load(byte + (size_t)(2 * f + 1) * VEC_BYTES);
            UNROLL for (int t = 0; t < n_row; t++)
            {
                vec a = vec_spread(code + 4 * t + f * 4 * n_row);
                acc[t][0] = vec_dot(acc[t][0], u0, a);
                acc[t][1] = vec_dot(acc[t][1], u1, a);
            }
        }
        byte += (size_t)8 * VEC_BYTES;
        code += 16 * n_row;
        fetch_far((uintptr_t)fetch);
        fetch += ST_CPU_STEP_BYTES;
    }
    UNROLL for (int t = 0; t < n_row; t++)
    {
        out[t][0] = acc[t][0];
        out[t][1] = acc[t][1];
    }
}

/* Calls the function for a constant number of rows. */
#define FOR_ROWS(n, call)                                                                                    \
    switch (n) {                                                                                             \
        CASES(call)                                                                                          \
    }
#define CASE(n, call)                                                                                        \
    case n:                                                                                                  \
        call(n);                                                                                             \
        break;
#define CASES_4(call) CASE(1, call) CASE(2, call) CASE(3, call) CASE(4, call)
#define CASES_6(call) CASES_4(call) CASE(5, call) CASE(6, call)
#if ST_LINEAR_ROWS == 12
#define CASES(call)                                                                                          \
    CASES_6(call)                                                                                            \
    CASE(7, call) CASE(8, call) CASE(9, call) CASE(10, call) CASE(11, call) CASE(12, call)
#elif ST_LINEAR_ROWS == 6
#define CASES CASES_6
#else
#define CASES CASES_4
#endif

/* Accumulators per output for n rows: as many as registers hold. */
#define CLASSES(n)                                                                                           \
    (ST_LINEAR_CLASSES >= 4 && 4 * (n) <= ROWS ? 4 : ST_LINEAR_CLASSES >= 2 && 2 * (n) <= ROWS ? 2 : 1)

static void dot_direct(codes c, acts q, int32_t n_step, int n_row, sums out)
{
#define CALL(n) direct(c, q, n_step, 2, n, CLASSES(n), true, out)
    FOR_ROWS(n_row, CALL)
#undef CALL
}

static void dot_streams(codes c, acts q, int32_t n_step, int n_row, sums out)
{
    if (n_row == 1)
        direct(c, q, n_step, STREAM_VECS, 1, CLASSES(2), true, out);
    else
        direct(c, q, n_step, STREAM_VECS, 2, CLASSES(4), true, out);
}

static inline void dot_tile(codes c, acts q, int32_t n_step, int n_row, sums out)
{
    if (n_row == 1)
        direct(c, q, n_step, TILE_VECS, 1, CLASSES(1), false, out);
    else
        direct(c, q, n_step, TILE_VECS, 2, CLASSES(2), false, out);
}

static void dot_decoded(const unsigned char *byte, acts q, int32_t n_step, const unsigned char *fetch,
                        int n_row, sums out)
{
#define CALL(n) decoded(byte, q, n_step, fetch, n, out)
    FOR_ROWS(n_row, CALL)
#undef CALL
}

/* ---- a call ---- */

typedef struct work {
    const st_cpu_linear *l;
    const st_cpu *cpu;
    row_groups rows;
    atomic_int_least32_t next; /* block */
} work;

static acts group_acts(const row_groups *g, int32_t group)
{
    if (g->packed)
        return (acts){group_packed(g, group), 4, 4 * (size_t)group_count(g, group)};
    const st_cpu_qact *q = &g->l->q;
    return (acts){q->code + (size_t)group_row(g, group) * q->stride, q->stride, 4};
}

/* ---- from sums to outputs ---- */

static int32_t vector_tile(const st_cpu_weight *w, int32_t vector)
{
    return (int32_t)st_min(vector / TILE_VECS, w->n_tile - 1);
}

/* Adds segment s of n_row rows from t to n_vec (at most 2) vectors of outputs. */
static NOINLINE void fold(const st_cpu_linear *l, int32_t first, int n_vec, int32_t t, int n_row, int32_t s,
                          sums isum, outputs part, outputs y)
{
    int32_t end = (s + 1) * l->segment;
    bool ends = s + 1 == l->n_segment || end % ST_K_BLOCK == 0;
    real scale[2];
    for (int v = 0; v < n_vec; v++)
        scale[v] = real_scales(l->weight, vector_tile(l->weight, first + v), s / l->per_weight,
                               (first + v) % TILE_VECS);
    for (int i = 0; i < n_row; i++) {
        size_t row = (size_t)(t + i);
        vec sum = vec_spread(&l->q.sum[row * (size_t)l->q.n_sum + (size_t)s]);
        real scale_a = real_spread(l->q.scale[row * (size_t)l->q.n_scale + (size_t)(s / l->per_act)]);
        for (int v = 0; v < n_vec; v++) {
            real term = real_mul(real_from(vec_sub(isum[i][v], sum)), real_mul(scale[v], scale_a));
            if (l->n_segment == 1) {
                y[i][v] = term;
                continue;
            }
            part[i][v] = real_add(part[i][v], term);
            if (ends) {
                y[i][v] = real_add(y[i][v], part[i][v]);
                part[i][v] = real_zero();
            }
        }
    }
}

/* What st_cpu_linear_store does, for whole vectors. */
static real finish(const st_cpu_linear *l, int32_t first, const float *dst, real y)
{
    const st_cpu_weight *w = l->weight;
    if (w->out_scale != 1.0f)
        y = real_mul(y, real_spread(w->out_scale));
    if (w->bias)
        y = real_add(y, real_load(w->bias + first));
    if (l->args->accumulate)
        y = real_add(y, real_load(dst));
    return y;
}

static void store(const st_cpu_linear *l, int32_t vector, int n_vec, int32_t t, int n_row, outputs y)
{
    const st_cpu_weight *w = l->weight;
    for (int v = 0; v < n_vec; v++) {
        int32_t first = (vector + v) * VEC_LANES;
        int32_t count = (int32_t)st_min(VEC_LANES, w->base.rows - first);
        for (int i = 0; i < n_row && count > 0; i++) {
            float *dst = l->dst + (size_t)(t + i) * (size_t)l->args->stride + first;
            if (count == VEC_LANES && !w->outlier_start) {
                real_store(dst, finish(l, first, dst, y[i][v]));
            } else {
                float out[VEC_LANES];
                real_store(out, y[i][v]);
                st_cpu_linear_store(l, t + i, first, count, out);
            }
        }
    }
}

/* ---- blocks ---- */

static codes codes_at(const st_cpu_weight *w, int32_t first, int n_vec, int32_t step)
{
    codes c = {.left = w->n_step - step, .skip = (size_t)(n_vec / TILE_VECS - 1) * w->row_bytes};
    for (int v = 0; v < n_vec; v++)
        c.at[v] = w->data + (size_t)vector_tile(w, first + v) * w->row_bytes +
                  (size_t)step * ST_CPU_STEP_BYTES + (size_t)((first + v) % TILE_VECS * VEC_BYTES);
    return c;
}

typedef void (*dot_fn)(codes c, acts q, int32_t n_step, int n_row, sums out);

/* n_vec vectors of outputs from `first` on meet one group of rows. Their codes are read by `dot`, or stand
 * decoded in `byte`. */
static void meet(const work *w, int32_t first, int n_vec, int32_t group, dot_fn dot,
                 const unsigned char *byte, const unsigned char *fetch)
{
    const st_cpu_linear *l = w->l;
    acts q = group_acts(&w->rows, group);
    int32_t t = group_row(&w->rows, group), n = group_count(&w->rows, group);
    int n_pair = (n_vec + 1) / 2, in_pair = n_vec > 1 ? 2 : 1;
    outputs part, y;
    for (int i = 0; i < n * n_pair; i++)
        part[i][0] = part[i][1] = y[i][0] = y[i][1] = real_zero();
    for (int32_t s = 0, step = 0; s < l->n_segment; s++) {
        int32_t left = l->weight->n_step - step;
        int32_t n_step = l->n_segment == 1 ? left : (int32_t)st_min(l->segment / ST_CPU_STEP, left);
        acts here = {q.code + (size_t)(4 * step) * q.quad, q.row, q.quad};
        sums isum;
        if (byte)
            dot_decoded(byte + (size_t)(8 * step) * VEC_BYTES, here, n_step,
                        fetch + (size_t)step * ST_CPU_STEP_BYTES, n, isum);
        else
            dot(codes_at(l->weight, first, n_vec, step), here, n_step, n, isum);
        for (int p = 0; p < n_pair; p++)
            fold(l, first + 2 * p, in_pair, t, n, s, isum + p * n, part + p * n, y + p * n);
        step += n_step;
    }
    for (int p = 0; p < n_pair; p++)
        store(l, first + 2 * p, in_pair, t, n, y + p * n);
}

static void direct_blocks(void *context, int64_t first, int64_t count)
{
    const work *w = context;
    for (int32_t block = (int32_t)first; block < first + count; block++)
        for (int32_t group = 0; group < w->rows.n_group; group++)
            meet(w, 2 * block, 2, group, dot_direct, NULL, NULL);
}

static void streams(void *context, int64_t first, int64_t count)
{
    const work *w = context;
    int32_t n_vec = w->l->weight->n_tile * TILE_VECS;
    for (int32_t at = STREAM_VECS * (int32_t)first; at < STREAM_VECS * (first + count); at += STREAM_VECS)
        if (n_vec - at > 2)
            meet(w, at, STREAM_VECS, 0, dot_streams, NULL, NULL);
        else
            meet(w, at, 2, 0, dot_direct, NULL, NULL);
}

static inline void tiles(void *context, int64_t first, int64_t count)
{
    const work *w = context;
    for (int32_t tile = (int32_t)first; tile < first + count; tile++)
        meet(w, tile * TILE_VECS, TILE_VECS, 0, dot_tile, NULL, NULL);
}

static void decode(const st_cpu_weight *w, int32_t block, unsigned char *byte)
{
    codes c = codes_at(w, 2 * block, 2, 0);
    const vec mask = vec_spread_byte(3);
    for (int32_t step = 0; step < w->n_step; step++)
        for (int v = 0; v < 2; v++) {
            vec x = vec_load(c.at[v] + (size_t)step * ST_CPU_STEP_BYTES);
            unsigned char *to = byte + (size_t)(8 * step + v) * VEC_BYTES;
            vec_store(to, vec_and(x, mask));
            vec_store(to + 2 * VEC_BYTES, vec_and(vec_shift_right(x, 2), mask));
            vec_store(to + 4 * VEC_BYTES, vec_and(vec_shift_right(x, 4), mask));
            vec_store(to + 6 * VEC_BYTES, vec_and(vec_shift_right(x, 6), mask));
        }
}

/* One item per thread, which takes blocks until there are none; while it computes one it fetches the codes of
 * the next. */
static void decoded_blocks(void *context, int64_t slot, int64_t count)
{
    (void)count;
    work *w = context;
    const st_cpu_weight *weight = w->l->weight;
    unsigned char *byte = (unsigned char *)(w->cpu->scratch + slot * ST_MAX_COLS);
    int32_t n_block = (int32_t)st_ceil_div(weight->n_tile, BLOCK_TILES);
    int32_t block = (int32_t)atomic_fetch_add(&w->next, 1);
    while (block < n_block) {
        int32_t next = (int32_t)atomic_fetch_add(&w->next, 1);
        decode(weight, block, byte);
        for (int32_t group = 0; group < w->rows.n_group; group++) {
            const unsigned char *fetch = byte; /* what is there costs nothing, and a branch much in clang */
            if (next < n_block && group < BLOCK_TILES)
                fetch = weight->data +
                        (size_t)vector_tile(weight, 2 * next + group * TILE_VECS) * weight->row_bytes;
            meet(w, 2 * block, 2, group, NULL, byte, fetch);
        }
        block = next;
    }
}

/* ---- the op ---- */

static bool takes(const st_linear_args *a)
{
    return a->quant && a->weight->type == ST_TERNARY;
}

static inline bool takes_in_order(const st_cpu *cpu, const st_linear_args *a)
{
    return takes(a) && a->weight->cols <= ORDER_COLS && st_cpu_row_count(cpu, a->rows) <= FEW &&
           st_cpu_in_order(cpu);
}

static inline void run_in_order(st_cpu *cpu, const st_linear_args *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    work w = {.l = &l, .cpu = cpu};
    if (l.n_row == 0)
        return;
    w.rows = group_rows(cpu, &l, 0, (size_t)l.weight->n_step * ST_CPU_STEP, FEW, false);
    st_cpu_linear_loop(cpu, &l, l.weight->n_tile, tiles, &w);
}

static void run(st_cpu *cpu, const st_linear_args *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    const st_cpu_weight *weight = l.weight;
    int32_t n_block = (int32_t)st_ceil_div(weight->n_tile, BLOCK_TILES);
    size_t row = (size_t)weight->n_step * ST_CPU_STEP;
    bool decode_first = l.n_row > ROWS && 8 * (size_t)weight->n_step * VEC_BYTES <= ST_CPU_SCRATCH_BYTES;
    bool serial = st_cpu_linear_serial(&l);
    for (int32_t first = 0; first < l.n_row;) {
        work w = {.l = &l, .cpu = cpu};
        w.rows = group_rows(cpu, &l, first, row, ROWS, l.n_row > STRIDED);
        if (decode_first)
            st_pool_loop(serial ? NULL : cpu->pool, serial ? 1 : cpu->n_slot, 1, decoded_blocks, &w);
        else if (l.n_row <= FEW)
            st_cpu_linear_loop(cpu, &l, st_ceil_div(n_block, 2), streams, &w);
        else
            st_cpu_linear_loop(cpu, &l, n_block, direct_blocks, &w);
        first += w.rows.n_row;
    }
}

#endif
