/* linear: TERNARY and Q8 weights in tiles, f32 input, for vectors of any width: a vector holds one column of
 * a tile's rows, so that every lane of a row's 256-lane sum is a vector of its own.
 *
 * Four of these lanes are summed in registers per pass over the tile, which stays in the second-level cache.
 * Passes come in bit-reversed order: each is folded with those before it as soon as st_fold_lanes would, and
 * only a handful waits in memory. Their strides defeat the processor's own prefetching, so that each pass
 * fetches its share of the next tile. */
#ifndef ST_CPU_LINEAR_FLOAT_VEC_H
#define ST_CPU_LINEAR_FLOAT_VEC_H

#include "host/cpu/scales_vec.h"

enum {
    TILE_VECS = ST_CPU_TILE / VEC,
    MOST_ROWS = VEC == 16 ? 4 : 2, /* of input at a time: 16 (8) sums in registers */
    PASSES = ST_LANES / 4,
    LEVELS = 7 /* log2(PASSES), and the pass that is computed */
};

/* Quads of lanes in one pass: two while the registers have room. */
#define QUADS(n_row) (2 * (n_row) <= MOST_ROWS ? 2 : 1)

/* Vector v of a tile: what a pass reads. */
typedef struct source {
    const st_cpu_weight *weight;
    int32_t tile;
    int v;
    const unsigned char *code;
} source;

/* Values without scale of column k + b, k a multiple of 4; `code` is the vector of its step. */
INLINE vec values(ivec code, int32_t k, const int b, const st_type type)
{
    if (type == ST_Q8)
        return vec_of_ints(ivec_right_signed(b == 3 ? code : ivec_left(code, 24 - 8 * b), 24));
    code = ivec_right(code, 8 * b + 2 * (k / 4 % 4));
    return vec_pick4(vec_four(-1.0f, 0.0f, 1.0f, 2.0f), code);
}

/* Adds columns k ... k + n - 1 (n <= 4, k a multiple of 4) to sum[4 t + column]. */
INLINE void add_columns(const source *s, const float *x, int32_t k, int32_t n, const int n_row,
                        const st_type type, vec scale, vec *sum)
{
    size_t cols = (size_t)s->weight->base.cols;
    size_t step = type == ST_Q8 ? (size_t)k / 4 : (size_t)k / ST_CPU_STEP;
    ivec code = ivec_load(s->code + step * ST_CPU_STEP_BYTES);
    UNROLL for (int b = 0; b < 4; b++)
    {
        if (b >= n)
            continue;
        vec w = vec_mul(values(code, k, b, type), scale);
        UNROLL for (int t = 0; t < n_row; t++)
        {
            vec in = vec_set(x[(size_t)t * cols + (size_t)(k + b)]);
            sum[4 * t + b] = vec_add(sum[4 * t + b], vec_mul(w, in));
        }
    }
}

/* Lanes first ... first + 3 of n_row rows of input; of two quads also lanes first + 128 ..., added to these.
 */
INLINE void pass(const source *s, const float *x, int32_t first, const int n_row, const st_type type,
                 vec *out)
{
    const int n_quad = QUADS(n_row), n_sum = 4 * n_row;
    const st_cpu_weight *w = s->weight;
    int32_t cols = w->base.cols, whole = cols / ST_LANES * ST_LANES, k = 0;
    int32_t stride = w->base.group ? ST_LANES / w->base.group : 0; /* in groups */
    int32_t group = w->base.group ? first / w->base.group : 0;
    vec sum[4 * MOST_ROWS];
    UNROLL for (int i = 0; i < n_quad * n_sum; i++)
    {
        sum[i] = vec_zero();
    }
    for (; k < whole; k += ST_LANES, group += stride) {
        UNROLL for (int q = 0; q < n_quad; q++)
        {
            vec scale = tile_scales(w, s->tile, group + q * (stride / 2), s->v);
            add_columns(s, x, k + first + q * ST_LANES / 2, 4, n_row, type, scale, sum + q * n_sum);
        }
    }
    UNROLL for (int q = 0; q < n_quad; q++)
    {
        int32_t at = k + first + q * ST_LANES / 2;
        if (at >= cols)
            continue;
        vec scale = tile_scales(w, s->tile, group + q * (stride / 2), s->v);
        add_columns(s, x, at, (int32_t)st_min(4, cols - at), n_row, type, scale, sum + q * n_sum);
    }
    UNROLL for (int i = 0; i < n_sum; i++)
    {
        out[i] = n_quad == 2 ? vec_add(sum[i], sum[n_sum + i]) : sum[i];
    }
}

