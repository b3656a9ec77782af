/* linear: rows of F32, F16 and BF16 weights and of Q8 in blocks, f32 input, for vectors of any width.
 *
 * The 256 lanes of a sum are 16 (AVX2: 32) vectors. One row of input has them all in registers (AVX2: in four
 * slices). Several rows share every load and conversion of weights and have a half or less of the lanes at a
 * time. The vectors of such a slice lie as far apart as it goes, so that it folds to one vector at once; the
 * input is packed in the order in which slices read it, for at its own strides it would meet in a quarter of
 * the first-level cache. */
#ifndef ST_CPU_LINEAR_DENSE_VEC_H
#define ST_CPU_LINEAR_DENSE_VEC_H

#include "host/cpu/scales_vec.h"

enum {
    MOST_ROWS = 6,  /* of input at a time */
    MOST_SUMS = 24, /* of them and of lanes, in registers */
    MOST_SLICES = VEC == 16 ? 4 : 16,
    BLOCK = 8,   /* rows of W that meet a slice of input while that is in the first-level cache */
    AHEAD = 4096 /* a single row of input: weights are fetched so many bytes before they are used, unless the
                    processor does so better (1.5 times as fast on a Zen 4) */
};

/* Vectors of lanes in a slice: at most 24 sums of 32 registers, 12 of 16. */
#define SLICE_VECS(n_row) ((VEC == 16 ? 16 : 8) >> ((n_row) == 1 ? 0 : (n_row) <= 3 ? 1 : 2))
#define SLICES(n_row)     (LANE_VECS / SLICE_VECS(n_row))

typedef struct dense {
    const st_cpu_linear *l;
    float *packed; /* f32 [n_row][cols rounded up to 256], in the order of slice() */
    size_t padded; /* cols rounded up to 256 */
    int32_t first, n_row;
    bool in_order; /* cpu->reads_in_order */
} dense;

/* Bytes of 256 columns. */
INLINE size_t lane_bytes(const st_type type)
{
    return type == ST_Q8    ? ST_LANES / ST_BLOCK_COLS * ST_BLOCK_BYTES
           : type == ST_F32 ? 4 * ST_LANES
                            : 2 * ST_LANES;
}

/* Columns k ... k + VEC - 1 for k = first + more, of which one is a multiple of 32. `more` is a constant: so
 * is its place in the blocks. */
INLINE vec weights(const unsigned char *at, size_t first, size_t more, const st_type type)
{
    switch (type) {
    case ST_F16:
        return vec_load_f16((const uint16_t *)(const void *)at + first + more);
    case ST_BF16:
        return vec_load_bf16((const uint16_t *)(const void *)at + first + more);
    case ST_F32:
        return vec_load((const float *)(const void *)at + first + more);
    default:
        at += (first / ST_BLOCK_COLS + more / ST_BLOCK_COLS) * ST_BLOCK_BYTES;
        return block_values(at, first % ST_BLOCK_COLS + more % ST_BLOCK_COLS);
    }
}

/* out[t]: the lanes of slice number `first` for input row t, folded to one vector. x is packed, or for one
 * row the row itself. What is `ahead` is fetched, if `fetches`, as many bytes as the slice has. n_row,
 * fetches and type are constants where this is inlined. */
INLINE void slice(const unsigned char *row, uintptr_t ahead, const float *x, size_t cols, size_t first,
                  const int n_row, const bool fetches, const st_type type, vec *out)
{
    const int n_vec = SLICE_VECS(n_row);
    const size_t step = VEC * (size_t)SLICES(n_row), share = lane_bytes(type) / (size_t)SLICES(n_row);
    const size_t lead = SLICES(n_row) == 1 ? 0 : VEC * first;
    const size_t x_step = n_row == 1 ? step : (size_t)n_row * VEC;
    const size_t x_next = n_row == 1 ? ST_LANES : (size_t)(n_vec * n_row) * VEC;
    vec sum[MOST_SUMS];
    UNROLL for (int i = 0; i < n_vec * n_row; i++)
    {
        sum[i] = vec_zero();
    }
    size_t k = lead, last = cols / ST_LANES * ST_LANES;
    x += n_row == 1 ? k : 0;
    for (; k < last; k += ST_LANES, x += x_next, row += lane_bytes(type), ahead += share) {
        for (size_t line = 0; fetches && line < share; line += 64)
            fetch_near(ahead + line);
        UNROLL for (int v = 0; v < n_vec; v++)
        {
            vec w = weights(row, lead, (size_t)v * step, type);
            UNROLL for (int t = 0; t < n_row; t++)
            {
                vec in = vec_load(x + (size_t)v * x_step + (size_t)(t * VEC));
                sum[v * n_row + t] = vec_add(sum[v * n_row + t], vec_mul(w, in));
            }
        }
    }
    /* Rows are padded with zeros to 64 bytes, or are of blocks: whole vectors exist. */
    UNROLL for (int v = 0; v < n_vec; v++)
    {
        size_t at = k + (size_t)v * step;
        if (at >= cols)
            continue;
        int n = n_row == 1 ? (int)st_min(VEC, (int64_t)(cols - at)) : VEC;
        vec w = weights(row, lead, (size_t)v * step, type);
        UNROLL for (int t = 0; t < n_row; t++)
        {
            vec in = vec_load_first(x + (size_t)v * x_step + (size_t)(t * VEC), n);
            sum[v * n_row + t] = vec_add(sum[v * n_row + t], vec_mul(w, in));
        }
    }
    UNROLL for (int s = n_vec / 2; s > 0; s /= 2)
    {
        UNROLL for (int i = 0; i < s * n_row; i++)
        {
            sum[i] = vec_add(sum[i], sum[i + s * n_row]);
        }
    }
    UNROLL for (int t = 0; t < n_row; t++)
    {
        out[t] = sum[t];
    }
}

