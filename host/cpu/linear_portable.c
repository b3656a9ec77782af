/* linear in plain C, for every type of weight and input: 16 rows of W at a time. */
#include "host/cpu/cpu.h"

/* isum of one segment for the 16 rows of a tile. */
static void ternary_segment(const st_cpu_weight *w, int32_t tile, const int8_t *q, int32_t from, int32_t to,
                            int32_t sum, int32_t isum[ST_CPU_TILE])
{
    const unsigned char *data = w->data + (size_t)tile * w->row_bytes;
    for (int i = 0; i < ST_CPU_TILE; i++)
        isum[i] = -sum;
    for (int32_t k = from; k < to; k++) {
        const unsigned char *code = data + (size_t)(k / ST_CPU_STEP) * ST_CPU_STEP_BYTES + (size_t)(k & 3);
        int shift = 2 * (k >> 2 & 3);
        int32_t x = q[k];
        for (int i = 0; i < ST_CPU_TILE; i++)
            isum[i] += (code[4 * i] >> shift & 3) * x;
    }
}

/* Row i of a tile; in place there are none past the end, and the last one stands in for them. */
static int32_t row_of(const st_cpu_weight *w, int32_t tile, int i)
{
    int32_t row = tile * ST_CPU_TILE + i;
    return st_cpu_is_tiled(w) ? row : (int32_t)st_min(row, w->base.rows - 1);
}

static void q8_segment(const st_cpu_weight *w, int32_t tile, const int8_t *q, int32_t from, int32_t to,
                       int32_t isum[ST_CPU_TILE])
{
    for (int i = 0; i < ST_CPU_TILE; i++) {
        int32_t row = row_of(w, tile, i);
        isum[i] = 0;
        for (int32_t k = from; k < to; k += 4) {
            const int8_t *four = st_cpu_weight_q8(w, row, k);
            for (int32_t j = 0; j < 4 && j < to - k; j++)
                isum[i] += four[j] * q[k + j];
        }
    }
}

/* y of the 16 rows of a tile for activation row t. */
static void int8_tile(const st_cpu_linear *l, int32_t tile, int32_t t, float y[ST_CPU_TILE])
{
    const st_cpu_weight *w = l->weight;
    const int8_t *q = l->q.code + (size_t)t * l->q.stride;
    float block[ST_CPU_TILE] = {0};
    for (int i = 0; i < ST_CPU_TILE; i++)
        y[i] = 0.0f;
    for (int32_t s = 0; s < l->n_segment; s++) {
        int32_t from = s * l->segment, to = (int32_t)st_min(from + l->segment, w->base.cols);
        int32_t isum[ST_CPU_TILE];
        if (w->base.type == ST_TERNARY)
            ternary_segment(w, tile, q, from, to, l->q.sum[(size_t)t * (size_t)l->q.n_sum + (size_t)s], isum);
        else
            q8_segment(w, tile, q, from, to, isum);
        float scale_a = l->q.scale[(size_t)t * (size_t)l->q.n_scale + (size_t)(s / l->per_act)];
        for (int i = 0; i < ST_CPU_TILE; i++) {
            float scale_w = st_cpu_weight_scale(w, row_of(w, tile, i), s / l->per_weight);
            float term = (float)isum[i] * (scale_w * scale_a);
            if (l->n_segment == 1)
                y[i] = term;
            else
                block[i] = block[i] + term;
        }
        if (l->n_segment == 1 || (to % ST_K_BLOCK != 0 && to < w->base.cols))
            continue;
        for (int i = 0; i < ST_CPU_TILE; i++) {
            y[i] = y[i] + block[i];
            block[i] = 0.0f;
        }
    }
}

static void int8_tiles(void *context, int64_t first, int64_t count)
{
    const st_cpu_linear *l = context;
    for (int32_t tile = (int32_t)first; tile < first + count; tile++)
        for (int32_t t = 0; t < l->n_row; t++) {
            float y[ST_CPU_TILE];
            int8_tile(l, tile, t, y);
            int32_t row = tile * ST_CPU_TILE;
            st_cpu_linear_store(l, t, row, (int32_t)st_min(ST_CPU_TILE, l->weight->base.rows - row), y);
        }
}

static void f32_row(const st_cpu_linear *l, int32_t row, float *values)
{
    const st_cpu_weight *w = l->weight;
    size_t cols = (size_t)w->base.cols;
    st_cpu_weight_row(w, row, values);
    for (int32_t t = 0; t < l->n_row; t++) {
        const float *x = l->src + (size_t)t * cols;
        float lane[ST_LANES] = {0};
        for (size_t k = 0; k < cols; k++)
            lane[k % ST_LANES] += values[k] * x[k];
        float y = st_fold_lanes(lane);
        st_cpu_linear_store(l, t, row, 1, &y);
    }
}

static void f32_rows(const st_cpu *cpu, const void *args, int32_t row, float *scratch)
{
    (void)cpu;
    f32_row(args, row, scratch);
}

void st_cpu_linear_portable(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    if (l.src)
        st_cpu_rows(cpu, l.weight->base.rows, (int64_t)l.weight->base.cols * (l.n_row + 1), f32_rows, &l);
    else
        st_cpu_linear_loop(cpu, &l, l.weight->n_tile, int8_tiles, &l);
}