/* The six bits of i in opposite order. */
static int reversed(int i)
{
    return (i & 1) << 5 | (i & 2) << 3 | (i & 4) << 1 | (i & 8) >> 1 | (i & 16) >> 3 | (i & 32) >> 5;
}

/* Share i of n of the tile that follows in memory. */
INLINE void fetch(const unsigned char *tile, size_t bytes, size_t i, size_t n)
{
    size_t n_line = (bytes + 63) / 64;
    for (size_t line = n_line * i / n; line < n_line * (i + 1) / n; line++)
        fetch_far((uintptr_t)tile + bytes + 64 * line);
}

INLINE void tile_by(const st_cpu_linear *l, int32_t tile, int32_t t, const int n_row, const st_type type)
{
    const st_cpu_weight *w = l->weight;
    const float *x = l->src + (size_t)t * (size_t)w->base.cols;
    const unsigned char *code = w->data + (size_t)tile * w->row_bytes;
    const int n_pass = PASSES / QUADS(n_row);
    float y[MOST_ROWS][ST_CPU_TILE];
    for (int v = 0; v < TILE_VECS; v++) {
        source s = {w, tile, v, code + sizeof(ivec) * (size_t)v};
        vec wait[LEVELS][4 * MOST_ROWS];
        int depth = 0;
        for (int i = 0; i < n_pass; i++) {
            if (t == 0 && v == 0)
                fetch(code, w->row_bytes, (size_t)i, (size_t)n_pass);
            pass(&s, x, 4 * reversed(i * QUADS(n_row)), n_row, type, wait[depth]);
            for (int ends = i; ends & 1; ends /= 2, depth--)
                for (int j = 0; j < 4 * n_row; j++)
                    wait[depth - 1][j] = vec_add(wait[depth - 1][j], wait[depth][j]);
            depth++;
        }
        for (int j = 0; j < n_row; j++) {
            const vec *lane = &wait[0][4 * j];
            vec even = vec_add(lane[0], lane[2]), odd = vec_add(lane[1], lane[3]);
            vec_store(y[j] + VEC * v, vec_add(even, odd));
        }
    }
    int32_t first = tile * ST_CPU_TILE, count = (int32_t)st_min(ST_CPU_TILE, w->base.rows - first);
    for (int j = 0; j < n_row; j++)
        st_cpu_linear_store(l, t + j, first, count, y[j]);
}

INLINE void tiles_of(const st_cpu_linear *l, int32_t first, int32_t count, const st_type type)
{
    for (int32_t tile = first; tile < first + count; tile++) {
        int32_t t = 0;
        for (; MOST_ROWS == 4 && t + 4 <= l->n_row; t += 4)
            tile_by(l, tile, t, 4, type);
        for (; t + 2 <= l->n_row; t += 2)
            tile_by(l, tile, t, 2, type);
        for (; t < l->n_row; t++)
            tile_by(l, tile, t, 1, type);
    }
}

static void tiles(void *context, int64_t first, int64_t count)
{
    const st_cpu_linear *l = context;
    if (l->weight->base.type == ST_Q8)
        tiles_of(l, (int32_t)first, (int32_t)count, ST_Q8);
    else
        tiles_of(l, (int32_t)first, (int32_t)count, ST_TERNARY);
}

static bool takes(const void *args)
{
    const st_linear_args *a = args;
    return a->src && st_cpu_is_tiled((const st_cpu_weight *)a->weight);
}

static void run(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    st_cpu_linear_loop(cpu, &l, l.weight->n_tile, tiles, &l);
}

#endif