/* Packs rows t ... t + n_row - 1: [slice][256 columns][vector of the slice][row][VEC]. */
static void pack(const dense *d, int32_t t, int n_row, float *to)
{
    size_t cols = (size_t)d->l->weight->base.cols;
    size_t n_vec = (size_t)SLICE_VECS(n_row), n_slice = (size_t)SLICES(n_row);
    for (size_t s = 0; s < n_slice; s++)
        for (size_t k = 0; k < d->padded; k += ST_LANES)
            for (size_t v = 0; v < n_vec; v++)
                for (int i = 0; i < n_row; i++, to += VEC) {
                    size_t at = k + VEC * (s + v * n_slice);
                    const float *x = d->l->src + (size_t)(t + i) * cols + at;
                    if (at < cols)
                        vec_store(to, vec_load_first(x, (int)st_min(VEC, (int64_t)(cols - at))));
                    else
                        vec_store(to, vec_zero());
                }
}

/* Outputs of rows r ... r + n - 1 (n <= BLOCK) of W for input rows t ... t + n_row - 1. */
INLINE void block(const dense *d, int32_t r, int32_t n, int32_t t, const int n_row, const bool fetches,
                  const st_type type)
{
    const st_cpu_linear *l = d->l;
    const st_cpu_weight *w = l->weight;
    size_t cols = (size_t)w->base.cols, n_slice = SLICES(n_row);
    const float *x = n_row == 1 ? l->src + (size_t)t * cols : d->packed + (size_t)(t - d->first) * d->padded;
    vec part[BLOCK][MOST_SLICES][MOST_ROWS];
    float y[MOST_ROWS][BLOCK];
    for (size_t s = 0; s < n_slice; s++) {
        for (int32_t i = 0; i < n; i++) {
            const unsigned char *row = w->data + (size_t)(r + i) * w->row_bytes;
            uintptr_t ahead = (uintptr_t)row + w->row_bytes * s / n_slice;
            if (t == d->first)
                ahead += n_row == 1 ? AHEAD : BLOCK * w->row_bytes;
            slice(row, ahead, x, cols, s, n_row, fetches, type, part[i][s]);
        }
        x += n_row == 1 ? 0 : (size_t)n_row * d->padded / n_slice;
    }
    for (int32_t i = 0; i < n; i++)
        for (int j = 0; j < n_row; j++) {
            for (size_t s = n_slice / 2; s > 0; s /= 2)
                for (size_t a = 0; a < s; a++)
                    part[i][a][j] = vec_add(part[i][a][j], part[i][a + s][j]);
            y[j][i] = vec_sum(part[i][0][j]);
        }
    for (int j = 0; j < n_row; j++)
        st_cpu_linear_store(l, t + j, r, n, y[j]);
}

/* How many of the n rows that are left go together. */
static int share(int32_t n)
{
    return n >= 6 ? 6 : n == 5 ? 3 : (int)n;
}

INLINE void blocks(const dense *d, int32_t first, int32_t count, const st_type type)
{
    int32_t end = first + count, last = d->first + d->n_row;
    int32_t n_block = d->n_row == 1 ? 1 : BLOCK;
    for (int32_t r = first; r < end; r += n_block) {
        int32_t n = (int32_t)st_min(n_block, end - r), n_row;
        for (int32_t t = d->first; t < last; t += n_row) {
            n_row = share(last - t);
            switch (n_row) {
            case 6:
                block(d, r, n, t, 6, true, type);
                break;
            case 4:
                block(d, r, n, t, 4, true, type);
                break;
            case 3:
                block(d, r, n, t, 3, true, type);
                break;
            case 2:
                block(d, r, n, t, 2, true, type);
                break;
            default:
                if (d->in_order)
                    block(d, r, n, t, 1, false, type);
                else
                    block(d, r, n, t, 1, true, type);
                break;
            }
        }
    }
}

static void rows(void *context, int64_t first, int64_t count)
{
    const dense *d = context;
    switch (d->l->weight->base.type) {
    case ST_F16:
        blocks(d, (int32_t)first, (int32_t)count, ST_F16);
        break;
    case ST_BF16:
        blocks(d, (int32_t)first, (int32_t)count, ST_BF16);
        break;
    case ST_Q8:
        blocks(d, (int32_t)first, (int32_t)count, ST_Q8);
        break;
    default:
        blocks(d, (int32_t)first, (int32_t)count, ST_F32);
        break;
    }
}

static bool takes(const void *args)
{
    const st_linear_args *a = args;
    return a->src && !st_cpu_is_tiled((const st_cpu_weight *)a->weight);
}

/* As many rows of input at a time as the scratch of all threads holds packed. */
static void run(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    dense d = {.l = &l,
               .packed = cpu->scratch,
               .padded = st_align_up((size_t)l.weight->base.cols, ST_LANES),
               .in_order = cpu->reads_in_order};
    int32_t fit = (int32_t)((size_t)cpu->n_slot * ST_MAX_COLS / d.padded);
    fit = fit > MOST_ROWS ? fit / MOST_ROWS * MOST_ROWS : fit;
    for (; d.first < l.n_row; d.first += d.n_row) {
        d.n_row = (int32_t)st_min(fit, l.n_row - d.first);
        int32_t n_row;
        for (int32_t t = 0; t < d.n_row; t += n_row) {
            n_row = share(d.n_row - t);
            if (n_row > 1)
                pack(&d, d.first + t, n_row, d.packed + (size_t)t * d.padded);
        }
        st_cpu_linear_loop(cpu, &l, l.weight->base.rows, rows, &d);
    }
}

#endif
