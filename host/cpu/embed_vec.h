/* embed for vectors of any width. */
#ifndef ST_CPU_EMBED_VEC_H
#define ST_CPU_EMBED_VEC_H

#include "host/cpu/norm_quant_vec.h"
#include "host/cpu/scales_vec.h"

/* 16-bit elements of a row, which is padded to whole vectors. */
INLINE void scale_halves(const uint16_t *from, int32_t n, float scale, const st_type type, float *to)
{
    for (int32_t k = 0; k < n; k += VEC) {
        vec x = type == ST_F16 ? vec_load_f16(from + k) : vec_load_bf16(from + k);
        vec_store_first(to + k, vec_mul(x, vec_set(scale)), (int)st_min(VEC, n - k));
    }
}

/* Where row `row` is in the first step of its tile. */
static const unsigned char *in_tile(const st_cpu_weight *w, int32_t row)
{
    return w->data + (size_t)(row / ST_CPU_TILE) * w->row_bytes + (size_t)(row % ST_CPU_TILE) * 4;
}

/* Values without scale, from the four bytes of each step. */
static void ternary_values(const st_cpu_weight *w, int32_t row, float *to)
{
    const unsigned char *from = in_tile(w, row);
    const vec table = vec_four(-1.0f, 0.0f, 1.0f, 2.0f);
    const ivec lane = ivec_lanes();
    for (int32_t k = 0; k < w->base.cols; k += ST_CPU_STEP, from += ST_CPU_STEP_BYTES) {
        int32_t word;
        memcpy(&word, from, sizeof word);
        for (int32_t i = 0; i < ST_CPU_STEP && k + i < w->base.cols; i += VEC) {
            ivec column = ivec_add(lane, ivec_set(i)); /* 4 s + b is in bits 2 s of byte b */
            ivec shift =
                ivec_add(ivec_left(ivec_and(column, ivec_set(3)), 3), ivec_left(ivec_right(column, 2), 1));
            vec x = vec_pick4(table, ivec_right_each(ivec_set(word), shift));
            vec_store_first(to + k + i, x, (int)st_min(VEC, w->base.cols - k - i));
        }
    }
}

/* Blocks that are used in place: their rows are whole ones. */
static void scale_blocks(const unsigned char *block, int32_t n, float scale, float *to)
{
    for (int32_t k = 0; k < n; k += ST_BLOCK_COLS, block += ST_BLOCK_BYTES)
        for (int32_t i = 0; i < ST_BLOCK_COLS; i += VEC)
            vec_store(to + k + i, vec_mul(block_values(block, (size_t)i), vec_set(scale)));
}

static void q8_values(const st_cpu_weight *w, int32_t row, int8_t *codes_of_row, float *to)
{
    const unsigned char *from = in_tile(w, row);
    for (int32_t step = 0; step < w->n_step; step++, from += ST_CPU_STEP_BYTES)
        memcpy(codes_of_row + 4 * step, from, 4);
    for (int32_t k = 0; k < w->base.cols; k += VEC)
        vec_store_first(to + k, vec_load_i8(codes_of_row + k), (int)st_min(VEC, w->base.cols - k));
}

/* Values times the scale of their group, then times `scale`. */
static void scale_groups(const st_cpu_weight *w, int32_t row, float scale, float *x)
{
    int32_t cols = w->base.cols, group = w->base.group ? w->base.group : cols;
    for (int32_t g = 0; g < w->n_group; g++) {
        const vec own = vec_set(st_cpu_weight_scale(w, row, g)), all = vec_set(scale);
        int32_t end = (int32_t)st_min(cols, (int64_t)(g + 1) * group);
        for (int32_t k = g * group; k < end; k += VEC) {
            int n = (int)st_min(VEC, end - k);
            vec_store_first(x + k, vec_mul(vec_mul(vec_load_first(x + k, n), own), all), n);
        }
    }
}

static void load_row(const st_cpu_weight *w, int32_t row, float scale, float *scratch, float *dst)
{
    const void *data = w->data + (size_t)row * w->row_bytes;
    int32_t n = w->base.cols;
    switch (w->base.type) {
    case ST_F16:
        scale_halves(data, n, scale, ST_F16, dst);
        return;
    case ST_BF16:
        scale_halves(data, n, scale, ST_BF16, dst);
        return;
    case ST_F32:
        for (int32_t k = 0; k < n; k += VEC)
            vec_store_first(dst + k, vec_mul(vec_load((const float *)data + k), vec_set(scale)),
                            (int)st_min(VEC, n - k));
        return;
    case ST_TERNARY:
        ternary_values(w, row, dst);
        break;
    case ST_Q8:
        if (!st_cpu_is_tiled(w)) {
            scale_blocks(data, n, scale, dst);
            return;
        }
        q8_values(w, row, (int8_t *)scratch, dst);
        break;
    }
    scale_groups(w, row, scale, dst);
}

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_embed_args *a = args;
    if (st_cpu_source_row(cpu, ST_ROWS_TOKEN, r) < 0)
        return;
    int32_t cols = a->table->cols;
    float *dst = (float *)st_cpu_data(a->dst) + (size_t)r * (size_t)cols;
    load_row((const st_cpu_weight *)a->table, ((const int32_t *)st_cpu_data(cpu->batch->token))[r], a->scale,
             scratch, dst);
    if (a->rotation.block == 0)
        return;
    hadamard(dst, cols, a->rotation.block);
    if (a->rotation.sign) {
        const float *sign = st_cpu_data(a->rotation.sign);
        for (int32_t k = 0; k < cols; k++)
            dst[k] = sign[k] * dst[k];
    }
}

static void run(st_cpu *cpu, const void *args)
{
    const st_embed_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_token, ST_CPU_WORK_EMBED * (int64_t)a->table->cols, row, args);
}

#endif
