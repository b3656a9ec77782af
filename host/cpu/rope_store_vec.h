/* rope_store for vectors of any width. */
#ifndef ST_CPU_ROPE_STORE_VEC_H
#define ST_CPU_ROPE_STORE_VEC_H

#include "host/cpu/norm_vec.h"

INLINE void turn(vec *a, vec *b, const float *cos_sin)
{
    vec c, s, x = *a, y = *b;
    vec_split(vec_load(cos_sin), vec_load(cos_sin + VEC), &c, &s);
    *a = vec_sub(vec_mul(x, c), vec_mul(y, s));
    *b = vec_add(vec_mul(x, s), vec_mul(y, c));
}

static void rotate(const st_rope_store_args *a, float *x, const float *cos_sin)
{
    int32_t half = a->n_rot / 2, i = 0;
    bool halves = a->pairing == ST_PAIR_HALF;
    for (; halves && i + VEC <= half; i += VEC) {
        vec first = vec_load(x + i), second = vec_load(x + half + i);
        turn(&first, &second, cos_sin + 2 * i);
        vec_store(x + i, first);
        vec_store(x + half + i, second);
    }
    for (; !halves && i + VEC <= half; i += VEC) {
        vec low = vec_load(x + 2 * i), high = vec_load(x + 2 * i + VEC), first, second;
        vec_split(low, high, &first, &second);
        turn(&first, &second, cos_sin + 2 * i);
        vec_join(first, second, &low, &high);
        vec_store(x + 2 * i, low);
        vec_store(x + 2 * i + VEC, high);
    }
    for (; i < half; i++) {
        float *p = halves ? x + i : x + 2 * i, *q = halves ? p + half : p + 1;
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], u = *p, v = *q;
        *p = u * c - v * s;
        *q = u * s + v * c;
    }
}

static void head(const st_rope_store_args *a, const float *x, const st_buf *norm, const float *cos_sin,
                 float *y)
{
    if (norm)
        scale_row(x, rms_factor(x, a->head_dim, a->eps), st_cpu_data(norm), a->head_dim, y);
    else if (y != x)
        memcpy(y, x, (size_t)a->head_dim * sizeof(float));
    rotate(a, y, cos_sin);
}

static void to_f16(const float *x, int32_t n, uint16_t *to)
{
    int32_t i = 0;
    for (; i + VEC <= n; i += VEC)
        vec_store_f16(to + i, vec_load(x + i));
    for (; i < n; i++)
        to[i] = st_f32_to_f16(x[i]);
}

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_rope_store_args *a = args;
    int32_t pos = ((const int32_t *)st_cpu_data(cpu->batch->pos))[r];
    if (pos < 0)
        return;
    size_t dim = (size_t)a->head_dim;
    float *q = (float *)st_cpu_data(a->qkv) + (size_t)r * (size_t)a->stride;
    const float *cos_sin = (const float *)st_cpu_data(a->cos_sin) + (size_t)pos * (size_t)a->n_rot;
    for (int32_t h = 0; h < a->n_head; h++)
        head(a, q + (size_t)h * dim, a->q_norm, cos_sin, q + (size_t)h * dim);
    const float *k = q + (size_t)a->n_head * dim, *v = k + (size_t)a->n_kv_head * dim;
    int32_t slot = ((const int32_t *)st_cpu_data(cpu->batch->slot))[r];
    for (int32_t h = 0; h < a->n_kv_head; h++, k += dim, v += dim) {
        uint16_t *to = st_cpu_kv_block(&a->kv, slot / ST_KV_PAGE, a->layer, h), key[ST_MAX_HEAD_DIM];
        size_t at = (size_t)(slot % ST_KV_PAGE);
        head(a, k, a->k_norm, cos_sin, scratch);
        to_f16(scratch, a->head_dim, key);
        for (size_t d = 0; d < dim; d++)
            to[d * ST_KV_PAGE + at] = key[d];
        to_f16(v, a->head_dim, to + (ST_KV_PAGE + at) * dim);
    }
}

static void run(st_cpu *cpu, const void *args)
{
    const st_rope_store_args *a = args;
    int64_t work = ST_CPU_WORK_ROPE * (int64_t)(a->n_head + 2 * a->n_kv_head) * a->head_dim;
    st_cpu_rows(cpu, cpu->batch->n_token, work, row, args);
}

#endif
