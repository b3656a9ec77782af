/* rope_store: queries in place, keys and values to the cache, in the blocks that cpu.h describes. */
#include "host/cpu/cpu.h"

static void rotate(const st_rope_store_args *a, float *x, const float *cos_sin)
{
    int32_t half = a->n_rot / 2;
    for (int32_t i = 0; i < half; i++) {
        float *p = a->pairing == ST_PAIR_HALF ? x + i : x + 2 * i;
        float *q = a->pairing == ST_PAIR_HALF ? p + half : p + 1;
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], u = *p, v = *q;
        *p = u * c - v * s;
        *q = u * s + v * c;
    }
}

static void head(const st_rope_store_args *a, const float *x, const st_buf *norm, const float *cos_sin,
                 float *y)
{
    if (norm) {
        const float *w = st_cpu_data(norm);
        float factor = st_rms_factor(x, a->head_dim, a->eps);
        for (int32_t i = 0; i < a->head_dim; i++)
            y[i] = x[i] * factor * w[i];
    } else if (y != x) {
        memcpy(y, x, (size_t)a->head_dim * sizeof(float));
    }
    rotate(a, y, cos_sin);
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
        uint16_t *to = st_cpu_kv_block(&a->kv, slot / ST_KV_PAGE, a->layer, h);
        size_t at = (size_t)(slot % ST_KV_PAGE);
        head(a, k, a->k_norm, cos_sin, scratch);
        for (size_t d = 0; d < dim; d++)
            to[d * ST_KV_PAGE + at] = st_f32_to_f16(scratch[d]);
        for (size_t d = 0; d < dim; d++)
            to[(ST_KV_PAGE + at) * dim + d] = st_f32_to_f16(v[d]);
    }
}

void st_cpu_rope_store_portable(st_cpu *cpu, const void *args)
{
    const st_rope_store_args *a = args;
    int64_t work = ST_CPU_WORK_ROPE * (int64_t)(a->n_head + 2 * a->n_kv_head) * a->head_dim;
    st_cpu_rows(cpu, cpu->batch->n_token, work, row, args);
}
