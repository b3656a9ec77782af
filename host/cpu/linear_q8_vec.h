/* linear: Q8 weights, int8 input, for vectors of any width. Only for the files that define how four
 * columns of a vector of rows are multiplied (weights, dot, isum) before.
 *
 * Tiles hold four columns of 16 rows in 64 bytes, which meet four activations broadcast to every 32-bit lane:
 * no sum crosses lanes, and scales of groups are vectors too. */
#ifndef ST_CPU_LINEAR_Q8_VEC_H
#define ST_CPU_LINEAR_Q8_VEC_H

#include "host/cpu/vec.h"

enum {
    TILE_VECS = ST_CPU_TILE / VEC,
    MOST_VECS = 2,                 /* vectors of outputs at a time: AVX-512: two tiles */
    MOST_ROWS = VEC == 16 ? 8 : 4, /* rows of input at a time: 16 sums of 32 registers, 8 of 16 */
    MOST_GROUP_ROWS = 4,           /* the same with several segments, whose floats need registers too */
    MOST_TILES = MOST_VECS / TILE_VECS
};

/* Four activations in every lane. */
INLINE ivec spread(const int8_t *q)
{
    int32_t word;
    memcpy(&word, q, sizeof word);
    return ivec_set(word);
}

/* Integer sums of n_step steps (a multiple of 8, or the last segment: of 4) for n_vec vectors of outputs and
 * n_row rows of input. Each sum is in n_chain parts, for a chain of additions has a latency of 5. */
INLINE void sums(const unsigned char *code, size_t tile_bytes, const int8_t *q, size_t stride, int32_t n_step,
                 const int n_vec, const int n_row, ivec *out)
{
    const int n_chain = n_vec * n_row >= 8 ? 1 : n_vec * n_row >= 4 ? 2 : 4;
    ivec acc[16];
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
                const unsigned char *at = code + (size_t)(v / TILE_VECS) * tile_bytes +
                                          (size_t)c * ST_CPU_STEP_BYTES +
                                          sizeof(ivec) * (size_t)(v % TILE_VECS);
                if (n_row > 1 &&
                    v % TILE_VECS == 0) /* one row reads a stream, which the processor fetches itself */
                    fetch_near((uintptr_t)at + (size_t)(n_vec / TILE_VECS) * tile_bytes);
                w[v] = ivec_load(at);
                u[v] = weights(w[v]);
            }
            UNROLL for (int t = 0; t < n_row; t++)
            {
                ivec a = spread(q + (size_t)t * stride + (size_t)(4 * c));
                UNROLL for (int v = 0; v < n_vec; v++)
                {
                    int i = (t * n_vec + v) * n_chain + c;
                    acc[i] = dot(acc[i], w[v], u[v], a);
                }
            }
        }
        code += n_chain * ST_CPU_STEP_BYTES;
        q += 4 * n_chain;
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

/* Segment s, as f32 terms of n_vec vectors of outputs from tile on, for rows t ... t + n_row - 1. */
INLINE void terms(const st_cpu_linear *l, int32_t tile, int32_t t, int32_t s, const int n_vec,
                  const int n_row, vec *out)
{
    const st_cpu_weight *w = l->weight;
    int32_t first = s * (l->segment / 4), n_step = w->n_step - first;
    if (l->n_segment > 1)
        n_step = (int32_t)st_min(l->segment / 4, n_step);
    ivec isum[MOST_VECS * MOST_ROWS];
    sums(w->data + (size_t)tile * w->row_bytes + (size_t)first * ST_CPU_STEP_BYTES, w->row_bytes,
         l->q.code + (size_t)t * l->q.stride + 4 * (size_t)first, l->q.stride, n_step, n_vec, n_row, isum);
    vec scale[MOST_VECS];
    UNROLL for (int v = 0; v < n_vec; v++)
    {
        scale[v] = tile_scales(w, tile + v / TILE_VECS, s / l->per_weight, v % TILE_VECS);
    }
    UNROLL for (int i = 0; i < n_row; i++)
    {
        size_t row = (size_t)(t + i);
        int32_t sum = l->q.sum[row * (size_t)l->q.n_sum + (size_t)s];
        vec scale_a = vec_set(l->q.scale[row * (size_t)l->q.n_scale + (size_t)(s / l->per_act)]);
        UNROLL for (int v = 0; v < n_vec; v++)
        {
            out[i * n_vec + v] =
                vec_mul(vec_of_ints(plain_sum(isum[i * n_vec + v], sum)), vec_mul(scale[v], scale_a));
        }
    }
}

/* Outputs of n_vec vectors from `tile` on for rows t ... t + n_row - 1. */
INLINE void outputs(const st_cpu_linear *l, int32_t tile, int32_t t, const int n_vec, const int n_row)
{
    const int n = n_vec * n_row;
    vec y[MOST_VECS * MOST_ROWS], term[MOST_VECS * MOST_ROWS], block[MOST_VECS * MOST_ROWS];
    if (l->n_segment == 1) {
        terms(l, tile, t, 0, n_vec, n_row, y);
    } else {
        UNROLL for (int i = 0; i < n; i++)
        {
            y[i] = block[i] = vec_zero();
        }
        for (int32_t s = 0; s < l->n_segment; s++) {
            terms(l, tile, t, s, n_vec, n_row, term);
            UNROLL for (int i = 0; i < n; i++)
            {
                block[i] = vec_add(block[i], term[i]);
            }
            if ((s + 1) * l->segment % ST_K_BLOCK != 0 && s + 1 < l->n_segment)
                continue;
            UNROLL for (int i = 0; i < n; i++)
            {
                y[i] = vec_add(y[i], block[i]);
                block[i] = vec_zero();
            }
        }
    }
    int32_t first = tile * ST_CPU_TILE;
    int32_t count = (int32_t)st_min(n_vec * VEC, l->weight->base.rows - first);
    for (int i = 0; i < n_row; i++) {
        float out[MOST_VECS * VEC];
        UNROLL for (int v = 0; v < n_vec; v++)
        {
            vec_store(out + v * VEC, y[i * n_vec + v]);
        }
        st_cpu_linear_store(l, t + i, first, count, out);
    }
}

/* n_vec vectors from `tile` on for all rows of input. */
INLINE void tile_rows(const st_cpu_linear *l, int32_t tile, const int n_vec)
{
    int32_t t = 0;
    for (; MOST_ROWS == 8 && l->n_segment == 1 && t + 8 <= l->n_row; t += 8)
        outputs(l, tile, t, n_vec, 8);
    for (; t + 4 <= l->n_row; t += 4)
        outputs(l, tile, t, n_vec, 4);
    for (; t + 2 <= l->n_row; t += 2)
        outputs(l, tile, t, n_vec, 2);
    for (; t < l->n_row; t++)
        outputs(l, tile, t, n_vec, 1);
}

/* A single row of input reads one tile after the other, as a stream; more rows share what they load. */
static void tiles(void *context, int64_t first, int64_t count)
{
    const st_cpu_linear *l = context;
    int32_t tile = (int32_t)first, end = (int32_t)(first + count);
    for (; MOST_TILES == 2 && l->n_row > 1 && tile + 2 <= end; tile += 2)
        tile_rows(l, tile, MOST_VECS);
    for (; tile < end; tile++)
        tile_rows(l, tile, TILE_VECS);
}

static bool takes(const void *args)
{
    const st_linear_args *a = args;
    return a->quant && a->weight->type == ST_Q8;
}

static void run(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    st_cpu_linear_loop(cpu, &l, l.weight->n_tile, tiles, &l);
}

#endif
